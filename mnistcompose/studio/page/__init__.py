"""What the browser gets: all of it, so that no network is needed."""
