"""A digit set's crops, packed for the renderers."""

from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank
from .kernel import pack

_packed: WeakKeyDictionary[DigitBank, tuple[NDArray[np.uint8], NDArray[np.int64]]] = WeakKeyDictionary()


def crops(bank: DigitBank) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pack all crops of a bank into one array, each with a margin.

    They take less than half the space of the images, so more of them stay in the processor's cache. The arrays are
    shared by all callers and cannot be written to.

    Returns
    -------
    pixels : uint8 (P,)
    starts : int64 (M + 1,)
        Offset of each crop in `pixels`; the last value is the end of the last crop.
    """
    if bank not in _packed:
        x0, y0, x1, y1 = bank.boxes.astype(np.int64).T
        sizes = (x1 - x0 + 2) * (y1 - y0 + 2)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        pixels = np.zeros(starts[-1] + x1.max() + 3, np.uint8)  # the last pixel also has neighbours
        pack(bank.images, bank.boxes, starts, pixels)
        for array in (pixels, starts):
            array.setflags(write=False)
        _packed[bank] = pixels, starts
    return _packed[bank]
