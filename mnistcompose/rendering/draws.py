"""Which digits a sample shows, and their geometry: counter-based, so that any range can be drawn alone.

Sample i owns a fixed range of a Philox stream whose key is a hash of layout, split and seed: 8 outputs for every slot,
and 8 for the image. Every output has one meaning, whether or not a layout uses it; spare ones are for future fields.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from ..digits.bank import DigitBank, Split
from ..errors import InputError
from ..layout.model import UNIT, FlipChoice, LayoutSpec, LengthChoice, TintByDigit, TintChoice
from ..layout.names import as_spec
from ..layout.varying import NORMAL_CUT, Choice, Normal, Uniform
from ..quantities import counted
from .label_noise import label_shifts
from .number_choice import check_split, choose_digits
from .philox import words_at, words_of
from .words import Words, below, happens

MAX_SEED = 2**63 - 1  # of a dataset
MAX_INDEX = 10**15  # of a sample, and so the length of a split

POSITION = 4096  # quanta per slot unit
SCALE = 4096  # quanta per unit of a factor
ANGLE = 256  # quanta per degree
GREY = 256  # quanta per grey level
SHARE = 65536  # quanta per whole

ABSENT = 255  # stands for a digit where a number is shorter than the layout

FLIPS = {"none": 0, "horizontal": 1, "vertical": 2, "both": 3}

_SOURCE, _FLIP, _SCALE, _ROTATION, _DX, _DY, _TINT, _OTHER_TINT = range(8)
_NOISE_KEY, _GAUSSIAN, _IMPULSE, _LENGTH = range(4)
_LABEL = slice(4, 6)  # whether the label is wrong, and which wrong one it is
_NUMBER = 7


@dataclass(frozen=True)
class Draws:
    """The random choices for n samples of k slots: integers, in quanta.

    Attributes
    ----------
    index : int64 (n,)
        Index of each sample in its split.
    source : int32 (n, k)
        Index of the digit's image in the split's own images; -1 where the number has no such digit.
    center : int32 (n, k, 2)
        x and y of the middle of the digit's ink box, 1/4096 slot unit, y downwards; a slot unit is 20 pixels.
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
        Start of each image's noise stream.
    tint : uint8 (n, k, 3), for grey images (n, k, 0)
        Red, green and blue of full ink.
    label_shift : int64 (n,)
        What label noise adds to the number; 0 where the label is right.
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
    tint: NDArray[np.uint8]
    label_shift: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)


def draw(spec: LayoutSpec | str | Path, split: Split, start: int, stop: int, seed: int, bank: DigitBank) -> Draws:
    """Draw samples start .. stop - 1 of a split; a pure function, sample by sample.

    Parameters
    ----------
    spec
        A layout, or the name or path of one.
    start, stop
        0 .. 10**15; `stop` may be one more.
    seed
        0 .. 2**63 - 1.
    bank
        The digits that the split may use. Most layouts depend only on their number; some depend on their classes, or
        on the position of the ink in their images.

    Raises
    ------
    InputError
        An argument is out of its range, or no whole number; the layout has no such split; or it does not fit the
        classes of the digits: it has fewer or more colours, makes labels of more than 64 bits, or wants more different
        digits or numbers.
    """
    spec = as_spec(spec)
    start = whole("start", start, 0, MAX_INDEX)
    stop = whole("stop", stop, start, MAX_INDEX + 1)
    seed = whole("seed", seed, 0, MAX_SEED)
    words = words_of(spec, split, seed, start, stop)
    return _interpret(spec, split, seed, words, np.arange(start, stop, dtype=np.int64), bank)


def draw_at(spec: LayoutSpec, split: Split, indices: NDArray[np.int64], seed: int, bank: DigitBank) -> Draws:
    """Draw the samples of these indices (int64 (n,), below 10**15), in this order; each is what `draw` gives for it."""
    seed = whole("seed", seed, 0, MAX_SEED)
    return _interpret(spec, split, seed, words_at(spec, split, seed, indices), indices, bank)


