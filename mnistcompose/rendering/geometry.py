"""Where each digit's pixels are, on the canvas and in the source.

Used by all renderers except the fast kernel, which computes the same values sample by sample.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank
from ..layout.model import UNIT, Fit, LayoutSpec
from .crops import crops
from .draws import POSITION, SCALE, Draws, sines
from .kernel import FIXED, ONE

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Geometry:
    """Where each digit's pixels are, on the canvas and in the source; all int64 (n, k, 2), x before y.

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
    """Compute where each digit's pixels are, with the same operations as the fast kernel.

    The values of an absent digit (`Draws.source` is -1) are meaningless.
    """
    source = np.maximum(draws.source, 0)
    boxes = bank.boxes[source].astype(np.int64)
    side = boxes[..., 2:] - boxes[..., :2]
    cos, sin = sines(draws)
    size = np.repeat((draws.scale / SCALE)[..., None], 2, axis=-1)
    for slot, (width, height, keep) in enumerate(fits(spec)):
        if width > 0:
            size[:, slot] *= np.array([width, height]) / side[:, slot]
            if keep:
                size[:, slot] = size[:, slot].min(-1, keepdims=True)
    size[draws.source < 0] = 1
    reach = size * (side + 1) / 2
    turned = np.stack([reach[..., 0], reach[..., 1]], -1), np.stack([reach[..., 1], reach[..., 0]], -1)
    half = np.abs(cos)[..., None] * turned[0] + np.abs(sin)[..., None] * turned[1]
    center = draws.center.astype(np.int64)
    at = center * UNIT / POSITION
    low, high = np.floor(at - half).astype(np.int64), np.ceil(at + half).astype(np.int64)
    step = np.rint(np.stack([cos, sin], -1) / size * ONE).astype(np.int64)
    down = np.rint(np.stack([-sin, cos], -1) / size * ONE).astype(np.int64)
    unit = POSITION // 4  # one quantum of a centre is 5 / unit pixels
    away = low * unit + unit // 2 - 5 * center
    end = (side + 1) * ONE
    start = end // 2 + (step * away[..., :1] + down * away[..., 1:]) // unit
    flipped = np.stack([draws.flip & 1, draws.flip >> 1], -1).astype(bool)
    start = np.where(flipped, end - start - 1, start) + (1 << (FIXED - 13))  # rounds to 12 bits
    step, down = np.where(flipped, -step, step), np.where(flipped, -down, down)
    return Geometry(
        low=low,
        frame=high - low,
        start=start,
        step=step,
        down=down,
        end=end,
        first=np.stack([crops(bank)[1][source], side[..., 0] + 2], -1),
    )


def fits(spec: LayoutSpec) -> NDArray[np.float64]:
    """Width, height (canvas pixels) and whether to keep the aspect, float64 (k, 3); width 0 means the natural size."""
    sizes = [slot.size for slot in spec.placed]
    return np.array(
        [[s.width * UNIT, s.height * UNIT, s.keep_aspect] if isinstance(s, Fit) else [0, 0, 0] for s in sizes],
        np.float64,
    )
