"""Checks at the public door: what callers pass becomes one type, or is refused in words."""

from operator import index
from typing import Any

from .errors import InputError


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Make a real integer of whatever is one, such as numpy's, and refuse floats, booleans and what is out of range.

    Raises
    ------
    InputError
        Names the argument, its value, and what is allowed.
    """
    allowed = f"{least} and more" if most is None else f"{least} to {most}"
    try:
        number = index(value)
    except TypeError:
        raise InputError(f"{name} = {value!r}: allowed are whole numbers, {allowed}") from None
    if isinstance(value, bool) or type(value).__name__ == "bool":
        raise InputError(f"{name} = {value!r}: allowed are whole numbers, {allowed}; this is a boolean")
    if number < least or (most is not None and number > most):
        raise InputError(f"{name} = {number}: allowed are {allowed}")
    return number
