"""What a dataset looks like: layouts, read from YAML and checked."""