def _interpret(
    spec: LayoutSpec, split: Split, seed: int, words: Words, index: NDArray[np.int64], bank: DigitBank
) -> Draws:
    """Convert the raw outputs, uint64 (n, slots + 1, 8), to values."""
    check_split(spec, split)
    slots = spec.placed
    check_labels(len(slots), bank.classes)
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
    by_slot = words[:, : len(slots), _SOURCE]
    if spec.numbers == "any":
        source = (_distinct if spec.distinct else _any)(by_slot, bank)
    else:
        digits = choose_digits(spec, split, seed, index, image[:, _NUMBER], bank)
        source = _of_classes(digits, by_slot, bank)
    draws = Draws(
        index=index,
        source=source,
        center=np.stack(center, axis=1),
        scale=np.stack([_quantise(slot.scale, own[:, _SCALE], SCALE) for own, slot in columns], axis=1),
        rotation=np.stack([_quantise(slot.rotation, own[:, _ROTATION], ANGLE) for own, slot in columns], axis=1),
        flip=np.stack([_flips(slot.flip, own[:, _FLIP]) for own, slot in columns], axis=1),
        gaussian=_quantise(spec.noise.gaussian, image[:, _GAUSSIAN], GREY),
        impulse=_quantise(spec.noise.impulse, image[:, _IMPULSE], SHARE),
        noise_key=image[:, _NOISE_KEY].copy(),
        tint=np.stack([_tints(spec, split, n, words[:, n], source[:, n], bank) for n in range(len(slots))], axis=1)
        if spec.output.channels == 3
        else np.empty((len(words), len(slots), 0), np.uint8),
        label_shift=np.zeros(len(words), np.int64),
    )
    by_image = [slot for slot, placed in enumerate(slots) if placed.anchor == "image"]
    if by_image:
        draws.center[:, by_image] += _off_center(draws, bank)[:, by_image]
    drawn = draws if spec.length == "all" else _shortened(draws, spec.length, image[:, _LENGTH])
    return _mislabelled(drawn, spec, split, bank, image[:, _LABEL]) if spec.labels.noise_of(split) else drawn


def check_labels(slots: int, classes: int) -> None:
    """Check that the numbers of so many digits fit into a label.

    Raises
    ------
    InputError
        The largest number does not fit into 64 bits.
    """
    if classes**slots > 2**63:
        raise InputError(f"{slots} slots of {classes} classes make labels of more than 64 bits; use fewer slots")


