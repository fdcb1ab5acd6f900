"""Wrong labels for training: what is added to each number, from raw outputs of the random stream."""

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..layout.model import LayoutSpec
from .words import Words, happens, multiply


def label_shifts(
    spec: LayoutSpec,
    split: str,
    numbers: NDArray[np.int64],
    digits: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    classes: int,
    words: Words,
) -> NDArray[np.int64]:
    """Differences int64 (n,) of the noisy labels from the numbers; 0 where a label stays right.

    Parameters
    ----------
    numbers, lengths : (n,)
        The right labels, and how many of the digits are there.
    digits : (n, k)
    classes
        Number of classes of a digit.
    words : uint64 (n, 2)
        Raw outputs: whether a label is wrong, and which wrong one it is.

    Raises
    ------
    InputError
        There is no other number.
    """
    rate = spec.labels.noise_of(split)
    if classes == 1:
        raise InputError(f"{spec.name}: labels.noise = {rate:g}: digits of a single class make no other number; use 0")
    wrong, which = happens(words[:, 0], rate), words[:, 1]
    if spec.labels.kind == "symmetric":
        others = classes**spec.most_digits - 1
        other = multiply(which, np.uint64(others))[0].astype(np.int64)
        return np.where(wrong, other + (other >= numbers) - numbers, 0)
    choice = multiply(which, 2 * lengths.astype(np.uint64))[0].astype(np.int64)
    place = choice // 2
    digit = digits[np.arange(len(digits)), place].astype(np.int64)
    change = (digit + choice % 2 * 2 - 1) % classes - digit
    return np.where(wrong, change * classes ** (lengths - 1 - place), 0)
