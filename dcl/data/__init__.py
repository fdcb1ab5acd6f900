"""Sets of natural images, and what is done to images before a network sees them."""
