# mypy: ignore-errors
"""A box of the canvas, stretched to the image's size: exact sums, one rounding.

The canvas is stored column by column: the first pass is along x, its result is transposed, and the second ends in rows.
Rows are made in strips of constant width, so that the compiler knows how often its inner loops run.
"""

import numpy as np

from .compiled import inlined
from .pointers import at, cast

_KNOWN = 128  # weights of shorter axes are kept
_GROUP = 4  # source pixels that one pass adds up
_STRIP = 28  # pixels of a row that are made at once
_PITCH = 32  # the same, padded to full vectors


@inlined
def taps(length, size):
    """Largest number of source pixels per output pixel, rounded up to whole groups."""
    most = (length - 2) // size + 2 if length > size else 2
    return (most + _GROUP - 1) // _GROUP * _GROUP


@inlined
def axis_size(length, size):
    """How many values `weigh` writes."""
    return (1 + taps(length, size)) * size


@inlined
def _weigh(length, size, axis):
    """Integer weights that map `length` pixels to `size`.

    `axis[j]` becomes the first pixel of output j, and `axis[(1 + t) * size + j]` the weight of the t-th from there. A
    longer axis is averaged by area, a shorter one interpolated between pixel centres; all j have one sum.
    """
    count = taps(length, size)
    for i in range(size, (1 + count) * size):
        axis[i] = 0
    for j in range(size):
        if length > size:
            begin, end = j * length, (j + 1) * length
            first = begin // size
            for t in range(count):
                i = (first + t) * size
                axis[(1 + t) * size + j] = max(min(i + size, end) - max(i, begin), 0)
        else:
            position = min(max((2 * j + 1) * length - size, 0), 2 * size * (length - 1))
            first = position // (2 * size)
            part = position - first * 2 * size
            axis[size + j], axis[2 * size + j] = 2 * size - part, part
        axis[j] = first


@inlined
def nothing_kept(size):
    """Memory for the weights of common lengths: whether they are there, and then the weights."""
    memory = np.empty((_KNOWN + _KNOWN * axis_size(_KNOWN, size) + 1) // 2)
    for i in range(_KNOWN // 2):
        memory[i] = 0.0
    return memory


@inlined
def kept_axis(length, size, memory, own):
    """Weights of an axis: in `memory`, where they are computed once, or in `own` if the axis is long."""
    kept = cast(at(memory, 0), np.uint32)
    axis = at(kept, _KNOWN + length * axis_size(_KNOWN, size)) if length < _KNOWN else own
    if length >= _KNOWN or kept[length] == 0:
        _weigh(length, size, axis)
        if length < _KNOWN:
            kept[length] = 1
    return axis


@inlined
def sums_size(along, width):
    """How many values the first pass writes, and the transposition reads."""
    return (width + _STRIP - 1) // _STRIP * _STRIP * ((along + 15) // 16 * 16)


@inlined
def turned_size(along, width, height):
    """How many values the second pass reads."""
    return (along + taps(along, height)) * ((width + _STRIP - 1) // _STRIP) * _PITCH


@inlined
def totals_size(width, height):
    """How many values the second pass writes."""
    return width * height + _STRIP + _PITCH


@inlined
def resize(canvas, stride, box, size, axis_x, axis_y, sums, turned, totals, image, channels):
    """Stretch a box (width, height), whose first pixel is `canvas[0]`, to an image of this size, half up.

    `image` points to the channel's first pixel. The two passes are written out: a shared function made the whole kernel
    a quarter slower.
    """
    (across, along), (width, height) = box, size
    span = (along + 15) // 16 * 16
    strips = (width + _STRIP - 1) // _STRIP
    pitch = strips * _PITCH
    for i in range(width):
        out = at(sums, i * span)
        for t in range(0, taps(across, width), _GROUP):
            weights = at(axis_x, (1 + t) * width + i)
            a, b, c, d = weights[0], weights[width], weights[2 * width], weights[3 * width]
            p = at(canvas, (axis_x[i] + t) * stride)
            q, r, s = at(p, stride), at(p, 2 * stride), at(p, 3 * stride)
            if t == 0:
                for y in range(span):
                    out[y] = a * p[y] + b * q[y] + c * r[y] + d * s[y]
            else:
                for y in range(span):
                    out[y] += a * p[y] + b * q[y] + c * r[y] + d * s[y]
    for strip in range(strips):
        for y in range(along):
            for i in range(_STRIP):
                turned[y * pitch + strip * _PITCH + i] = sums[(strip * _STRIP + i) * span + y]
    for j in range(height):
        for strip in range(strips):
            out = at(totals, j * width + strip * _STRIP)  # the next strip overwrites what this one writes too much
            for t in range(0, taps(along, height), _GROUP):
                weights = at(axis_y, (1 + t) * height + j)
                a, b = float(weights[0]), float(weights[height])
                c, d = float(weights[2 * height]), float(weights[3 * height])
                p = at(turned, (axis_y[j] + t) * pitch + strip * _PITCH)
                q, r, s = at(p, pitch), at(p, 2 * pitch), at(p, 3 * pitch)
                if t == 0:
                    for i in range(_PITCH):
                        out[i] = a * p[i] + b * q[i] + c * r[i] + d * s[i]
                else:
                    for i in range(_PITCH):
                        out[i] += a * p[i] + b * q[i] + c * r[i] + d * s[i]
    # floor((2 total + whole) / (2 whole)). Half a unit more in the numerator never reaches the next whole number, and
    # exceeds the rounding error of the product.
    whole = float((across if across > width else 2 * width) * (along if along > height else 2 * height))
    inverse, half = 0.5 / whole, whole + 0.5
    if channels == 1:
        for i in range(width * height):
            image[i] = np.int32((2.0 * totals[i] + half) * inverse)
    else:
        for i in range(width * height):
            image[i * channels] = np.int32((2.0 * totals[i] + half) * inverse)
