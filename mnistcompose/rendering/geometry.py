"""Where each digit's pixels are, for callers outside the kernel, which computes the same values sample by sample."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank
from ..layout.model import UNIT, Fit, LayoutSpec
from .crops import crops
from .draws import SCALE, Draws, sines
from .placing import FIXED, PLACE, put_all

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Placed = tuple[NDArray[np.int32], NDArray[np.int32], Floats, Floats, Floats, NDArray[np.uint8]]


@dataclass(frozen=True)
class Geometry:
    """Where each digit's pixels are, on the canvas and in the source; all int64 (n, k, 2), x before y.

    The values of an absent digit (`Draws.source` is -1) are zeros.

    Attributes
    ----------
    low, frame
        The digit's first pixel on the canvas, whose origin is the layout's, and its extent in pixels.
    start
        Source coordinates of the frame's first pixel, 20 fractional bits, from the corner of the crop's margin.
    step, down
        Increments of `start` per pixel to the right, and per pixel downwards.
    end
        Largest source coordinates within the margin.
    first
        Offset of the crop in the pixels of all crops, and its row stride.
    """

    low: Ints
    frame: Ints
    start: Ints
    step: Ints
    down: Ints
    end: Ints
    first: Ints


def geometry(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> Geometry:
    """Compute where each digit's pixels are."""
    places = np.zeros((*draws.source.shape, PLACE), np.int64)
    put_all(np.ascontiguousarray(bank.boxes), placed(draws), fits(spec), places)
    low, high, start, step, down, end = np.split(places, PLACE // 2, axis=-1)
    first = np.stack([crops(bank)[1][draws.source], (end[..., 0] >> FIXED) + 1], -1)
    return Geometry(low=low, frame=high - low, start=start, step=step, down=down, end=end, first=first)


def placed(draws: Draws) -> Placed:
    """What places digits: source, center, scale, cosine, sine, flip."""
    return draws.source, draws.center, draws.scale / SCALE, *sines(draws), draws.flip


def fits(spec: LayoutSpec) -> Floats:
    """Width, height (canvas pixels) and whether to keep the aspect, float64 (k, 3); width 0 means the natural size."""
    sizes = [slot.size for slot in spec.placed]
    return np.array(
        [[s.width * UNIT, s.height * UNIT, s.keep_aspect] if isinstance(s, Fit) else [0, 0, 0] for s in sizes],
        np.float64,
    )
