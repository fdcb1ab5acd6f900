# mypy: ignore-errors
"""Where a digit's pixels are, on the canvas and in the source.

Geometry enters as numbers that are equal on all machines, and becomes fixed point: all later steps are arithmetic on
whole numbers.
"""

import numpy as np

from ..layout.model import UNIT
from .compiled import cached, inlined
from .draws import POSITION
from .pointers import at

FIXED = 20  # fractional bits of source coordinates
ONE = 1 << FIXED
PLACE = 12  # numbers of a place
_CENTER = POSITION // 4  # with UNIT = 5 * 4, one quantum of a centre is exactly 5 / _CENTER pixels


@inlined
def _fixed(value):
    return np.int64(np.rint(value * ONE))


@inlined
def put(box, center, scale, cos, sin, flip, fit, place):
    """Fill `place`, int64 (12,), with where a digit of this ink box is; each pair is x before y.

    Its frame on the canvas (x0, y0, x1, y1), whose origin is the layout's; source coordinates of the frame's first
    pixel, from the corner of the crop's margin; their increments per pixel to the right, and per pixel downwards; and
    the largest coordinates within the margin.
    """
    width, height = np.int64(box[2]) - box[0], np.int64(box[3]) - box[1]
    center_x, center_y = np.int64(center[0]), np.int64(center[1])
    size_x = size_y = scale
    if fit[0] > 0:
        size_x *= fit[0] / width
        size_y *= fit[1] / height
        if fit[2] > 0:
            size_x = size_y = min(size_x, size_y)
    reach_x, reach_y = size_x * (width + 1) / 2, size_y * (height + 1) / 2
    half_x = abs(cos) * reach_x + abs(sin) * reach_y
    half_y = abs(sin) * reach_x + abs(cos) * reach_y
    x, y = center_x * UNIT / POSITION, center_y * UNIT / POSITION
    place[0], place[1] = np.int64(np.floor(x - half_x)), np.int64(np.floor(y - half_y))
    place[2], place[3] = np.int64(np.ceil(x + half_x)), np.int64(np.ceil(y + half_y))
    away_x = place[0] * _CENTER + _CENTER // 2 - 5 * center_x
    away_y = place[1] * _CENTER + _CENTER // 2 - 5 * center_y
    step_x, down_x = _fixed(cos / size_x), _fixed(-sin / size_x)
    step_y, down_y = _fixed(sin / size_y), _fixed(cos / size_y)
    end_x, end_y = (width + 1) * ONE, (height + 1) * ONE
    start_x = end_x // 2 + (step_x * away_x + down_x * away_y) // _CENTER
    start_y = end_y // 2 + (step_y * away_x + down_y * away_y) // _CENTER
    if flip & 1:  # mirrors the coordinate, and also its rounding to 12 bits
        start_x, step_x, down_x = end_x - start_x - 1, -step_x, -down_x
    if flip & 2:
        start_y, step_y, down_y = end_y - start_y - 1, -step_y, -down_y
    half = 1 << (FIXED - 13)
    place[4], place[5], place[6], place[7] = start_x + half, start_y + half, step_x, step_y
    place[8], place[9], place[10], place[11] = down_x, down_y, end_x, end_y


@cached
def put_all(crops, digits, fits, places):
    """Fill `places`, int64 (n, k, 12), for all digits that are there."""
    source, center, scale, cos, sin, flip = digits
    count, slots = source.shape
    for n in range(count):
        for s in range(slots):
            which, place = source[n, s], at(places, (n * slots + s) * PLACE)
            if which >= 0:
                middle, turn = (center[n, s, 0], center[n, s, 1]), flip[n, s]
                put(at(crops, 4 * which), middle, scale[n, s], cos[n, s], sin[n, s], turn, at(fits, 3 * s), place)
