"""Which digits a sample shows, and their geometry: counter-based, so that any range can be drawn alone.

Sample i owns a fixed range of a Philox stream whose key is a hash of layout, split and seed: 8 outputs for every slot,
and 8 for the image. Every output has one meaning, whether a layout uses it or not; the spare ones serve fields to come.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .digits import Split
from .spec import NORMAL_CUT, Choice, FlipChoice, LayoutSpec, Normal, Uniform

POSITION = 4096  # quanta a slot unit
SCALE = 4096  # quanta of a factor
ANGLE = 256  # quanta a degree
GREY = 256  # quanta a grey level
SHARE = 65536  # quanta of the whole

FLIPS = {"none": 0, "horizontal": 1, "vertical": 2, "both": 3}

_OUTPUTS = 8  # Philox outputs that each slot and the image own; a multiple of the four that one counter value gives
_SOURCE, _FLIP, _SCALE, _ROTATION, _DX, _DY = range(6)
_NOISE_KEY, _GAUSSIAN, _IMPULSE = range(3)

_PHILOX = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_WEYL = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Draws:
    """What was drawn for n samples of k slots, as used: integers, in quanta.

    Attributes
    ----------
    index : int64 (n,)
        Index of each sample in its split.
    source : int32 (n, k)
        Index of the digit's image in the split's own images.
    center : int32 (n, k, 2)
        x and y of the digit's centre, 1/4096 slot unit, y downwards; a slot unit is 20 pixels.
    scale : int32 (n, k)
        Factor on the digit's size, 1/4096.
    rotation : int32 (n, k)
        1/256 degree, counter-clockwise as seen.
    flip : uint8 (n, k)
        Bit 0: left-right, bit 1: upside down.
    gaussian : int32 (n,)
        Standard deviation of the additive noise, 1/256 grey level.
    impulse : int32 (n,)
        Share of pixels that become black or white, 1/65536.
    noise_key : uint64 (n,)
        Where the noise of each image starts.
    """

    index: NDArray[np.int64]
    source: NDArray[np.int32]
    center: NDArray[np.int32]
    scale: NDArray[np.int32]
    rotation: NDArray[np.int32]
    flip: NDArray[np.uint8]
    gaussian: NDArray[np.int32]
    impulse: NDArray[np.int32]
    noise_key: Words

    def __len__(self) -> int:
        """Give the number of samples."""
        return len(self.source)


def draw(spec: LayoutSpec, split: Split, start: int, stop: int, seed: int, pool: int) -> Draws:
    """Draw samples start .. stop - 1 of a split; a pure function, sample by sample.

    Parameters
    ----------
    pool
        Number of source images that the split may use (`len(bank.labels)`).
    """
    return _interpret(spec, _philox(spec, split, seed, start, stop), np.arange(start, stop, dtype=np.int64), pool)


def draw_at(spec: LayoutSpec, split: Split, indices: NDArray[np.int64], seed: int, pool: int) -> Draws:
    """Draw the samples of these indices (int64 (n,), below 10**15), in this order; each is what `draw` gives for it."""
    return _interpret(spec, _philox_at(spec, split, seed, indices), indices, pool)


def _interpret(spec: LayoutSpec, words: Words, index: NDArray[np.int64], pool: int) -> Draws:
    """Make values of the raw outputs (n, slots + 1, 8)."""
    slots = spec.placed
    columns = [(words[:, index], slot) for index, slot in enumerate(slots)]
    image = words[:, len(slots)]
    center = [
        np.stack(
            [
                _quantise(slot.dx, own[:, _DX], POSITION) + round(slot.center[0] * POSITION),
                _quantise(slot.dy, own[:, _DY], POSITION) + round(slot.center[1] * POSITION),
            ],
            axis=1,
        )
        for own, slot in columns
    ]
    return Draws(
        index=index,
        source=np.stack([_below(own[:, _SOURCE], pool) for own, _ in columns], axis=1),
        center=np.stack(center, axis=1),
        scale=np.stack([_quantise(slot.scale, own[:, _SCALE], SCALE) for own, slot in columns], axis=1),
        rotation=np.stack([_quantise(slot.rotation, own[:, _ROTATION], ANGLE) for own, slot in columns], axis=1),
        flip=np.stack([_flips(slot.flip, own[:, _FLIP]) for own, slot in columns], axis=1),
        gaussian=_quantise(spec.noise.gaussian, image[:, _GAUSSIAN], GREY),
        impulse=_quantise(spec.noise.impulse, image[:, _IMPULSE], SHARE),
        noise_key=image[:, _NOISE_KEY].copy(),
    )


def _key(spec: LayoutSpec, split: Split, seed: int) -> Words:
    identity = json.dumps({"seed": seed, "spec": json.loads(spec.canonical), "split": split}, sort_keys=True)
    return np.frombuffer(hashlib.sha256(identity.encode()).digest()[:16], dtype="<u8")


def _philox(spec: LayoutSpec, split: Split, seed: int, start: int, stop: int) -> Words:
    """Raw outputs (n, slots + 1, 8); the last row of a sample is the image's."""
    rows = len(spec.slots) + 1
    generator = np.random.Philox(key=_key(spec, split, seed), counter=start * rows * _OUTPUTS // 4)
    return generator.random_raw((stop - start) * rows * _OUTPUTS).reshape(stop - start, rows, _OUTPUTS)


def _philox_at(spec: LayoutSpec, split: Split, seed: int, indices: NDArray[np.int64]) -> Words:
    """As `_philox`, for samples that are not consecutive: Philox 4x64, ten rounds, of all their counters at once."""
    rows = len(spec.slots) + 1
    steps = rows * _OUTPUTS // 4
    counters = indices[:, None] * steps + np.arange(1, steps + 1)  # numpy counts up before it generates
    a = counters.astype(np.uint64)
    b, c, d = (np.zeros(a.shape, np.uint64) for _ in range(3))
    key, other = _key(spec, split, seed)
    with np.errstate(over="ignore"):
        for _ in range(10):
            (high, low), (high2, low2) = _multiply(a, _PHILOX[0]), _multiply(c, _PHILOX[1])
            a, b, c, d = high2 ^ b ^ key, low2, high ^ d ^ other, low
            key, other = key + _WEYL[0], other + _WEYL[1]
    return np.stack([a, b, c, d], axis=-1).reshape(len(indices), rows, _OUTPUTS)


def _multiply(words: Words, factor: np.uint64) -> tuple[Words, Words]:
    """High and low word of the 128-bit product."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    low, high, f_low, f_high = words & mask, words >> half, factor & mask, factor >> half
    middle = high * f_low + (low * f_low >> half)
    other = low * f_high + (middle & mask)
    return high * f_high + (middle >> half) + (other >> half), words * factor


def _below(words: Words, bound: int) -> NDArray[np.int32]:
    """Integers 0 .. bound - 1 by multiply-high, each as likely to within 2**-32."""
    return ((words >> np.uint64(32)) * np.uint64(bound) >> np.uint64(32)).astype(np.int32)


def _quantise(quantity: float | Uniform | Normal | Choice, words: Words, quanta: int) -> NDArray[np.int32]:
    """One value a word, in whole quanta."""
    match quantity:
        case Uniform(uniform=(low, high)):
            first, last = round(low * quanta), round(high * quanta)
            return first + _below(words, last - first + 1)
        case Normal(normal=(mean, std)):
            from scipy.special import ndtr, ndtri  # only where used: scipy is slow to import

            tail = ndtr(-NORMAL_CUT)
            level = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
            z = ndtri(tail + level * (1 - 2 * tail))
            return np.rint((mean + std * z) * quanta).astype(np.int32)
        case Choice(choice=values):
            return np.array([round(value * quanta) for value in values], np.int32)[_below(words, len(values))]
        case _:
            return np.full(len(words), round(quantity * quanta), np.int32)


def _flips(flip: str | FlipChoice, words: Words) -> NDArray[np.uint8]:
    names = flip.choice if isinstance(flip, FlipChoice) else (flip,)
    return np.array([FLIPS[name] for name in names], np.uint8)[_below(words, len(names))]
