"""Pairs of numbers with their sum, of single MNIST images: episodes for neuro-symbolic addition."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from ..errors import InputError
from .bank import Split, load_digits

SPLITS: tuple[Split, ...] = ("train", "test", "fit", "validation")  # the others have the images of one of these
_MOST_DIGITS = 18  # of a number: sums have 64 bits


@dataclass(frozen=True, eq=False)
class AdditionPairs:
    """Pairs of numbers; every image is used once at most.

    Attributes
    ----------
    images : int64 (N, 2, n)
        Index of each digit's image in MNIST's training file, or in its test file for 'test', most significant digit
        first. torchvision's MNIST has the same order.
    sums : int64 (N,)
        The sum of a pair's two numbers.
    """

    images: NDArray[np.int64]
    sums: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.sums)

    def to_json(self) -> str:
        """Write DeepProbLog's format: a list with `[[[image, ...], [image, ...]], sum]` for each pair."""
        pairs = zip(self.images.tolist(), self.sums.tolist(), strict=True)
        return json.dumps([[images, total] for images, total in pairs]) + "\n"

    def to_lines(self) -> str:
        """Write a line for each pair, as NeurASP reads: all images of the first and the second number, then the sum."""
        rows = np.column_stack([self.images.reshape(len(self), -1), self.sums])
        return "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist())


def addition_pairs(split: Split = "train", digits: int = 1, seed: int = 0) -> AdditionPairs:
    """Pair MNIST's images to numbers and their sums, in a random order that is the same everywhere.

    A pure function of its arguments. As many pairs are made as there are images for: 30,000 of one-digit numbers in
    'train'. Images that are left over are not used.

    Parameters
    ----------
    split
        'train', 'test', 'fit' or 'validation'; see `load_digits`. 'fit' and 'validation' share no image.
    digits
        Digits of each number, 1 to 18; leading zeros are possible.
    seed
        0 .. 2**63 - 1.

    Raises
    ------
    InputError
        An argument is not allowed.
    """
    if split not in SPLITS:
        raise InputError(f"split = {split!r}: allowed are {', '.join(SPLITS)}")
    length = whole("digits", digits, 1, _MOST_DIGITS)
    seed = whole("seed", seed, 0, 2**63 - 1)
    bank = load_digits(split)
    count = len(bank.labels) // (2 * length)
    chosen = _order(split, seed, len(bank.labels))[: count * 2 * length].reshape(count, 2, length)
    numbers = bank.labels[chosen].astype(np.int64) @ 10 ** np.arange(length - 1, -1, -1, dtype=np.int64)
    first = len(load_digits("train").labels) - len(bank.labels) if split == "validation" else 0  # its images come last
    return AdditionPairs(chosen + first, numbers.sum(axis=1))


def _order(split: Split, seed: int, count: int) -> NDArray[np.int64]:
    """A permutation of 0 .. count - 1: the order of as many outputs of a counter-based generator."""
    identity = json.dumps({"addition_pairs": 1, "seed": seed, "split": split}, sort_keys=True)
    key = np.frombuffer(hashlib.sha256(identity.encode()).digest()[:16], dtype="<u8")
    return np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")