def numbers(digits: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Numbers int64 (n,) of digits uint8 (n, k), most significant first; 255 is an absent digit and ends a number.

    A number is the sum of digit * classes**(length - 1 - slot), so 7 and 07 are the same number.

    Raises
    ------
    InputError
        The largest number does not fit into 64 bits.
    """
    check_labels(digits.shape[1], classes)
    total = np.zeros(len(digits), np.int64)
    for own in digits.T:
        total = np.where(own == ABSENT, total, total * classes + own)
    return total


def sines(draws: Draws) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of each rotation, float64 (n, k): multiples of 2**-30, the same on every machine."""
    table = _sine_table()
    return table[(draws.rotation + 90 * ANGLE) % len(table)], table[draws.rotation % len(table)]


@cache
def _sine_table() -> NDArray[np.float64]:
    """Sines of a full turn in steps of 1/256 degree, float64 (92160,), as multiples of 2**-30.

    They are sums of Taylor's series: IEEE 754 determines all bits of +, * and /, but a C library's sine may err in the
    last one, and that of 160.12109375 degrees lies so near to the middle of two multiples that it would be rounded to
    the other.
    """
    angle = np.arange(90 * ANGLE + 1) * (math.pi / (180 * ANGLE))
    total, term = angle, angle
    for order in range(2, 30, 2):
        term = -term * angle * angle / (order * (order + 1))
        total = total + term
    rising = np.rint(total * 2.0**30) * 2.0**-30
    half = np.concatenate([rising, rising[-2:0:-1]])
    turn = np.concatenate([half, 0 - half])
    turn.setflags(write=False)
    return turn


def _quantise(quantity: float | Uniform | Normal | Choice, words: Words, quanta: int) -> NDArray[np.int32]:
    """One value per word, in whole quanta."""
    match quantity:
        case Uniform(uniform=(low, high)):
            first, last = round(low * quanta), round(high * quanta)
            return first + below(words, last - first + 1)
        case Normal(normal=(mean, std)):
            from scipy.special import ndtr, ndtri  # only where used: scipy is slow to import

            tail = ndtr(-NORMAL_CUT)
            level = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
            z = ndtri(tail + level * (1 - 2 * tail))
            return np.rint((mean + std * z) * quanta).astype(np.int32)
        case Choice(choice=values):
            return np.array([round(value * quanta) for value in values], np.int32)[below(words, len(values))]
        case _:
            return np.full(len(words), round(quantity * quanta), np.int32)


def _flips(flip: str | FlipChoice, words: Words) -> NDArray[np.uint8]:
    names = flip.choice if isinstance(flip, FlipChoice) else (flip,)
    return np.array([FLIPS[name] for name in names], np.uint8)[below(words, len(names))]


def _tints(
    spec: LayoutSpec, split: Split, slot: int, words: Words, source: NDArray[np.int32], bank: DigitBank
) -> NDArray[np.uint8]:
    """Colours uint8 (n, 3) of a slot's digits."""
    tint = spec.placed[slot].tint
    if isinstance(tint, TintByDigit):
        if len(tint.by_digit) != bank.classes:
            raise InputError(
                f"{spec.name}: slots[{slot}].tint.by_digit has {len(tint.by_digit)} colours; should have "
                f"{bank.classes}, one for each class of digit"
            )
        colors = tuple(dict.fromkeys(tint.by_digit))
        own = np.array([colors.index(color) for color in tint.by_digit])[bank.labels[source]]
        shift = np.where(
            happens(words[:, _TINT], tint.agreement(split)), 0, 1 + below(words[:, _OTHER_TINT], len(colors) - 1)
        )
        return np.asarray(np.array(colors, np.uint8)[(own + shift) % len(colors)])
    colors = tint.choice if isinstance(tint, TintChoice) else (tint,)
    return np.array(colors, np.uint8)[below(words[:, _TINT], len(colors))]


def _mislabelled(draws: Draws, spec: LayoutSpec, split: Split, bank: DigitBank, words: Words) -> Draws:
    """Add label noise."""
    there = draws.source >= 0
    digits = np.where(there, bank.labels[draws.source], np.uint8(ABSENT))
    shift = label_shifts(spec, split, numbers(digits, bank.classes), digits, there.sum(axis=1), bank.classes, words)
    return replace(draws, label_shift=shift)


# --- which digits ---------------------------------------------------------------------------------------------------


def _any(words: Words, bank: DigitBank) -> NDArray[np.int32]:
    """Indices of source images (n, k), all equally likely."""
    return np.stack([below(own, len(bank.labels)) for own in words.T], axis=1)


def _distinct(words: Words, bank: DigitBank) -> NDArray[np.int32]:
    """Indices of source images (n, k) of different classes; all images that are left are equally likely for a slot."""
    by_class, counts = np.argsort(bank.labels, kind="stable"), np.bincount(bank.labels)
    starts = np.cumsum(counts) - counts
    if words.shape[1] > (present := int(np.count_nonzero(counts))):
        raise InputError(f"distinct: {words.shape[1]} different digits in a number, of {counted(present, 'class')}")
    sources, taken = [], np.empty((len(words), 0), np.uint8)
    for own in words.T:
        place = below(own, len(bank.labels) - counts[taken].sum(1)).astype(np.int64)
        for used in np.sort(taken, axis=1).T:  # skip the images of each class that is taken
            place += np.where(place >= starts[used], counts[used], 0)
        sources.append(by_class[place].astype(np.int32))
        taken = np.column_stack([taken, bank.labels[sources[-1]]])
    return np.stack(sources, axis=1)


def _of_classes(classes: NDArray[np.int64], words: Words, bank: DigitBank) -> NDArray[np.int32]:
    """Indices of source images (n, k) of these classes; all images of a class are equally likely."""
    by_class, starts, counts = _classes(bank)
    source: NDArray[np.int32] = by_class[starts[classes] + below(words, counts[classes])]
    return source


@lru_cache(maxsize=4)
def _classes(bank: DigitBank) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Indices of source images (M,), ordered by class, and each class's start and number of images there."""
    counts = np.bincount(bank.labels, minlength=bank.classes)
    return np.argsort(bank.labels, kind="stable").astype(np.int32), np.cumsum(counts) - counts, counts


def _shortened(draws: Draws, length: LengthChoice, words: Words) -> Draws:
    """Keep as many slots as each sample's length says, from the first; set the others to zero, and `source` to -1."""
    lengths = np.array(length.choice)[below(words, len(length.choice))]
    absent = np.arange(draws.source.shape[1]) >= lengths[:, None]
    for values in (draws.source, draws.center, draws.scale, draws.rotation, draws.flip, draws.tint):
        values[absent] = -1 if values is draws.source else 0
    return draws


def _off_center(draws: Draws, bank: DigitBank) -> NDArray[np.int32]:
    """Offset of the centre of a digit's ink box from the centre of its image, as drawn, in quanta, int32 (n, k, 2)."""
    height, width = bank.images.shape[1:]
    boxes = bank.boxes[draws.source].astype(np.int64)
    x, y = (boxes[..., axis] + boxes[..., axis + 2] - side for axis, side in enumerate((width, height)))  # half pixels
    x, y = np.where(draws.flip & 1, -x, x), np.where(draws.flip & 2, -y, y)
    (cos, sin), size = sines(draws), draws.scale / SCALE * (POSITION / (2 * UNIT))
    return np.rint(np.stack([cos * x + sin * y, cos * y - sin * x], axis=-1) * size[..., None]).astype(np.int32)
