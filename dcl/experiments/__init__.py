"""Runs: one, a grid of them, their files, and what a trained network reads."""
