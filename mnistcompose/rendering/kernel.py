# mypy: ignore-errors
"""The compiled kernel: it renders the drawn samples of a whole range in one call.

Geometry enters as numbers that are equal on all machines, and becomes 20-bit fixed point. All later steps are integer
arithmetic (in the resize, whole numbers in float64), so the images are bit-identical on all machines.

Three things make it fast. Nothing outside a digit's own box is touched. A digit's crop is prefetched before it is used.
A digit is processed as one flat tile, in simple passes, so that all passes except the table look-ups are vectorised.
Tiles and canvas are stored column by column: the resize does its first pass along x, transposes the result, and ends in
rows.

Array methods such as `min` and `ravel`, and `in`, are not used: numba compiles hundreds of lines for each, and a
process that loads the machine code would import them, and scipy with them.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..digits.ink import INK
from ..layout.model import SIZE
from .compiled import cached, inlined
from .draws import POSITION

NORMALS = 4096  # length of the table of normal quantiles
NORMAL = 1024  # quanta per standard deviation in it

LIGHTEN, ADD, SCREEN, OVER = range(4)
FIXED = 20  # fractional bits of source coordinates
ONE = 1 << FIXED
_CENTER = POSITION // 4  # with UNIT = 5 * 4, one quantum of a centre is exactly 5 / _CENTER pixels

_AHEAD = 4  # samples between prefetching a digit's pixels and using them
_LINE = 64  # bytes per cache line
_LANES = 8  # a tile's height is a multiple of this, so that no column has a remainder
_PITCH = 32  # row stride in the resize: SIZE, padded to full vectors
_KNOWN = 128  # weights of shorter axes are cached
_GROUP = 4  # source pixels that one pass of the resize adds up

# --- source digits --------------------------------------------------------------------------------------------------


@cached
def pack(images, boxes, starts, pixels):
    """Copy each image's crop, with a margin of one zero on every side, to its start in the zero-filled `pixels`."""
    for n in range(len(images)):
        x0, y0 = np.int64(boxes[n, 0]), np.int64(boxes[n, 1])
        width, height = np.int64(boxes[n, 2]) - x0, np.int64(boxes[n, 3]) - y0
        for y in range(height):
            start = starts[n] + (y + 1) * (width + 2) + 1
            for x in range(width):
                pixels[start + x] = images[n, y0 + y, x0 + x]


@intrinsic
def _prefetch(_, array, index):  # noqa: ARG001
    """Prefetch the cache line of an element, without waiting for it."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(function, [address, word(0), word(3), word(1)])  # for reading; keep in all caches; data cache
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@inlined
def stage(pixels, start, stride, count, quads):
    """Pack each pixel of a crop with its right, lower and lower-right neighbours."""
    here, right = pixels[start : start + count], pixels[start + 1 : start + 1 + count]
    below, across = pixels[start + stride : start + stride + count], pixels[start + stride + 1 :]
    for i in range(count):
        quads[i] = np.int64(here[i]) | np.int64(right[i]) << 8 | np.int64(below[i]) << 16 | np.int64(across[i]) << 24


# --- a digit --------------------------------------------------------------------------------------------------------


@inlined
def sample(quads, stride, end, start, step, down, columns, rows, parts, tile):
    """Fill a tile (columns, rows) with bilinear values; coordinates are clamped to the crop's margin of zeros."""
    x, y = start
    for column in range(columns):
        place, part = tile[column * rows : (column + 1) * rows], parts[column * rows : (column + 1) * rows]
        for i in range(rows):
            sx = min(max(x + i * down[0], 0), end[0])
            sy = min(max(y + i * down[1], 0), end[1])
            place[i] = (sy >> FIXED) * stride + (sx >> FIXED)
            part[i] = ((sx >> (FIXED - 12)) & 4095) | ((sy >> (FIXED - 12)) & 4095) << 16
        x, y = x + step[0], y + step[1]
    for i in range(columns * rows):
        tile[i] = quads[tile[i]]
    for i in range(columns * rows):
        quad = np.int64(tile[i])
        fx, fy = np.int64(parts[i]) & 4095, np.int64(parts[i]) >> 16
        top = (quad & 255) * (4096 - fx) + ((quad >> 8) & 255) * fx
        bottom = ((quad >> 16) & 255) * (4096 - fx) + (quad >> 24) * fx
        tile[i] = (top * (4096 - fy) + bottom * fy + (1 << 23)) >> 24


