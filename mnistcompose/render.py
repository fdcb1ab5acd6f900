"""Draws to images and labels."""

from collections.abc import Callable
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .digits import DigitBank
from .errors import InputError
from .kernel import ADD, LIGHTEN, NORMAL, NORMALS, OVER, SCREEN, compose, pack
from .sampling import ANGLE, SCALE, Draws
from .spec import SIZE, UNIT, Fit, LayoutSpec

_MODES = {"lighten": LIGHTEN, "add": ADD, "screen": SCREEN, "over": OVER}

Images = NDArray[np.uint8]
Boxes = NDArray[np.float32]


def render(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> tuple[Images, Boxes]:
    """Compose the drawn samples. Releases the GIL.

    Returns
    -------
    images : uint8 (n, 28, 28)
        White ink on black.
    boxes : float32 (n, k, 4)
        Ink box of each slot in the image, x0, y0, x1, y1 in output pixels, before any other digit covers it.

    Raises
    ------
    InputError
        A digit leaves no ink at its size.
    """
    count, slots = draws.source.shape
    images = np.empty((count, SIZE, SIZE), np.uint8)
    boxes = np.empty((count, slots, 4), np.float32)
    cos, sin = sines(draws)
    arguments = (
        *crops(bank),
        bank.boxes,
        draws.source,
        draws.center,
        draws.scale / SCALE,
        cos,
        sin,
        draws.flip,
        fits(spec),
        _MODES[spec.composite],
        draws.gaussian,
        draws.impulse,
        draws.noise_key,
        cut_normals(),
        images,
        boxes,
    )
    failed = _call(compose, *arguments)
    if failed >= 0:
        raise no_ink(spec, draws, failed)
    return images, boxes


def labels(bank: DigitBank, draws: Draws) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels of the drawn samples.

    Returns
    -------
    labels : int64 (n,)
        Sum of digit * classes**(k - 1 - slot).
    digits : uint8 (n, k)
        The digit in each slot.

    Raises
    ------
    InputError
        The largest number does not fit into 64 bits.
    """
    slots = draws.source.shape[1]
    if bank.classes**slots > 2**63:
        raise InputError(f"{slots} slots of {bank.classes} classes make labels larger than 64 bits; use fewer slots")
    digits = bank.labels[draws.source]
    weights = bank.classes ** np.arange(slots - 1, -1, -1, dtype=np.int64)
    return digits.astype(np.int64) @ weights, digits


def _call(kernel: Callable[..., int], *arguments: object) -> int:
    """Call a compiled function."""
    try:
        return kernel(*arguments)
    except OSError:  # the machine code could not be kept (a full disk, say), but is there for a second call
        return kernel(*arguments)


_packed: WeakKeyDictionary[DigitBank, tuple[NDArray[np.uint8], NDArray[np.int64]]] = WeakKeyDictionary()


def crops(bank: DigitBank) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All crops of a bank in one array, each with a margin, and where each starts and the last one ends.

    They are less than half of the images, and lie together, so that more of them stay in the processor's cache.
    """
    if bank not in _packed:
        x0, y0, x1, y1 = bank.boxes.astype(np.int64).T
        sizes = (x1 - x0 + 2) * (y1 - y0 + 2)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        pixels = np.zeros(starts[-1] + x1.max() + 3, np.uint8)  # the last pixel, too, has neighbours
        _call(pack, bank.images, bank.boxes, starts, pixels)
        _packed[bank] = pixels, starts
    return _packed[bank]


def no_ink(spec: LayoutSpec, draws: Draws, number: int) -> InputError:
    """What to raise when digit `number` of all the drawn ones leaves no ink."""
    sample, slot = divmod(number, draws.source.shape[1])
    return InputError(
        f"{spec.name}: the digit in slot {slot} of sample {draws.index[sample]} (source image "
        f"{draws.source[sample, slot]}) leaves no ink; give the slot a larger scale"
    )


def sines(draws: Draws) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cosine and sine of each rotation, (n, k), without the last bits, in which two machines may differ."""
    angle = np.deg2rad(draws.rotation / ANGLE)
    return np.rint(np.cos(angle) * 2.0**30) * 2.0**-30, np.rint(np.sin(angle) * 2.0**30) * 2.0**-30


def fits(spec: LayoutSpec) -> NDArray[np.float64]:
    """Width, height (canvas pixels) and whether to keep the aspect, a row a slot; width 0 is the natural size."""
    sizes = [slot.size for slot in spec.placed]
    return np.array(
        [[s.width * UNIT, s.height * UNIT, s.keep_aspect] if isinstance(s, Fit) else [0, 0, 0] for s in sizes],
        np.float64,
    )


@cache
def cut_normals() -> NDArray[np.int16]:
    """Quantiles of the standard normal distribution, in 1/1024, cut at 3.7 standard deviations by their number."""
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    return np.array([round(NORMAL * quantile((i + 0.5) / NORMALS)) for i in range(NORMALS)], np.int16)
