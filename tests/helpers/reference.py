"""An independent renderer in float64, for clarity: what the compiled kernel is compared with.

It is written from the definition (DESIGN.md, 'What a dataset is') and shares nothing with the kernel but the draws.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from mnistcompose.digits.ink import INK
from mnistcompose.layout.model import Fit, Window
from mnistcompose.rendering.draws import ANGLE, POSITION, SCALE

UNIT = 20  # canvas pixels a slot unit


@dataclass(frozen=True)
class Picture:
    """One sample before noise; boxes are x0, y0, x1, y1, the last two exclusive."""

    image: np.ndarray  # uint8 (H, W), in colour (H, W, 3)
    masks: np.ndarray  # uint8 (k, H, W)
    number_box: np.ndarray  # int (4,), canvas pixels
    slot_boxes: np.ndarray  # int (k, 4), canvas pixels
    steady: bool  # whether the boxes stay the same when no value of the canvas is off by more than two grey levels

    @property
    def boxes(self):
        """The slots' boxes in output pixels, float32 (k, 4), as far as they are in the image."""
        corner, far = np.split(self.number_box, 2)
        clipped = np.clip(self.slot_boxes, np.tile(corner, 2), np.tile(far, 2))
        size = np.array(self.masks.shape[:0:-1])
        return ((clipped - np.tile(corner, 2)) * np.tile(size, 2) / np.tile(far - corner, 2)).astype(np.float32)


def render_one(bank, spec, draws, n):
    """Sample n of the draws; of a shorter number the first digits, with masks and boxes for these alone."""
    slots = spec.placed[: (draws.source[n] >= 0).sum()]
    crops = [crop_of(bank, draws.source[n, slot], draws.flip[n, slot]) for slot in range(len(slots))]
    places = [
        Place(
            center=draws.center[n, i] / POSITION * UNIT,
            size=size_of(slot.size, crops[i].shape, draws.scale[n, i] / SCALE),
            angle=np.deg2rad(draws.rotation[n, i] / ANGLE),
        )
        for i, slot in enumerate(slots)
    ]
    origin = np.floor(np.min([place.center - place.reach for place in places], axis=0)).astype(int)
    end = np.ceil(np.max([place.center + place.reach for place in places], axis=0)).astype(int)
    window = window_of(spec.output.crop)
    if window is not None:
        origin, end = np.minimum(origin, window[:2]), np.maximum(end, window[2:])
    shift = np.tile(origin, 2)
    layers = [layer_of(crop, place, origin, end) for crop, place in zip(crops, places, strict=True)]
    canvas = composed(spec.composite, layers, layers)
    x0, y0, x1, y1 = number_box = ink_box(canvas) if window is None else window - shift

    def cut_out(plane):
        tall, wide = resize_matrix(y1 - y0, spec.output.height), resize_matrix(x1 - x0, spec.output.width)
        return round_half_up(tall @ plane[y0:y1, x0:x1] @ wide.T).astype(np.uint8)

    if spec.output.channels == 1:
        image = cut_out(canvas)
    else:
        colored = (
            [round_half_up(a * t[c] / 255) for a, t in zip(layers, draws.tint[n], strict=False)] for c in range(3)
        )
        image = np.stack([cut_out(composed(spec.composite, each, layers)) for each in colored], axis=-1)
    return Picture(
        image=image,
        masks=np.array([cut_out(layer) for layer in layers]),
        number_box=number_box + shift,
        slot_boxes=np.array([ink_box(layer) for layer in layers]) + shift,
        steady=all(np.array_equal(ink_box(each, INK - 2), ink_box(each, INK + 2)) for each in (canvas, *layers)),
    )


def window_of(crop):
    """A window's box on the canvas, or None."""
    if not isinstance(crop, Window):
        return None
    size = np.round(np.array([crop.width, crop.height]) * UNIT)
    corner = np.round((np.array(crop.center) - np.array([crop.width, crop.height]) / 2) * UNIT)
    return np.concatenate([corner, corner + size]).astype(int)


def composed(mode, layers, covers):
    """Layers on top of each other; what one covers is told apart, as it may be in a dark colour."""
    canvas = layers[0]
    for layer, cover in zip(layers[1:], covers[1:], strict=True):
        canvas = COMPOSITE[mode](canvas, layer, cover)
    return canvas


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
    "lighten": lambda below, layer, cover: np.maximum(below, layer),
    "add": lambda below, layer, cover: np.minimum(below + layer, 255),
    "screen": lambda below, layer, cover: round_half_up(255 - (255 - below) * (255 - layer) / 255),
    "over": lambda below, layer, cover: np.where(cover >= INK, layer, np.maximum(below, layer)),
}


# --- the cut-out ----------------------------------------------------------------------------------------------------


def resize_matrix(n, size):
    """Weights (size, n) that bring an axis of n pixels to `size`: area averaging from more, bilinear from fewer."""
    return area_matrix(n, size) if n > size else bilinear_matrix(n, size)


def area_matrix(n, size):
    edges = np.arange(size + 1) * n / size
    first, last = edges[:-1, None], edges[1:, None]
    pixel = np.arange(n)[None, :]
    overlap = np.clip(np.minimum(last, pixel + 1) - np.maximum(first, pixel), 0, None)
    return overlap * size / n


def bilinear_matrix(n, size):
    center = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)[:, None]
    return np.clip(1 - np.abs(center - np.arange(n)[None, :]), 0, None)
