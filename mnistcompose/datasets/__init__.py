"""Datasets for torch: stored, composed on the fly, shuffled, or rendered on a device."""
