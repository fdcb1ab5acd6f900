"""What is ink in an image: the box around it, and whether it is the light part of the image."""

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
    columns = np.concatenate([chunk.max(axis=1) for chunk in _chunks(images)]) >= INK
    rows = np.concatenate([chunk.max(axis=2) for chunk in _chunks(images)]) >= INK
    edges = (columns.argmax(1), rows.argmax(1), width - columns[:, ::-1].argmax(1), height - rows[:, ::-1].argmax(1))
    return np.stack(edges, axis=1).astype(np.int16), np.flatnonzero(~rows.any(axis=1))


def dark_on_light(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each of the images, uint8 (M, H, W), shows something dark on a light ground, bool (M,).

    That is so if most of its border would be ink, and if the border is lighter than the image. A light object may touch
    the border, too, but is not darker inside.
    """
    return np.concatenate([_dark_on_light(chunk) for chunk in _chunks(images)])


def _dark_on_light(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    sides = images[:, [0, -1]], images[:, 1:-1, [0, -1]]
    border = np.concatenate([side.reshape(len(images), -1) for side in sides], axis=1)
    most_is_ink: NDArray[np.bool_] = (border >= INK).mean(1) > 0.5
    lighter: NDArray[np.bool_] = border.mean(1) > images.mean((1, 2))
    return most_is_ink & lighter


def _chunks(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    step = max(1, _STEP // max(1, images[0].size))
    return [images[start : start + step] for start in range(0, len(images), step)]
