"""All files that the browser loads, so that no network is needed."""
