"""Arithmetic on raw outputs of the random stream: bounded integers, events of a given probability, 128-bit products."""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def multiply(words: Words, factor: np.uint64 | Words) -> tuple[Words, Words]:
    """High and low word of the 128-bit product."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    low, high, f_low, f_high = words & mask, words >> half, factor & mask, factor >> half
    middle = high * f_low + (low * f_low >> half)
    other = low * f_high + (middle & mask)
    return high * f_high + (middle >> half) + (other >> half), words * factor


def happens(words: Words, probability: float) -> NDArray[np.bool_]:
    """Events of a probability, to within 2**-33; those of 0 never happen, and those of 1 always."""
    return np.asarray((words >> np.uint64(32)) < np.uint64(round(probability * 2**32)), np.bool_)


def below(words: Words, bound: int | NDArray[np.int64]) -> NDArray[np.int32]:
    """Integers 0 .. bound - 1 by multiply-high, equally likely to within 2**-32."""
    return ((words >> np.uint64(32)) * np.asarray(bound, np.uint64) >> np.uint64(32)).astype(np.int32)