@inlined
def _has_ink(column):
    most = np.uint32(0)
    for i in range(len(column)):
        most = max(most, column[i])
    return most >= INK


@inlined
def ink_box(tile, columns, rows, most):
    """x0, y0, x1, y1 of the tile's ink; all zeros if there is none."""
    most[:rows] = 0
    for x in range(columns):
        column = tile[x * rows : (x + 1) * rows]
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
    while not _has_ink(tile[x0 * rows : (x0 + 1) * rows]):
        x0 += 1
    while not _has_ink(tile[(x1 - 1) * rows : x1 * rows]):
        x1 -= 1
    return x0, y0, x1, y1


@inlined
def _blend(mode, tile, columns, rows, canvas, offset, stride):
    """Put a digit on the canvas."""
    for x in range(columns):
        above = tile[x * rows : (x + 1) * rows]
        below = canvas[offset + x * stride : offset + x * stride + rows]
        if mode == LIGHTEN:
            for i in range(rows):
                below[i] = max(below[i], above[i])
        elif mode == ADD:
            for i in range(rows):
                below[i] = min(below[i] + above[i], 255)
        elif mode == SCREEN:
            for i in range(rows):
                below[i] = 255 - ((255 - np.int64(below[i])) * (255 - np.int64(above[i])) * 2 + 254) // 510
        else:
            for i in range(rows):
                below[i] = above[i] if above[i] >= INK else max(below[i], above[i])


# --- the number -----------------------------------------------------------------------------------------------------


@inlined
def _grown(canvas, stride, columns, rows, x0, y0, x1, y1):
    """Extend a box to pixels that are ink only because two digits' faint edges meet."""
    for x in range(columns):
        for y in range(rows):
            if canvas[x * stride + y] >= INK:
                x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x + 1), max(y1, y + 1)
    return x0, y0, x1, y1


@inlined
def _taps(length):
    """Largest number of source pixels per output pixel, rounded up to whole groups."""
    most = (length - 2) // SIZE + 2 if length > SIZE else 2
    return (most + _GROUP - 1) // _GROUP * _GROUP


@inlined
def _weigh(length, first, weights):
    """Integer weights that map `length` pixels to 28: `weights[t, j]` for pixel `first[j] + t`; all j have one sum.

    A longer axis is averaged by area, a shorter one interpolated between pixel centres.
    """
    weights[: _taps(length)] = 0
    if length > SIZE:
        for j in range(SIZE):
            begin, end = j * length, (j + 1) * length
            first[j] = begin // SIZE
            for t in range(_taps(length)):
                i = (first[j] + t) * SIZE
                weights[t, j] = max(min(i + SIZE, end) - max(i, begin), 0)
    else:
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


@inlined
def _axis(length, known, firsts, weights):
    """Sum, first pixels and weights of an axis; those of common lengths are computed once."""
    total = length if length > SIZE else 2 * SIZE
    if length < _KNOWN:
        if not known[length]:
            _weigh(length, firsts[length], weights[length])
            known[length] = True
        return total, firsts[length], weights[length]
    first, own = np.empty(SIZE, np.int64), np.empty((_taps(length), SIZE), np.uint32)
    _weigh(length, first, own)
    return total, first, own


