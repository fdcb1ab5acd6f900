"""From a layout and digits to images: draws, geometry, and the two kernels."""
