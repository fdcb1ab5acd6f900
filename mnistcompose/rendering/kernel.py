# mypy: ignore-errors
"""The compiled kernel: it renders the drawn samples of a whole range in one call.

All arithmetic on pixels is on integers (in the resize, on whole numbers in float64), so the images are bit-identical on
all machines.

Three things make it fast. Nothing outside a digit's own box is touched. A digit's crop is prefetched before it is used.
A digit is processed as one flat tile, in simple passes, so that all passes except the table look-ups are vectorised.
Tiles and canvas are stored column by column.

Array methods such as `min` and `ravel`, and `in`, are not used: numba compiles hundreds of lines for each, and a
process that loads the machine code would import them, and scipy with them. Functions take pointers, see `pointers`.
"""

import numpy as np

from ..digits.ink import INK
from .compiled import cached, inlined
from .noise import add_noise
from .placing import FIXED, ONE, PLACE, put
from .pointers import at, cast, prefetch
from .resize import axis_size, kept_axis, nothing_kept, resize, sums_size, taps, totals_size, turned_size

LIGHTEN, ADD, SCREEN, OVER = range(4)

_AHEAD = 4  # samples between prefetching a digit's pixels and using them
_LINE = 64  # bytes per cache line
_LANES = 8  # a tile's height is a multiple of this, so that no column has a remainder
_DIGIT = PLACE + 4  # memory of a digit: its place and its ink box on the canvas


@inlined
def _padded(length):
    """The next multiple of _LANES."""
    return (length + _LANES - 1) // _LANES * _LANES


@inlined
def _stage(crop, stride, count, quads):
    """Pack each pixel of a crop with its right, lower and lower-right neighbours."""
    right, below, across = at(crop, 1), at(crop, stride), at(crop, stride + 1)
    for i in range(count):
        quads[i] = np.int64(crop[i]) | np.int64(right[i]) << 8 | np.int64(below[i]) << 16 | np.int64(across[i]) << 24


@inlined
def _sample(quads, stride, place, columns, rows, parts, tile):
    """Fill a tile (columns, rows) with bilinear values; coordinates are clamped to the crop's margin of zeros."""
    x, y, step_x, step_y = place[4], place[5], place[6], place[7]
    down_x, down_y, end_x, end_y = place[8], place[9], place[10], place[11]
    for column in range(columns):
        own, part = at(tile, column * rows), at(parts, column * rows)
        for i in range(rows):
            sx = min(max(x + i * down_x, 0), end_x)
            sy = min(max(y + i * down_y, 0), end_y)
            own[i] = (sy >> FIXED) * stride + (sx >> FIXED)
            part[i] = ((sx >> (FIXED - 12)) & 4095) | ((sy >> (FIXED - 12)) & 4095) << 16
        x, y = x + step_x, y + step_y
    for i in range(columns * rows):
        tile[i] = quads[tile[i]]
    for i in range(columns * rows):
        quad = np.int64(tile[i])
        fx, fy = np.int64(parts[i]) & 4095, np.int64(parts[i]) >> 16
        top = (quad & 255) * (4096 - fx) + ((quad >> 8) & 255) * fx
        bottom = ((quad >> 16) & 255) * (4096 - fx) + (quad >> 24) * fx
        tile[i] = np.uint32(top * (4096 - fy) + bottom * fy + (1 << 23)) >> np.uint32(24)  # 255.5 * 2**24 at most


@inlined
def _has_ink(column, rows):
    most = np.uint32(0)
    for i in range(rows):
        most = max(most, column[i])
    return most >= INK


@inlined
def _ink_box(tile, columns, rows, most):
    """x0, y0, x1, y1 of the tile's ink; all zeros if there is none."""
    for y in range(rows):
        most[y] = 0
    for x in range(columns):
        column = at(tile, x * rows)
        for y in range(rows):
            most[y] = max(most[y], column[y])
    y0, y1 = 0, rows
    while y0 < rows and most[y0] < INK:
        y0 += 1
    if y0 == rows:
        return 0, 0, 0, 0
    while most[y1 - 1] < INK:
        y1 -= 1
    x0, x1 = 0, columns
    while not _has_ink(at(tile, x0 * rows), rows):
        x0 += 1
    while not _has_ink(at(tile, (x1 - 1) * rows), rows):
        x1 -= 1
    return x0, y0, x1, y1


