"""A local web page for designing a layout: `mnistcompose studio`. Needs the extra `studio`."""
