"""Checks of public arguments: a value is converted to one type, or rejected with a message."""

import os
import re
from numbers import Real
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .quantities import counted, there_are

_ONE_SLASH = re.compile("[a-z][a-z0-9+.-]+:/")  # with two letters at least: c:/ is a drive
_CLUTTER = {".DS_Store", ".directory", ".gitkeep", ".keep", "Thumbs.db", "desktop.ini"}


def here(path: str | os.PathLike[str]) -> Path:
    """Make a path of this machine; a leading ~ is the user's home.

    Raises
    ------
    InputError
        It is empty, a URL, or the home of an unknown user.
    """
    try:
        text = os.fspath(path)
    except TypeError:
        raise InputError(f"{path!r}: should be a path") from None
    if not isinstance(text, str):
        raise InputError(f"{path!r}: should be text, not bytes")
    if not text:
        raise InputError("'': an empty path; give a file or folder; '.' is the current folder")
    if "://" in text:
        raise InputError(f"{text}: a URL; give a file or folder of this machine")
    if _ONE_SLASH.match(text) and not os.path.lexists(text.partition("/")[0]):
        raise InputError(
            f"{text}: a URL with one slash; give it as text, as in s3://bucket/folder: a Path drops the other"
        )
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text}: {error}") from None


def is_clutter(name: str) -> bool:
    """Whether a file browser or git leaves files of this name in folders that are empty otherwise."""
    return name in _CLUTTER or name.startswith("._")


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Convert an integer of any type, such as NumPy's, to int; reject floats, booleans and values out of range.

    Raises
    ------
    InputError
        The value is not allowed; the message names the argument, its value and the allowed range.
    """
    allowed = f"{least} or more" if most is None else f"{least} to {most}"
    try:
        number = index(value)
    except TypeError:
        raise InputError(f"{name} = {value!r}: allowed are whole numbers, {allowed}") from None
    if isinstance(value, bool) or type(value).__name__ == "bool":
        raise InputError(f"{name} = {value!r}: allowed are whole numbers, {allowed}; this is a boolean")
    if number < least or (most is not None and number > most):
        raise InputError(f"{name} = {number}: allowed are {allowed}")
    return number


def real(name: str, value: Any) -> float:
    """Convert a real number of any type, such as NumPy's, to float; reject booleans, text and tensors.

    Raises
    ------
    InputError
        It is not a number; NaN and infinity are.
    """
    if isinstance(value, bool) or not isinstance(value, Real):  # NumPy's booleans are not Real
        raise InputError(f"{name} = {value!r}: should be a number")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """Convert True or False, also NumPy's, to bool; reject all else, such as "False", which is true.

    Raises
    ------
    InputError
        It is neither.
    """
    if type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise InputError(f"{name} = {value!r}: allowed are True and False")


def at_once(workers: Any, default: int) -> int:
    """Convert an argument `workers`, how much is done at once, to int; None means the default.

    Raises
    ------
    InputError
        It is not a whole number from 1 on.
    """
    return default if workers is None else whole("workers", workers, 1)


def positions(index: slice | ArrayLike, length: int) -> NDArray[np.int64]:
    """Convert an index of the first axis, as NumPy and torch know it, to positions from 0.

    Parameters
    ----------
    index
        A whole number; a slice; whole numbers of any type; or a mask with `length` entries: booleans or, as in torch,
        a uint8 tensor. (A uint8 array of NumPy holds indices, as in NumPy.) Negative numbers count from the end.
    length
        Size of the axis.

    Returns
    -------
    int64, (n,), or () for a whole number

    Raises
    ------
    TypeError
        The index is something else.
    IndexError
        A number is out of range, or the mask has another length.
    """
    if isinstance(index, slice):
        return np.arange(*index.indices(length), dtype=np.int64)
    try:
        array = np.asarray(index)
    except ValueError:  # rows of different lengths
        array = np.empty((1, 1))
    torch_mask = array.dtype == np.uint8 and str(getattr(index, "dtype", "")) == "torch.uint8"
    if array.ndim == 1 and (array.dtype == np.bool_ or torch_mask):
        if len(array) != length:
            raise IndexError(f"the mask has {counted(len(array), 'entry')}: {there_are(length, 'image')}")
        return np.flatnonzero(array).astype(np.int64)
    if array.size and array.dtype.kind not in "iu" and _are_integers(index):  # one of them has more than 64 bits
        raise IndexError(f"index {index!r} is out of range: {there_are(length, 'image')}")
    if array.ndim > 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"an index is a whole number, a slice, a list of whole numbers or a mask; got {index!r}")
    wrong = (array < -length) | (array >= length)
    if wrong.any():
        raise IndexError(f"index {array[wrong].flat[0]} is out of range: {there_are(length, 'image')}")
    found = array.astype(np.int64, copy=False)
    return np.where(found < 0, found + length, found)


def _are_integers(index: Any) -> bool:
    return all(type(each) is int for each in (index if isinstance(index, list | tuple) else [index]))
