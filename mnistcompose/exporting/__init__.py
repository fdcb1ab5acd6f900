"""A dataset in other formats, one module per format, with its card and Croissant metadata."""
