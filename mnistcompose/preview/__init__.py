"""Contact sheets of layouts and datasets."""

from .contact_sheet import check_name, overview, save, sheet
from .samples import Samples, compose_samples, read_samples
from .slot_drawing import layout_drawing

__all__ = ["Samples", "check_name", "compose_samples", "layout_drawing", "overview", "read_samples", "save", "sheet"]
