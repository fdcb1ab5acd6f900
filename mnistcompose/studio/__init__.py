"""A local web page on which a layout is designed: `mnistcompose studio`. Needs the extra `studio`."""
