# mypy: ignore-errors
"""The compiled kernel: the drawn samples of a whole range, in one call.

Geometry enters as numbers that two machines agree on, becomes 20-bit fixed point, and all that follows is integer
arithmetic, so that they agree on the images to the bit. Nothing is drawn outside a digit's own box, and no canvas is
larger than its number.
"""

from typing import Any

import numpy as np
from numba import njit

from .digits import INK
from .sampling import POSITION
from .spec import SIZE

NORMALS = 4096  # length of the table of normal quantiles
NORMAL = 1024  # quanta a standard deviation in it

LIGHTEN, ADD, SCREEN, OVER = range(4)
_FIXED = 20  # fractional bits of source coordinates
_ONE = 1 << _FIXED
_CENTER = POSITION // 4  # with UNIT = 5 * 4, a centre is 5 / _CENTER pixels a quantum, without rounding

_inlined = njit(nogil=True)


def _cached(function: Any) -> Any:
    """Compile, and keep the machine code where the user has a folder for it; without one, compile at every start."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@_inlined
def _stage(image, box, flip, margin, crop, quads):
    """Copy the crop, flipped, into a frame of zeros, and pack each pixel with its neighbours right, below and both."""
    x0, y0 = np.int64(box[0]), np.int64(box[1])
    width, height = np.int64(box[2]) - x0, np.int64(box[3]) - y0
    stride, rows = width + 2 * margin, height + 2 * margin
    crop[: (rows + 1) * stride + 1] = 0
    for y in range(height):
        line = image[y0 + (height - 1 - y if flip & 2 else y)]
        start = (y + margin) * stride + margin
        if flip & 1:
            for x in range(width):
                crop[start + x] = line[x0 + width - 1 - x]
        else:
            for x in range(width):
                crop[start + x] = line[x0 + x]
    right, below, across = crop[1:], crop[stride:], crop[stride + 1 :]
    for i in range(rows * stride):
        quads[i] = (
            np.uint32(crop[i])
            | np.uint32(right[i]) << np.uint32(8)
            | np.uint32(below[i]) << np.uint32(16)
            | np.uint32(across[i]) << np.uint32(24)
        )


@_inlined
def _sample_row(quads, stride, tx, ty, step_x, step_y, row, length):
    """Bilinear values along one canvas row."""
    for i in range(length):
        sx = tx + i * step_x
        sy = ty + i * step_y
        quad = np.int64(quads[np.uint64((sy >> _FIXED) * stride + (sx >> _FIXED))])
        fx = (sx >> (_FIXED - 12)) & 4095
        fy = (sy >> (_FIXED - 12)) & 4095
        top = (quad & 255) * (4096 - fx) + ((quad >> 8) & 255) * fx
        bottom = ((quad >> 16) & 255) * (4096 - fx) + (quad >> 24) * fx
        row[i] = (top * (4096 - fy) + bottom * fy + (1 << 23)) >> 24


@_inlined
def _span(start, step, limit, low, high):
    """Narrow low .. high to where start + i * step is in (0, limit), with less than a step to spare on either side."""
    if step > 0:
        low = max(low, np.int64(np.floor(-start / step)))
        high = min(high, np.int64(np.ceil((limit - start) / step)) + 1)
    elif step < 0:
        low = max(low, np.int64(np.floor((limit - start) / step)))
        high = min(high, np.int64(np.ceil(-start / step)) + 1)
    elif start <= 0 or start >= limit:
        high = low
    return low, high


@_inlined
def _blend(mode, row, length, canvas, offset):
    """Put one row of a digit on the canvas."""
    below = canvas[offset : offset + length]
    if mode == LIGHTEN:
        for i in range(length):
            below[i] = max(below[i], row[i])
    elif mode == ADD:
        for i in range(length):
            below[i] = min(np.int64(below[i]) + np.int64(row[i]), 255)
    elif mode == SCREEN:
        for i in range(length):
            below[i] = 255 - ((255 - np.int64(below[i])) * (255 - np.int64(row[i])) * 2 + 254) // 510
    else:
        for i in range(length):
            below[i] = row[i] if row[i] >= INK else max(below[i], row[i])


@_inlined
def _grown(canvas, pitch, rows, x0, y0, x1, y1):
    """The box with the pixels that became ink only where two digits' faint edges met."""
    for y in range(rows):
        for x in range(pitch):
            if canvas[y * pitch + x] >= INK:
                x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x + 1), max(y1, y + 1)
    return x0, y0, x1, y1


