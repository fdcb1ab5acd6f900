"""Checks of public arguments: a value is converted to one type, or rejected with a message."""

from operator import index
from typing import Any

from .errors import InputError


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
