"""Targets: what a dataset gives with an image, as functions of the labels or of the digits."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..rendering.draws import ABSENT, numbers

TargetName = Literal["number", "clean", "digits", "set", "sum", "product", "max", "sorted", "parity"]
Target = TargetName | Callable[[NDArray[np.uint8]], ArrayLike]

Source = Literal["labels", "digits"]


class _Rule(NamedTuple):
    """The column that a target is made from, and the function of that column and the number of classes."""

    source: Source
    make: Callable[[NDArray[Any], int], NDArray[Any]]


def _unchanged(labels: NDArray[np.int64], _classes: int) -> NDArray[np.int64]:
    return labels


def _filled(digits: NDArray[np.uint8], otherwise: int) -> NDArray[np.int64]:
    """Digits as int64; an absent one is `otherwise`."""
    return np.where(digits == ABSENT, otherwise, digits.astype(np.int64))


def _occurring(digits: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    found = np.zeros((len(digits), classes + 1), np.int64)
    np.put_along_axis(found, _filled(digits, classes), 1, axis=1)
    return found[:, :classes]


def _sum(digits: NDArray[np.uint8], _classes: int) -> NDArray[np.int64]:
    return np.asarray(_filled(digits, 0).sum(axis=1), np.int64)


def _product(digits: NDArray[np.uint8], _classes: int) -> NDArray[np.int64]:
    return np.asarray(_filled(digits, 1).prod(axis=1), np.int64)


def _max(digits: NDArray[np.uint8], _classes: int) -> NDArray[np.int64]:
    return np.asarray(_filled(digits, 0).max(axis=1), np.int64)


def _sorted(digits: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    return np.sort(_filled(digits, classes), axis=1)  # absent digits have the highest class, so they come last


def _parity(digits: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    return _sum(digits, classes) % 2


_RULES: dict[TargetName, _Rule] = {
    "number": _Rule("labels", _unchanged),
    "clean": _Rule("digits", numbers),
    "digits": _Rule("digits", _filled),
    "set": _Rule("digits", _occurring),
    "sum": _Rule("digits", _sum),
    "product": _Rule("digits", _product),
    "max": _Rule("digits", _max),
    "sorted": _Rule("digits", _sorted),
    "parity": _Rule("digits", _parity),
}


def check_target(target: Any) -> None:
    """Reject what is neither the name of a target nor a function.

    Raises
    ------
    InputError
        The message names the known targets.
    """
    if not callable(target) and target not in get_args(TargetName):
        known = ", ".join(map(repr, get_args(TargetName)))
        raise InputError(f"target = {target!r}; should be {known}, or a function of the digits, uint8 (N, k)")


def source_of(target: Target) -> Source:
    """Name of the column that a target is made from."""
    return "digits" if callable(target) else _RULES[target].source


def make_targets(target: Target, column: NDArray[Any], classes: int) -> NDArray[Any]:
    """Make the targets of n samples.

    Parameters
    ----------
    column
        The column that `source_of` names: labels int64 (n,), or digits uint8 (n, k) with 255 for an absent digit.
    classes
        Number of classes of a digit.

    Returns
    -------
    int64 (n,), (n, k) or (n, classes); of a function, what it returns: whole numbers and booleans as int64, other
    numbers in their own type.

    Raises
    ------
    InputError
        The function does not return an array of numbers with one entry for each row of digits.
    """
    if not callable(target):
        return _RULES[target].make(column, classes)
    made = np.asarray(target(column))
    if made.ndim == 0 or len(made) != len(column) or made.dtype.kind not in "buif":
        name = getattr(target, "__name__", repr(target))
        raise InputError(
            f"target = {name}: of digits {column.shape} it made {made.dtype} {made.shape}; should be numbers "
            f"({len(column)}, ...)"
        )
    return made if made.dtype.kind == "f" else made.astype(np.int64)
