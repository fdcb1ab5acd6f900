"""What torch sees of a dataset: stored, composed on the fly, shuffled, or rendered on a device."""
