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
_KEY, _GAUSSIAN, _IMPULSE = range(3)

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Draws:
    """What was drawn for n samples of k slots, as used: integers, in quanta.

    Attributes
    ----------
    start
        Index of the first sample in its split.
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

    start: int
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
    slots = spec.placed
    words = _philox(spec, split, seed, start, stop)
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
        start=start,
        source=np.stack([_below(own[:, _SOURCE], pool) for own, _ in columns], axis=1),
        center=np.stack(center, axis=1),
        scale=np.stack([_quantise(slot.scale, own[:, _SCALE], SCALE) for own, slot in columns], axis=1),
        rotation=np.stack([_quantise(slot.rotation, own[:, _ROTATION], ANGLE) for own, slot in columns], axis=1),
        flip=np.stack([_flips(slot.flip, own[:, _FLIP]) for own, slot in columns], axis=1),
        gaussian=_quantise(spec.noise.gaussian, image[:, _GAUSSIAN], GREY),
        impulse=_quantise(spec.noise.impulse, image[:, _IMPULSE], SHARE),
        noise_key=image[:, _KEY].copy(),
    )


def _philox(spec: LayoutSpec, split: Split, seed: int, start: int, stop: int) -> Words:
    """Raw outputs (n, slots + 1, 8); the last row of a sample is the image's."""
    identity = json.dumps({"seed": seed, "spec": json.loads(spec.canonical), "split": split}, sort_keys=True)
    key = np.frombuffer(hashlib.sha256(identity.encode()).digest()[:16], dtype="<u8")
    rows = len(spec.slots) + 1
    generator = np.random.Philox(key=key, counter=start * rows * _OUTPUTS // 4)
    return generator.random_raw((stop - start) * rows * _OUTPUTS).reshape(stop - start, rows, _OUTPUTS)


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
