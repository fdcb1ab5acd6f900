"""Random words by counter: raw outputs of Philox 4x64, the same on every machine.

Sample i owns a fixed range of a stream whose key is a hash of layout, split and seed.
"""

import hashlib
import json
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..layout.model import LayoutSpec
from .words import Words, multiply

_OUTPUTS = 8  # per slot, and for the image; a multiple of the four that one counter value yields

_PHILOX = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)


@lru_cache(maxsize=64)
def key_of(spec: LayoutSpec, split: str, seed: int) -> Words:
    """Key of a stream, uint64 (2,); `split` may also name something else that a layout and a seed determine."""
    identity = json.dumps({"seed": seed, "spec": json.loads(spec.canonical_pixels), "split": split}, sort_keys=True)
    return np.frombuffer(hashlib.sha256(identity.encode()).digest()[:16], dtype="<u8")


def words_of(spec: LayoutSpec, split: str, seed: int, start: int, stop: int) -> Words:
    """Raw outputs (n, slots + 1, 8); the last row of a sample is the image's."""
    rows = len(spec.slots) + 1
    generator = np.random.Philox(key=key_of(spec, split, seed), counter=start * rows * _OUTPUTS // 4)
    return generator.random_raw((stop - start) * rows * _OUTPUTS).reshape(stop - start, rows, _OUTPUTS)


def words_at(spec: LayoutSpec, split: str, seed: int, indices: NDArray[np.int64]) -> Words:
    """As `words_of`, for samples that are not consecutive: ten rounds of Philox 4x64 on all their counters at once."""
    rows = len(spec.slots) + 1
    steps = rows * _OUTPUTS // 4
    counters = indices[:, None] * steps + np.arange(1, steps + 1)  # numpy increments before it generates
    a = counters.astype(np.uint64)
    b, c, d = (np.zeros(a.shape, np.uint64) for _ in range(3))
    key, other = key_of(spec, split, seed)
    with np.errstate(over="ignore"):
        for _ in range(10):
            (high, low), (high2, low2) = multiply(a, _PHILOX[0]), multiply(c, _PHILOX[1])
            a, b, c, d = high2 ^ b ^ key, low2, high ^ d ^ other, low
            key, other = key + _WEYL[0], other + _WEYL[1]
    return np.stack([a, b, c, d], axis=-1).reshape(len(indices), rows, _OUTPUTS)
