"""Datasets of numbers, sets of natural images, their augmentation and normalisation."""