@_inlined
def _axis(length, first, weights):
    """Weights that map `length` pixels to 28: `weights[t, j]` for pixel `first[j] + t`, as integers of one sum.

    A longer axis is averaged by area, a shorter one interpolated between pixel centres. Returns the sum, and how many
    pixels an output takes at the most.
    """
    if length > SIZE:
        most = (length - 2) // SIZE + 2
        for j in range(SIZE):
            begin, end = j * length, (j + 1) * length
            first[j] = begin // SIZE
            for t in range(most):
                i = (first[j] + t) * SIZE
                weights[t, j] = max(min(i + SIZE, end) - max(i, begin), 0)
        return length, most
    for j in range(SIZE):
        position = (2 * j + 1) * length - SIZE
        low = position // (2 * SIZE)
        part = position - low * 2 * SIZE
        if low < 0:
            low, part = 0, 0
        elif low >= length - 1:
            low, part = length - 1, 0
        first[j] = low
        weights[0, j] = 2 * SIZE - part
        weights[1, j] = part
    return 2 * SIZE, 2


@_inlined
def _resize(canvas, pitch, x0, y0, width, height, first, weights, sums, totals, image):
    """Stretch a box of the canvas to 28 x 28: exact sums, one rounding, half up."""
    whole_x, taps_x = _axis(width, first[0], weights[0])
    whole_y, taps_y = _axis(height, first[1], weights[1])
    whole = whole_x * whole_y
    sums[width : width + taps_x] = 0
    for j in range(SIZE):
        sums[:width] = 0
        for t in range(taps_y):
            weight = weights[1, t, j]
            if weight:
                start = (y0 + first[1, j] + t) * pitch + x0
                line = canvas[start : start + width]
                for i in range(width):
                    sums[i] += weight * line[i]
        totals[:] = 0
        for t in range(taps_x):
            for i in range(SIZE):
                totals[i] += weights[0, t, i] * sums[np.uint64(first[0, i] + t)]
        for i in range(SIZE):
            image[j, i] = np.int64(totals[i] / whole + 0.5)


