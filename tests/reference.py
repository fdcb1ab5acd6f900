"""An independent renderer in float64, for clarity: what the compiled kernel is compared with.

It is written from the definition (DESIGN.md, 'What a dataset is') and shares nothing with the kernel but the draws.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from mnistcompose.digits import INK
from mnistcompose.sampling import ANGLE, POSITION, SCALE
from mnistcompose.spec import Fit

SIZE = 28
UNIT = 20  # canvas pixels a slot unit


@dataclass(frozen=True)
class Picture:
    """One sample before noise; boxes are x0, y0, x1, y1, the last two exclusive."""

    image: np.ndarray  # uint8 (28, 28)
    number_box: np.ndarray  # int (4,), canvas pixels
    slot_boxes: np.ndarray  # int (k, 4), canvas pixels
    steady: bool  # whether the boxes stay the same when no value of the canvas is off by more than two grey levels

    @property
    def boxes(self):
        """The slots' boxes in output pixels, float32 (k, 4)."""
        x0, y0, x1, y1 = self.number_box
        shifted = self.slot_boxes - np.array([x0, y0, x0, y0])
        return (shifted * SIZE / np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])).astype(np.float32)


def render_one(bank, spec, draws, n):
    """Sample n of the draws."""
    crops = [crop_of(bank, draws.source[n, slot], draws.flip[n, slot]) for slot in range(len(spec.placed))]
    places = [
        Place(
            center=draws.center[n, i] / POSITION * UNIT,
            size=size_of(slot.size, crops[i].shape, draws.scale[n, i] / SCALE),
            angle=np.deg2rad(draws.rotation[n, i] / ANGLE),
        )
        for i, slot in enumerate(spec.placed)
    ]
    origin = np.floor(np.min([place.center - place.reach for place in places], axis=0)).astype(int)
    end = np.ceil(np.max([place.center + place.reach for place in places], axis=0)).astype(int)
    layers = [layer_of(crop, place, origin, end) for crop, place in zip(crops, places, strict=True)]
    canvas = layers[0]
    for layer in layers[1:]:
        canvas = COMPOSITE[spec.composite](canvas, layer)
    x0, y0, x1, y1 = number_box = ink_box(canvas)
    image = round_half_up(resize_matrix(y1 - y0) @ canvas[y0:y1, x0:x1] @ resize_matrix(x1 - x0).T)
    shift = np.tile(origin, 2)
    return Picture(
        image=image.astype(np.uint8),
        number_box=number_box + shift,
        slot_boxes=np.array([ink_box(layer) for layer in layers]) + shift,
        steady=all(np.array_equal(ink_box(each, INK - 2), ink_box(each, INK + 2)) for each in (canvas, *layers)),
    )


def round_half_up(values):
    return np.floor(values + 0.5)


def ink_box(layer, threshold=INK):
    ys, xs = np.nonzero(layer >= threshold)
    if not len(ys):
        return None
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


# --- one digit ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a crop lies on the canvas, in canvas pixels and radians counter-clockwise as seen."""

    center: np.ndarray  # x, y
    size: np.ndarray  # canvas pixels a source pixel, along x and along y; then the crop's own size in canvas pixels
    angle: float

    @property
    def reach(self):
        """No pixel of the digit is farther from its centre: half a diagonal, and a source pixel for the blur."""
        steps, extent = self.size
        return np.hypot(*extent) / 2 + np.max(steps) + 1


def crop_of(bank, source, flip):
    x0, y0, x1, y1 = ink_box(bank.images[source])
    crop = bank.images[source, y0:y1, x0:x1].astype(float)
    if flip & 1:
        crop = crop[:, ::-1]
    if flip & 2:
        crop = crop[::-1, :]
    return crop


def size_of(size, shape, scale):
    height, width = shape
    steps = np.array([scale, scale])
    if isinstance(size, Fit):
        steps = np.array([size.width * UNIT / width, size.height * UNIT / height]) * scale
        if size.keep_aspect:
            steps = np.array([steps.min(), steps.min()])
    return np.array([steps, steps * [width, height]])


def layer_of(crop, place, origin, end):
    """The digit alone on the canvas from `origin` to `end`, in whole grey levels."""
    height, width = crop.shape
    x = np.arange(origin[0], end[0])[None, :] + 0.5 - place.center[0]
    y = np.arange(origin[1], end[1])[:, None] + 0.5 - place.center[1]
    cos, sin = np.cos(place.angle), np.sin(place.angle)
    (step_x, step_y), _ = place.size
    column = (cos * x - sin * y) / step_x + width / 2 - 0.5
    row = (sin * x + cos * y) / step_y + height / 2 - 0.5
    return round_half_up(map_coordinates(crop, [row, column], order=1, mode="grid-constant", cval=0, prefilter=False))


COMPOSITE = {
    "lighten": np.maximum,
    "add": lambda below, layer: np.minimum(below + layer, 255),
    "screen": lambda below, layer: round_half_up(255 - (255 - below) * (255 - layer) / 255),
    "over": lambda below, layer: np.where(layer >= INK, layer, np.maximum(below, layer)),
}


# --- the cut-out ----------------------------------------------------------------------------------------------------


def resize_matrix(n):
    """Weights (28, n) that bring an axis of n pixels to 28: area averaging from more, bilinear from fewer."""
    return area_matrix(n) if n > SIZE else bilinear_matrix(n)


def area_matrix(n):
    edges = np.arange(SIZE + 1) * n / SIZE
    first, last = edges[:-1, None], edges[1:, None]
    pixel = np.arange(n)[None, :]
    overlap = np.clip(np.minimum(last, pixel + 1) - np.maximum(first, pixel), 0, None)
    return overlap * SIZE / n


def bilinear_matrix(n):
    center = np.clip((np.arange(SIZE) + 0.5) * n / SIZE - 0.5, 0, n - 1)[:, None]
    return np.clip(1 - np.abs(center - np.arange(n)[None, :]), 0, None)
