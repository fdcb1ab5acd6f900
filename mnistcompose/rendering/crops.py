"""A digit set's crops, packed for the renderers."""

from contextlib import suppress
from threading import Thread
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank, Split, identity_of, load_digits
from ..digits.kept import Identity, keep, recall
from ..digits.source import Digits
from ..forking import ThreadLock

_packed: WeakKeyDictionary[DigitBank, tuple[NDArray[np.uint8], NDArray[np.int64]]] = WeakKeyDictionary()
_lock = ThreadLock()  # threads that need the same crops wait until one of them has them


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
    with _lock:
        if not _recalled(bank):
            _packed[bank] = pixels, starts = _pack(bank)
            if identity := _identity(bank):
                keep(identity, (pixels, starts))
        return _packed[bank]


def read_ahead(digits: Digits, *splits: Split) -> None:
    """Begin to read the digits of splits on a thread; `load_digits` waits for it, and raises the errors."""

    def read() -> None:
        with suppress(Exception):
            for split in splits:
                bank = load_digits(split, digits)
                with _lock:
                    _recalled(bank)

    Thread(target=read, name="read_ahead", daemon=True).start()


def _recalled(bank: DigitBank) -> bool:
    """Whether the crops are there, perhaps from an earlier process."""
    if bank not in _packed and (identity := _identity(bank)) and (kept := recall(identity)):
        pixels, starts = kept
        _packed[bank] = pixels, starts
    return bank in _packed


def _identity(bank: DigitBank) -> Identity | None:
    identity = identity_of(bank)
    return identity and ("crops", *identity)


def _pack(bank: DigitBank) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from .kernel import pack  # only where used: numba is slow to import, and the thread that reads ahead must not

    x0, y0, x1, y1 = bank.boxes.astype(np.int64).T
    sizes = (x1 - x0 + 2) * (y1 - y0 + 2)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    pixels = np.zeros(starts[-1] + x1.max() + 3, np.uint8)  # the last pixel also has neighbours
    pack(bank.images, bank.boxes, starts, pixels)
    for array in (pixels, starts):
        array.setflags(write=False)
    return pixels, starts
