"""One part of a digit set: images and labels from two IDX files, in the one form that the program uses."""

from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..quantities import counted
from .finding import Pair
from .idx import read_idx
from .ink import INK, ink_boxes
from .source import DigitSource

MAX_SIDE = 1024  # pixels
MAX_CLASSES = 255  # digit 255 stands for one that is absent

_TOLD = 10  # blank images whose indices are told

Columns = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int16]]


def read_part(pair: Pair, source: DigitSource, *, transposed: bool, table: bool) -> Columns:
    """Read images uint8 (M, H, W), labels uint8 (M,) and ink boxes int16 (M, 4).

    Raises
    ------
    InputError
        The files cannot be used; the message names the file, the index and the reason.
    """
    path = pair.images
    images, labels = _images(path), _labels(pair.labels, source.labels_from, table)
    count, height, width = images.shape
    if not count:
        raise InputError(f"{path}: holds no image")
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise InputError(f"{path}: images of {width} x {height} pixels; each side must have 1 to {MAX_SIDE}")
    if count != len(labels):
        raise InputError(
            f"{path}: {counted(count, 'image')}, but {pair.labels.name} holds {counted(len(labels), 'label')}"
        )
    if transposed:
        images = images.transpose(0, 2, 1)
    images = np.ascontiguousarray(255 - images if source.invert else images)
    boxes, blank = ink_boxes(images)
    if not len(blank):
        return images, labels, boxes
    if not source.skip_blank or len(blank) == count:
        remedy = "" if len(blank) == count else "; skip_blank (--skip-blank) leaves them out"
        raise InputError(f"{path}: {_blank(blank, images)}{remedy}")
    kept = np.delete(np.arange(count), blank)
    return images[kept], labels[kept], boxes[kept]


def _blank(blank: NDArray[np.intp], images: NDArray[np.uint8]) -> str:
    if len(blank) == len(images):
        return f"all images are blank: no pixel reaches {INK} of 255, the highest value is {images.max()}"
    told = ", ".join(map(str, blank[:_TOLD])) + (f" and {len(blank) - _TOLD} more" if len(blank) > _TOLD else "")
    return f"{counted(len(blank), 'blank image')} of {len(images):,}, in which no pixel reaches {INK} of 255: {told}"


def _images(path: Path) -> NDArray[np.uint8]:
    """Images (M, H, W) of one byte per pixel; flat ones, those with a channel, and other types are converted."""
    images = read_idx(path)
    shape = images.shape
    if images.ndim == 4 and 1 in (shape[1], shape[3]):
        images = images[:, 0] if shape[1] == 1 else images[..., 0]
    elif images.ndim == 2 and shape[1] and isqrt(shape[1]) ** 2 == shape[1]:
        images = images.reshape(len(images), isqrt(shape[1]), -1)
    if images.ndim != 3:
        raise InputError(f"{path}: an array of {_times(shape)}; grey images are count x height x width")
    if images.dtype == np.uint8 or not images.size:
        return images.astype(np.uint8, copy=False)
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 255):  # also false for NaN
        raise InputError(
            f"{path}: pixels of {images.dtype} from {low:g} to {high:g}; allowed are 0 to 255, or fractions from 0 to 1"
        )
    fractions = images.dtype.kind == "f" and high <= 1
    values: NDArray[np.uint8] = np.rint(images * 255 if fractions else images).astype(np.uint8)
    return values


def _labels(path: Path, first: int, table: bool) -> NDArray[np.uint8]:
    """Labels from 0 up, one byte each; in a table, the label is the first column."""
    labels = read_idx(path)
    if labels.ndim == 2 and labels.shape[1] and (table or labels.shape[1] == 1):
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"{path}: an array of {_times(labels.shape)}; there should be one label per image")
    last = first + MAX_CLASSES - 1
    _refuse_label(path, labels, labels != np.rint(labels), "should be a whole number")
    above = f"; at most {MAX_CLASSES} classes are possible, and 255 stands for a digit that is absent"
    _refuse_label(path, labels, labels > last, f"is out of range {first}..{last}{above}")
    _refuse_label(path, labels, labels < first, f"is out of range {first}..{last}")
    return (labels.astype(np.int64) - first).astype(np.uint8)


def _refuse_label(path: Path, labels: NDArray[Any], wrong: NDArray[np.bool_], why: str) -> None:
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(f"{path}: label {labels[place]} at index {place} {why}")


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) + (" values" if len(shape) == 1 else "")
