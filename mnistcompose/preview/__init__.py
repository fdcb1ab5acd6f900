"""Contact sheets of layouts and datasets."""

from .contact_sheet import overview, save, sheet
from .samples import Samples, compose_samples, read_samples
from .slot_drawing import layout_drawing

__all__ = ["Samples", "compose_samples", "layout_drawing", "overview", "read_samples", "save", "sheet"]
