# mypy: ignore-errors
"""Noise on a finished image, from a counter: whole numbers only."""

import numpy as np

from .compiled import inlined

NORMALS = 4096  # length of the table of normal quantiles
NORMAL = 1024  # quanta per standard deviation in it


@inlined
def mix(word):
    """SplitMix64's output function: 64 well-mixed bits of a counter."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@inlined
def add_noise(pixels, count, gaussian, impulse, key, normals, words, deviates):
    """Add normal noise to an image of `count` values, then replace some by black or white."""
    for i in range(count):
        words[i] = mix(key + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15))
    for i in range(count):
        deviates[i] = normals[words[i] >> np.uint64(52)]
    for i in range(count):
        noise = np.int32(deviates[i] * gaussian + (1 << 17)) >> 18  # of less than 4 * NORMAL * 128 * GREY, below 2**31
        value = np.int32(np.int32(pixels[i]) + noise)
        pixels[i] = min(max(value, np.int32(0)), np.int32(255))
    if impulse:
        for i in range(count):
            extreme = 255 if words[i] & np.uint64(0x10000) else 0
            pixels[i] = extreme if np.int64(words[i] & np.uint64(0xFFFF)) < impulse else pixels[i]
