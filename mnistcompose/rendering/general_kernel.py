# mypy: ignore-errors
"""The general kernel: images of any size, colour, fixed windows, numbers of varying length, and masks.

It draws digits as the fast kernel does, from precomputed geometry, and is simpler and slower. Images that both kernels
can make are bit-identical.
"""

import numpy as np

from ..digits.ink import INK
from .compiled import cached, inlined
from .kernel import ADD, LIGHTEN, ONE, SCREEN, ink_box, mix, sample, stage


@inlined
def _draw(pixels, digit, columns, rows, quads, parts, tile):
    """Fill a tile (columns, rows) with a digit."""
    (place, stride), start, step, down, end = digit
    stage(pixels, place, stride, stride * (end[1] // ONE + 1), quads)
    sample(
        quads, stride, (end[0], end[1]), (start[0], start[1]), (step[0], step[1]), (down[0], down[1]), columns, rows,
        parts, tile,
    )  # fmt: skip


@inlined
def _paint(mode, tile, columns, rows, colors, planes, x0, y0):
    """Draw a digit on each plane of the canvas, in its colour for that plane."""
    for c in range(len(planes)):
        plane = planes[c, x0 : x0 + columns, y0 : y0 + rows]
        for x in range(columns):
            for y in range(rows):
                cover, below = np.int64(tile[x * rows + y]), np.int64(plane[x, y])
                above = (cover * colors[c] + 127) // 255
                if mode == LIGHTEN:
                    value = max(below, above)
                elif mode == ADD:
                    value = min(below + above, 255)
                elif mode == SCREEN:
                    value = 255 - ((255 - below) * (255 - above) * 2 + 254) // 510
                else:
                    value = above if cover >= INK else max(below, above)
                plane[x, y] = value


@inlined
def _ink_of(plane, x0, y0, x1, y1):
    """Extend a box to all ink of a plane."""
    for x in range(plane.shape[0]):
        for y in range(plane.shape[1]):
            if plane[x, y] >= INK:
                x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x + 1), max(y1, y + 1)
    return x0, y0, x1, y1


@inlined
def _weigh(length, size, first, weights):
    """Weights that map `length` pixels to `size`: `weights[j, t]` for pixel `first[j] + t`; returns their sum.

    A longer axis is averaged by area, a shorter one interpolated between pixel centres.
    """
    weights[:] = 0
    for j in range(size):
        if length > size:
            begin, end = j * length, (j + 1) * length
            first[j] = begin // size
            for t in range(weights.shape[1]):
                i = (first[j] + t) * size
                weights[j, t] = max(min(i + size, end) - max(i, begin), 0)
        else:
            position = min(max((2 * j + 1) * length - size, 0), 2 * size * (length - 1))
            first[j] = position // (2 * size)
            weights[j, 1] = position - first[j] * 2 * size
            weights[j, 0] = 2 * size - weights[j, 1]
    return length if length > size else 2 * size


@inlined
def _resize(plane, box, image):
    """Stretch a box of a plane to an image (height, width): exact sums, one rounding, half up."""
    x0, y0, x1, y1 = box
    height, width = image.shape
    first_x, first_y = np.empty(width, np.int64), np.empty(height, np.int64)
    weights_x = np.empty((width, (x1 - x0 - 2) // width + 2 if x1 - x0 > width else 2), np.int64)
    weights_y = np.empty((height, (y1 - y0 - 2) // height + 2 if y1 - y0 > height else 2), np.int64)
    whole = _weigh(x1 - x0, width, first_x, weights_x) * _weigh(y1 - y0, height, first_y, weights_y)
    sums = np.zeros((width, y1 - y0), np.int64)
    for i in range(width):
        for t in range(weights_x.shape[1]):
            if weights_x[i, t]:
                for y in range(y1 - y0):
                    sums[i, y] += weights_x[i, t] * plane[x0 + first_x[i] + t, y0 + y]
    for j in range(height):
        for i in range(width):
            total = np.int64(0)
            for t in range(weights_y.shape[1]):
                if weights_y[j, t]:
                    total += weights_y[j, t] * sums[i, first_y[j] + t]
            image[j, i] = (2 * total + whole) // (2 * whole)


@inlined
def _add_noise(pixels, gaussian, impulse, key, normals):
    """Add normal noise, then replace some values by black or white."""
    for i in range(len(pixels)):
        word = mix(key + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15))
        deviate = np.int64(normals[word >> np.uint64(52)])
        value = min(max(np.int64(pixels[i]) + ((deviate * gaussian + (1 << 17)) >> 18), 0), 255)
        if np.int64(word & np.uint64(0xFFFF)) < impulse:
            value = 255 if word & np.uint64(0x10000) else 0
        pixels[i] = value


@cached
def compose_scene(
    pixels,
    source,
    low,
    frame,
    start,
    step,
    down,
    end,
    first,
    tint,
    mode,
    window,
    gaussian,
    impulse,
    key,
    normals,
    images,
    boxes,
    masks,
):
    """Fill `images` (n, H, W, C), `boxes` (n, k, 4) and, if it is not empty, `masks` (n, k, H, W).

    `window` is x0, y0, x1, y1 on the canvas; if its width is 0, the number's ink box is used. Returns -1, or
    sample * k + slot of the first digit that leaves no ink.
    """
    count, slots = source.shape
    height, width, channels = images.shape[1:]
    fixed = window[2] > window[0]
    ink = np.zeros((slots, 4), np.int64)
    picture = np.empty((height, width), np.uint8)
    colors = np.full(1 + channels, 255, np.int64)  # per plane: coverage, and in colour the three channels
    colored = channels > 1
    most_tile, most_crop, most_rows = 1, 1, 1
    for n in range(count):
        for s in range(slots):
            most_tile = max(most_tile, frame[n, s, 0] * frame[n, s, 1])
            most_crop = max(most_crop, first[n, s, 1] * (end[n, s, 1] // ONE + 1))
            most_rows = max(most_rows, frame[n, s, 1])
    quads, tile, parts = np.empty(most_crop, np.uint32), np.empty(most_tile, np.uint32), np.empty(most_tile, np.uint32)
    most = np.empty(most_rows, np.uint32)

    for n in range(count):
        left, top, right, bottom = 1 << 30, 1 << 30, -(1 << 30), -(1 << 30)
        if fixed:
            left, top, right, bottom = window[0], window[1], window[2], window[3]
        for s in range(slots):
            if source[n, s] >= 0:
                left, top = min(left, low[n, s, 0]), min(top, low[n, s, 1])
                right, bottom = max(right, low[n, s, 0] + frame[n, s, 0]), max(bottom, low[n, s, 1] + frame[n, s, 1])
        across, along = right - left, bottom - top
        planes = np.zeros((1 + channels if colored else 1, across, along), np.uint8)

        for s in range(slots):
            if source[n, s] >= 0:
                columns, rows = frame[n, s, 0], frame[n, s, 1]
                digit = first[n, s], start[n, s], step[n, s], down[n, s], end[n, s]
                _draw(pixels, digit, columns, rows, quads, parts, tile)
                x0, y0, x1, y1 = ink_box(tile, columns, rows, most)
                if x1 == 0:
                    return n * slots + s
                x, y = low[n, s, 0] - left, low[n, s, 1] - top
                ink[s, 0], ink[s, 1], ink[s, 2], ink[s, 3] = x + x0, y + y0, x + x1, y + y1
                if colored:
                    colors[1:] = tint[n, s]
                _paint(mode, tile, columns, rows, colors, planes, x, y)

        if fixed:
            x0, y0, x1, y1 = window[0] - left, window[1] - top, window[2] - left, window[3] - top
        else:
            x0, y0, x1, y1 = across, along, 0, 0
            for s in range(slots):
                if source[n, s] >= 0:
                    x0, y0 = min(x0, ink[s, 0]), min(y0, ink[s, 1])
                    x1, y1 = max(x1, ink[s, 2]), max(y1, ink[s, 3])
            if mode in (ADD, SCREEN):
                x0, y0, x1, y1 = _ink_of(planes[0], x0, y0, x1, y1)
        box = x0, y0, x1, y1
        boxes[n] = 0
        for s in range(slots):
            if source[n, s] >= 0:
                boxes[n, s, 0] = (max(ink[s, 0], x0) - x0) * width / (x1 - x0)
                boxes[n, s, 1] = (max(ink[s, 1], y0) - y0) * height / (y1 - y0)
                boxes[n, s, 2] = (min(ink[s, 2], x1) - x0) * width / (x1 - x0)
                boxes[n, s, 3] = (min(ink[s, 3], y1) - y0) * height / (y1 - y0)
        for c in range(channels):
            _resize(planes[c + 1 if colored else 0], box, picture)
            images[n, :, :, c] = picture
        if gaussian[n] or impulse[n]:
            _add_noise(images[n].ravel(), gaussian[n], impulse[n], key[n], normals)

        if masks.size:
            for s in range(slots):
                if source[n, s] >= 0:
                    columns, rows = frame[n, s, 0], frame[n, s, 1]
                    digit = first[n, s], start[n, s], step[n, s], down[n, s], end[n, s]
                    _draw(pixels, digit, columns, rows, quads, parts, tile)
                    planes[0] = 0
                    _paint(LIGHTEN, tile, columns, rows, colors, planes[:1], low[n, s, 0] - left, low[n, s, 1] - top)
                    _resize(planes[0], box, masks[n, s])
    return -1