@inlined
def _resize(canvas, origin, stride, width, height, axis_x, axis_y, sums, turned, totals, image):
    """Stretch a box of the canvas to 28 x 28: exact sums, one rounding, half up.

    The two passes are written out: a shared function made the whole kernel a quarter slower.
    """
    whole_x, first_x, weights_x = axis_x
    whole_y, first_y, weights_y = axis_y
    span = (height + 15) // 16 * 16
    for i in range(SIZE):
        out = sums[i * span : (i + 1) * span]
        for t in range(0, _taps(width), _GROUP):
            a, b, c, d = weights_x[t, i], weights_x[t + 1, i], weights_x[t + 2, i], weights_x[t + 3, i]
            start = origin + (first_x[i] + t) * stride
            p, q = canvas[start : start + span], canvas[start + stride : start + stride + span]
            start += 2 * stride
            r, s = canvas[start : start + span], canvas[start + stride : start + stride + span]
            if t == 0:
                for y in range(span):
                    out[y] = a * p[y] + b * q[y] + c * r[y] + d * s[y]
            else:
                for y in range(span):
                    out[y] += a * p[y] + b * q[y] + c * r[y] + d * s[y]
    for y in range(height):
        for i in range(SIZE):
            turned[y * _PITCH + i] = sums[i * span + y]
    for j in range(SIZE):
        out = totals[j * SIZE : j * SIZE + _PITCH]  # the next row overwrites what this one writes too much
        for t in range(0, _taps(height), _GROUP):
            a, b = float(weights_y[t, j]), float(weights_y[t + 1, j])
            c, d = float(weights_y[t + 2, j]), float(weights_y[t + 3, j])
            start = (first_y[j] + t) * _PITCH
            p, q = turned[start : start + _PITCH], turned[start + _PITCH : start + 2 * _PITCH]
            start += 2 * _PITCH
            r, s = turned[start : start + _PITCH], turned[start + _PITCH : start + 2 * _PITCH]
            if t == 0:
                for i in range(_PITCH):
                    out[i] = a * p[i] + b * q[i] + c * r[i] + d * s[i]
            else:
                for i in range(_PITCH):
                    out[i] += a * p[i] + b * q[i] + c * r[i] + d * s[i]
    # floor((2 total + whole) / (2 whole)). Half a unit more in the numerator never reaches the next whole number, and
    # exceeds the rounding error of the product.
    whole = float(whole_x * whole_y)
    inverse, half = 0.5 / whole, whole + 0.5
    for i in range(SIZE * SIZE):
        image[i] = np.int32((2.0 * totals[i] + half) * inverse)


