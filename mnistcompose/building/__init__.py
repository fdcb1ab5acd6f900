"""Make a dataset's folder, resume it, and verify it."""