@inlined
def _tint(tile, count, color, tinted):
    for i in range(count):
        tinted[i] = np.uint32(tile[i] * color + np.uint32(127)) // np.uint32(255)


@inlined
def _blend(mode, tile, tinted, columns, rows, plane, stride):
    """Put a tile, in its tint, on a plane of the canvas."""
    for x in range(columns):
        cover, above, below = at(tile, x * rows), at(tinted, x * rows), at(plane, x * stride)
        if mode == LIGHTEN:
            for i in range(rows):
                below[i] = max(below[i], above[i])
        elif mode == ADD:
            for i in range(rows):
                below[i] = min(below[i] + above[i], 255)
        elif mode == SCREEN:
            for i in range(rows):
                dark = (255 - np.int64(below[i])) * (255 - np.int64(above[i]))
                below[i] = np.uint32(255) - np.uint32(dark * 2 + 254) // np.uint32(510)
        else:
            for i in range(rows):
                below[i] = above[i] if cover[i] >= INK else max(below[i], above[i])


@cached
def compose(bank, digits, layout, noise, images, boxes, masks):
    """Fill `images` (n, height * width * channels), `boxes` (n, k, 4) and `masks` (n, k, height * width).

    Parameters
    ----------
    bank
        Pixels of all crops, where each crop begins, and the digits' boxes.
    digits
        Source, center, scale, cosine, sine, flip and tint of the draws.
    layout
        Fits, how to composite, window, (width, height). The window is x0, y0, x1, y1 on the canvas; if its width is 0,
        the number's ink box is used.
    noise
        Gaussian, impulse and noise_key of the draws, and the table of normals.
    masks
        Empty if they are not wanted.

    Returns
    -------
    int64
        -1, or sample * k + slot of the first digit without ink.
    """
    (pixels, starts, crops), (source, center, scale, cos, sin, flip, tint) = bank, digits
    (fits, mode, window, size), (gaussian, impulse, key, normals) = layout, noise
    (count, slots), (width, height) = source.shape, size
    values = images.shape[1]
    colors = 0 if values == width * height else 3
    fixed, masked = window[2] > window[0], masks.size > 0
    planes = 1 + colors + (slots if masked else 0)  # what is covered, and grey; each colour; each mask
    places, words, deviates = np.empty(slots * _DIGIT), np.empty(values), np.empty(values)
    kept_x = nothing_kept(width)
    kept_y = kept_x if width == height else nothing_kept(height)
    scratch, floats = np.empty(0), np.empty(0)

    for n in range(count):
        if n + _AHEAD < count:
            for s in range(slots):
                which = source[n + _AHEAD, s]
                if which >= 0:
                    for start in range(starts[which], starts[which + 1], _LINE):
                        prefetch(at(pixels, start))

        left, top, right, bottom = 1 << 30, 1 << 30, -(1 << 30), -(1 << 30)
        if fixed:
            left, top, right, bottom = window[0], window[1], window[2], window[3]
        most_crop, most_tile = 0, 0
        for s in range(slots):
            which, place = source[n, s], cast(at(places, s * _DIGIT), np.int64)
            if which >= 0:
                middle, turn = (center[n, s, 0], center[n, s, 1]), flip[n, s]
                put(at(crops, 4 * which), middle, scale[n, s], cos[n, s], sin[n, s], turn, at(fits, 3 * s), place)
                left, top = min(left, place[0]), min(top, place[1])
                right, bottom = max(right, place[2]), max(bottom, place[3])
                most_crop = max(most_crop, (place[10] // ONE + 1) * (place[11] // ONE + 1))
                most_tile = max(most_tile, (place[2] - place[0]) * _padded(place[3] - place[1]))
        across, along = right - left, bottom - top
        stride = _padded(along + 1 + _LANES)
        # The resize multiplies pixels beyond its box by zero: they may have any value, but must exist.
        area = stride * (across + taps(across, width) + 2)

        at_tile = _padded(most_crop)
        at_parts = at_tile + most_tile
        at_most = at_parts + most_tile
        at_axis_x = at_most + stride
        at_axis_y = at_axis_x + axis_size(across, width)
        at_sums = at_axis_y + axis_size(along, height)
        at_canvas = at_sums + sums_size(along, width)
        needed = (at_canvas + planes * area + 1) // 2
        if scratch.size < needed:
            scratch = np.empty(needed)
        quads = cast(at(scratch, 0), np.uint32)
        tile, parts, most, sums = at(quads, at_tile), at(quads, at_parts), at(quads, at_most), at(quads, at_sums)
        canvas = at(quads, at_canvas)
        at_turned = totals_size(width, height)
        needed = at_turned + turned_size(along, width, height)
        if floats.size < needed:  # no part of `scratch`: a number beyond the box must be finite
            floats = np.zeros(needed)
        totals, turned = at(floats, 0), at(floats, at_turned)

        for p in range(planes):
            plane = at(canvas, p * area)
            for i in range(stride * across):
                plane[i] = 0
        x_low, y_low, x_high, y_high = across, along, 0, 0  # the box of the number's ink
        for s in range(slots):
            which, place = source[n, s], cast(at(places, s * _DIGIT), np.int64)
            if which < 0:
                continue
            columns, rows, pitch = place[2] - place[0], _padded(place[3] - place[1]), place[10] // ONE + 1
            _stage(at(pixels, starts[which]), pitch, pitch * (place[11] // ONE + 1), quads)
            _sample(quads, pitch, place, columns, rows, parts, tile)
            x0, y0, x1, y1 = _ink_box(tile, columns, rows, most)
            if x1 == 0:
                return n * slots + s
            x, y = place[0] - left, place[1] - top
            for p in range(1 + colors + masked):
                tinted, plane = tile, at(canvas, (p if p <= colors else p + s) * area + x * stride + y)
                if 0 < p <= colors:
                    tinted = parts
                    _tint(tile, columns * rows, np.uint32(tint[n, s, p - 1]), tinted)
                _blend(mode, tile, tinted, columns, rows, plane, stride)
            x0, y0, x1, y1 = x + x0, y + y0, x + x1, y + y1
            ink = at(place, PLACE)
            ink[0], ink[1], ink[2], ink[3] = x0, y0, x1, y1
            x_low, y_low, x_high, y_high = min(x_low, x0), min(y_low, y0), max(x_high, x1), max(y_high, y1)

        x0, y0, x1, y1 = x_low, y_low, x_high, y_high
        if fixed:
            x0, y0, x1, y1 = window[0] - left, window[1] - top, window[2] - left, window[3] - top
        elif mode == ADD or mode == SCREEN:  # noqa: SIM109
            x0, y0, x1, y1 = _ink_box(canvas, across, stride, most)  # two faint edges can make ink
        across, along = x1 - x0, y1 - y0
        for s in range(slots):
            ink, there = cast(at(places, s * _DIGIT + PLACE), np.int64), source[n, s] >= 0
            boxes[n, s, 0] = (max(ink[0], x0) - x0) * width / across if there else 0.0
            boxes[n, s, 1] = (max(ink[1], y0) - y0) * height / along if there else 0.0
            boxes[n, s, 2] = (min(ink[2], x1) - x0) * width / across if there else 0.0
            boxes[n, s, 3] = (min(ink[3], y1) - y0) * height / along if there else 0.0

        axis_x = kept_axis(across, width, kept_x, at(quads, at_axis_x))
        axis_y = kept_axis(along, height, kept_y, at(quads, at_axis_y))
        for p in range(1 if colors else 0, planes):
            image, step = at(images, n * values + max(p - 1, 0)), max(colors, 1)
            if p > colors:
                image, step = at(masks, (n * slots + p - 1 - colors) * width * height), 1
            corner = at(canvas, p * area + x0 * stride + y0)
            resize(corner, stride, (across, along), size, axis_x, axis_y, sums, turned, totals, image, step)
        if gaussian[n] or impulse[n]:
            image, bits = at(images, n * values), cast(at(words, 0), np.uint64)
            rounded = cast(at(deviates, 0), np.int32)
            add_noise(image, values, gaussian[n], impulse[n], key[n], normals, bits, rounded)
    return -1
