"""A digit set's crops, packed for the renderers."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank
from .kernel import pack


def call_compiled(kernel: Callable[..., int], *arguments: object) -> int:
    """Call a compiled function."""
    try:
        return kernel(*arguments)
    except OSError:  # the machine code could not be kept (a full disk, say), but is there for a second call
        return kernel(*arguments)


_packed: WeakKeyDictionary[DigitBank, tuple[NDArray[np.uint8], NDArray[np.int64]]] = WeakKeyDictionary()


def crops(bank: DigitBank) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All crops of a bank in one array, each with a margin, and where each starts and the last one ends.

    They are less than half of the images, and lie together, so that more of them stay in the processor's cache.
    """
    if bank not in _packed:
        x0, y0, x1, y1 = bank.boxes.astype(np.int64).T
        sizes = (x1 - x0 + 2) * (y1 - y0 + 2)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        pixels = np.zeros(starts[-1] + x1.max() + 3, np.uint8)  # the last pixel, too, has neighbours
        call_compiled(pack, bank.images, bank.boxes, starts, pixels)
        _packed[bank] = pixels, starts
    return _packed[bank]