@inlined
def mix(word):
    """SplitMix64's output function: 64 well-mixed bits of a counter."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@inlined
def _add_noise(pixels, gaussian, impulse, key, normals, words, deviates):
    """Add normal noise, then replace some pixels by black or white."""
    for i in range(SIZE * SIZE):
        words[i] = mix(key + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15))
    for i in range(SIZE * SIZE):
        deviates[i] = normals[words[i] >> np.uint64(52)]
    for i in range(SIZE * SIZE):
        value = np.int64(pixels[i]) + ((np.int64(deviates[i]) * gaussian + (1 << 17)) >> 18)
        pixels[i] = min(max(value, 0), 255)
    if impulse:
        for i in range(SIZE * SIZE):
            extreme = 255 if words[i] & np.uint64(0x10000) else 0
            pixels[i] = extreme if np.int64(words[i] & np.uint64(0xFFFF)) < impulse else pixels[i]


# --- all samples ----------------------------------------------------------------------------------------------------


@inlined
def _fixed(value):
    return np.int64(np.rint(value * ONE))


@inlined
def _at_least(array, size):
    """The array, or a new one of zeros if it is too small."""
    return array if array.size >= size else np.zeros(size, array.dtype)


@cached
def compose(
    pixels,
    starts,
    crops,
    source,
    center,
    scale,
    cos,
    sin,
    flip,
    fits,
    mode,
    gaussian,
    impulse,
    key,
    normals,
    images,
    boxes,
):
    """Fill `images` (n, 784) and `boxes` (n, k, 4); -1, or sample * k + slot of the first digit without ink."""
    count, slots = source.shape
    frame = np.empty((slots, 4), np.int64)  # of each slot on the canvas: x0, y0, x1, y1
    size = np.empty((slots, 2), np.float64)
    ink = np.empty((slots, 4), np.int64)
    quads, parts, tile = np.zeros(1, np.uint32), np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    most, canvas, sums = np.zeros(1, np.uint32), np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    turned, totals = np.zeros(1, np.float64), np.zeros((SIZE - 1) * SIZE + _PITCH, np.float64)
    known, firsts = np.zeros(_KNOWN, np.bool_), np.empty((_KNOWN, SIZE), np.int64)
    weights = np.empty((_KNOWN, _taps(_KNOWN), SIZE), np.uint32)
    words, deviates = np.empty(SIZE * SIZE, np.uint64), np.empty(SIZE * SIZE, np.int32)

    for n in range(count):
        if n + _AHEAD < count:
            for s in range(slots):
                which = source[n + _AHEAD, s]
                for start in range(starts[which], starts[which + 1], _LINE):
                    _prefetch(pixels, start)

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
        across, along = right - left, bottom - top
        x_low, y_low, x_high, y_high = across, along, 0, 0  # the box of the number's ink
        stride = (along + 2 * _LANES) // _LANES * _LANES
        # The resize multiplies pixels beyond its box by zero: they may have any value, but must exist.
        canvas = _at_least(canvas, stride * (across + _taps(across) + 2))
        canvas[: stride * across] = 0

        for s in range(slots):
            which = source[n, s]
            box = crops[which]
            width, height = np.int64(box[2] - box[0]), np.int64(box[3] - box[1])
            step_x, down_x = _fixed(cos[n, s] / size[s, 0]), _fixed(-sin[n, s] / size[s, 0])
            step_y, down_y = _fixed(sin[n, s] / size[s, 1]), _fixed(cos[n, s] / size[s, 1])
            away_x = frame[s, 0] * _CENTER + _CENTER // 2 - 5 * np.int64(center[n, s, 0])
            away_y = frame[s, 1] * _CENTER + _CENTER // 2 - 5 * np.int64(center[n, s, 1])
            # Source coordinates of the frame's first pixel, from the corner of the margin, which borders the ink.
            end_x, end_y = (width + 1) * ONE, (height + 1) * ONE
            start_x = end_x // 2 + (step_x * away_x + down_x * away_y) // _CENTER
            start_y = end_y // 2 + (step_y * away_x + down_y * away_y) // _CENTER
            if flip[n, s] & 1:  # mirrors the coordinate, and also its rounding to 12 bits
                start_x, step_x, down_x = end_x - start_x - 1, -step_x, -down_x
            if flip[n, s] & 2:
                start_y, step_y, down_y = end_y - start_y - 1, -step_y, -down_y
            half = 1 << (FIXED - 13)
            end, start = (end_x, end_y), (start_x + half, start_y + half)
            columns, rows = frame[s, 2] - frame[s, 0], (frame[s, 3] - frame[s, 1] + _LANES - 1) // _LANES * _LANES
            area = (width + 2) * (height + 2)
            quads, most = _at_least(quads, area), _at_least(most, rows)
            parts, tile = _at_least(parts, columns * rows), _at_least(tile, columns * rows)
            stage(pixels, starts[which], width + 2, area, quads)
            sample(quads, width + 2, end, start, (step_x, step_y), (down_x, down_y), columns, rows, parts, tile)
            x0, y0, x1, y1 = ink_box(tile, columns, rows, most)
            if x1 == 0:
                return n * slots + s
            x, y = frame[s, 0] - left, frame[s, 1] - top
            _blend(mode, tile, columns, rows, canvas, x * stride + y, stride)
            x0, y0, x1, y1 = x + x0, y + y0, x + x1, y + y1
            ink[s, 0], ink[s, 1], ink[s, 2], ink[s, 3] = x0, y0, x1, y1
            x_low, y_low, x_high, y_high = min(x_low, x0), min(y_low, y0), max(x_high, x1), max(y_high, y1)

        x0, y0, x1, y1 = x_low, y_low, x_high, y_high
        if mode == ADD or mode == SCREEN:  # noqa: SIM109
            x0, y0, x1, y1 = _grown(canvas, stride, across, along, x0, y0, x1, y1)
        across, along = x1 - x0, y1 - y0
        sums = _at_least(sums, SIZE * (along + 15))
        turned = _at_least(turned, (along + _taps(along)) * _PITCH)
        axis_x, axis_y = _axis(across, known, firsts, weights), _axis(along, known, firsts, weights)
        image = images[n]
        _resize(canvas, x0 * stride + y0, stride, across, along, axis_x, axis_y, sums, turned, totals, image)
        for s in range(slots):
            boxes[n, s, 0] = (ink[s, 0] - x0) * SIZE / across
            boxes[n, s, 1] = (ink[s, 1] - y0) * SIZE / along
            boxes[n, s, 2] = (ink[s, 2] - x0) * SIZE / across
            boxes[n, s, 3] = (ink[s, 3] - y0) * SIZE / along
        if gaussian[n] or impulse[n]:
            _add_noise(image, gaussian[n], impulse[n], key[n], normals, words, deviates)
    return -1