@_inlined
def _mix(word):
    """SplitMix64's output function: 64 well-mixed bits of a counter."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@_inlined
def _add_noise(pixels, gaussian, impulse, key, normals, words):
    """Add normal noise, then replace some pixels by black or white."""
    for i in range(SIZE * SIZE):
        words[i] = _mix(key + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15))
    for i in range(SIZE * SIZE):
        normal = normals[words[i] >> np.uint64(52)]
        value = np.int64(pixels[i]) + ((normal * gaussian + (1 << 17)) >> 18)
        pixels[i] = min(max(value, 0), 255)
    if impulse:
        for i in range(SIZE * SIZE):
            extreme = 255 if words[i] & np.uint64(0x10000) else 0
            pixels[i] = extreme if np.int64(words[i] & np.uint64(0xFFFF)) < impulse else pixels[i]


@_cached
def compose(
    sources, crops, source, center, scale, cos, sin, flip, fits, mode, gaussian, impulse, key, normals, images, boxes
):
    """Fill `images` and `boxes`; returns -1, or n * k + slot of the first digit that left no ink."""
    count, slots = source.shape
    frame = np.empty((slots, 4), np.int64)  # of each slot on the canvas: x0, y0, x1, y1
    size = np.empty((slots, 2), np.float64)
    ink = np.empty((slots, 4), np.int64)
    crop = np.empty(1, np.uint8)
    quads = np.empty(1, np.uint32)
    row = np.empty(1, np.uint8)
    canvas = np.empty(1, np.uint8)
    sums = np.empty(1, np.int32)
    totals = np.empty(SIZE, np.int32)
    weights = np.empty((2, 2, SIZE), np.int32)
    first = np.empty((2, SIZE), np.int64)
    words = np.empty(SIZE * SIZE, np.uint64)

    for n in range(count):
        left, top, right, bottom = 1 << 30, 1 << 30, -(1 << 30), -(1 << 30)
        for s in range(slots):
            box = crops[source[n, s]]
            width, height = float(box[2] - box[0]), float(box[3] - box[1])
            size_x = size_y = scale[n, s]
            if fits[s, 0] > 0:
                size_x *= fits[s, 0] / width
                size_y *= fits[s, 1] / height
                if fits[s, 2] > 0:
                    size_x = size_y = min(size_x, size_y)
            size[s, 0], size[s, 1] = size_x, size_y
            reach_x, reach_y = size_x * (width + 1) / 2, size_y * (height + 1) / 2
            half_x = abs(cos[n, s]) * reach_x + abs(sin[n, s]) * reach_y
            half_y = abs(sin[n, s]) * reach_x + abs(cos[n, s]) * reach_y
            x, y = center[n, s, 0] * 5 / _CENTER, center[n, s, 1] * 5 / _CENTER
            frame[s, 0], frame[s, 1] = np.int64(np.floor(x - half_x)), np.int64(np.floor(y - half_y))
            frame[s, 2], frame[s, 3] = np.int64(np.ceil(x + half_x)), np.int64(np.ceil(y + half_y))
            left, top = min(left, frame[s, 0]), min(top, frame[s, 1])
            right, bottom = max(right, frame[s, 2]), max(bottom, frame[s, 3])
        pitch = right - left
        if canvas.size < pitch * (bottom - top):
            canvas = np.empty(pitch * (bottom - top), np.uint8)
        if row.size < pitch:
            row = np.empty(pitch, np.uint8)
        canvas[: pitch * (bottom - top)] = 0

        for s in range(slots):
            box = crops[source[n, s]]
            width, height = np.int64(box[2] - box[0]), np.int64(box[3] - box[1])
            step_xx, step_xy = cos[n, s] / size[s, 0], -sin[n, s] / size[s, 0]
            step_yx, step_yy = sin[n, s] / size[s, 1], cos[n, s] / size[s, 1]
            margin = 3 + np.int64(max(abs(step_xx), abs(step_yx)))
            stride = width + 2 * margin
            if crop.size < (height + 2 * margin + 1) * stride + 1:
                crop = np.empty((height + 2 * margin + 1) * stride + 1, np.uint8)
                quads = np.empty(crop.size, np.uint32)
            _stage(sources[source[n, s]], box, flip[n, s], margin, crop, quads)
            step_x, step_y = np.int64(np.rint(step_xx * _ONE)), np.int64(np.rint(step_yx * _ONE))
            down_x, down_y = np.int64(np.rint(step_xy * _ONE)), np.int64(np.rint(step_yy * _ONE))
            away_x = frame[s, 0] * _CENTER + _CENTER // 2 - 5 * np.int64(center[n, s, 0])
            away_y = frame[s, 1] * _CENTER + _CENTER // 2 - 5 * np.int64(center[n, s, 1])
            # Source coordinates of the frame's first pixel from the crop's corner less one pixel, where ink begins.
            start_x = (width + 1) * (_ONE // 2) + (step_x * away_x + down_x * away_y) // _CENTER
            start_y = (height + 1) * (_ONE // 2) + (step_y * away_x + down_y * away_y) // _CENTER
            inked_x0, inked_x1, inked_y0, inked_y1 = 1 << 30, -1, -1, -1
            for y in range(frame[s, 3] - frame[s, 1]):
                tx, ty = start_x + y * down_x, start_y + y * down_y
                low, high = _span(float(tx), float(step_x), float((width + 1) << _FIXED), 0, frame[s, 2] - frame[s, 0])
                low, high = _span(float(ty), float(step_y), float((height + 1) << _FIXED), low, high)
                length = high - low
                if length <= 0:
                    continue
                shift = (margin - 1) * _ONE + (1 << (_FIXED - 13))  # into the frame of zeros; rounds to 12 bits
                _sample_row(
                    quads, stride, tx + low * step_x + shift, ty + low * step_y + shift, step_x, step_y, row, length
                )
                a, b = 0, length
                while a < b and row[a] < INK:
                    a += 1
                if a < b:
                    while row[b - 1] < INK:
                        b -= 1
                    inked_x0, inked_x1 = min(inked_x0, low + a), max(inked_x1, low + b)
                    inked_y0, inked_y1 = y if inked_y0 < 0 else inked_y0, y + 1
                _blend(mode, row, length, canvas, (frame[s, 1] - top + y) * pitch + frame[s, 0] - left + low)
            if inked_y0 < 0:
                return n * slots + s
            ink[s, 0], ink[s, 2] = frame[s, 0] - left + inked_x0, frame[s, 0] - left + inked_x1
            ink[s, 1], ink[s, 3] = frame[s, 1] - top + inked_y0, frame[s, 1] - top + inked_y1

        x0, y0, x1, y1 = ink[:, 0].min(), ink[:, 1].min(), ink[:, 2].max(), ink[:, 3].max()
        if mode in (ADD, SCREEN):
            x0, y0, x1, y1 = _grown(canvas, pitch, bottom - top, x0, y0, x1, y1)
        across, along = x1 - x0, y1 - y0
        most = max(across, along) // SIZE + 2
        if weights.shape[1] < most:
            weights = np.empty((2, most, SIZE), np.int32)
        if sums.size < across + most:
            sums = np.empty(across + most, np.int32)
        _resize(canvas, pitch, x0, y0, across, along, first, weights, sums, totals, images[n])
        for s in range(slots):
            boxes[n, s, 0] = (ink[s, 0] - x0) * SIZE / across
            boxes[n, s, 1] = (ink[s, 1] - y0) * SIZE / along
            boxes[n, s, 2] = (ink[s, 2] - x0) * SIZE / across
            boxes[n, s, 3] = (ink[s, 3] - y0) * SIZE / along
        if gaussian[n] or impulse[n]:
            _add_noise(images[n].ravel(), gaussian[n], impulse[n], key[n], normals, words)
    return -1
