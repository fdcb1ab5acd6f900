"""What is ink in an image: the box around it, and whether it is the light part of the image."""

from functools import reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

INK = 32  # a pixel of at least this value is ink, in a source digit and in a composed number

_STEP = 1 << 22  # pixels at a time, so that temporaries take only a few megabytes


def ink_boxes(images: NDArray[np.uint8]) -> tuple[NDArray[np.int16], NDArray[np.intp]]:
    """Find the tight box of the ink in each of the images, uint8 (M, H, W).

    Returns
    -------
    boxes : int16 (M, 4)
        x0, y0, x1, y1; x1 and y1 are exclusive.
    blank : intp (b,)
        Indices of the images without ink; their boxes are meaningless.
    """
    _, height, width = images.shape
    columns, rows = (np.concatenate(each) for each in zip(*map(_with_ink, _chunks(images)), strict=True))
    edges = (columns.argmax(1), rows.argmax(1), width - columns[:, ::-1].argmax(1), height - rows[:, ::-1].argmax(1))
    return np.stack(edges, axis=1).astype(np.int16), np.flatnonzero(~rows.any(axis=1))


def _with_ink(images: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which columns (n, W) and rows (n, H) hold ink.

    INK is a power of two, so a pixel is ink if it has any bit from there up; an OR of words finds that in up to eight
    pixels at once.
    """
    size = next(size for size in (8, 4, 2, 1) if images.shape[2] % size == 0)
    words = np.ascontiguousarray(images).view(f"u{size}")
    high_bits = np.array(int.from_bytes(bytes([256 - INK]) * size, "little"), words.dtype)
    columns = np.bitwise_or.reduce(words, axis=1).view(np.uint8) >= INK
    rows: NDArray[np.bool_] = (reduce(or_, np.moveaxis(words, 2, 0)) & high_bits) != 0
    return columns, rows


def dark_on_light(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each of the images, uint8 (M, H, W), shows something dark on a light ground, bool (M,).

    That is so if most of its border would be ink, and if the border is lighter than the image. A light object may touch
    the border, too, but is not darker inside.
    """
    return np.concatenate([_dark_on_light(chunk) for chunk in _chunks(images)])


def _dark_on_light(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    sides = images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]
    length = sum(side.shape[1] for side in sides)
    dark: NDArray[np.bool_] = (
        2 * sum(np.count_nonzero(side >= INK, axis=1) for side in sides) > length
    )  # most of the border is ink
    if dark.any():  # rare, and the mean of all pixels is slow
        border = np.concatenate([side[dark] for side in sides], axis=1)
        dark[dark] = border.mean(1) > images[dark].mean((1, 2))
    return dark


def _chunks(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    step = max(1, _STEP // max(1, images[0].size))
    return [images[start : start + step] for start in range(0, len(images), step)]
