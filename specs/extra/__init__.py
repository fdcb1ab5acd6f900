"""Layouts beyond the paper's, each an example of something else that one can make."""
