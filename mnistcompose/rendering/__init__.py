"""Images from a layout and digits: draws, geometry, and the kernel."""
