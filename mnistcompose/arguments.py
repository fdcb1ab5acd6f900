"""Checks of public arguments: a value is converted to one type, or rejected with a message."""

import os
from operator import index
from pathlib import Path
from typing import Any

from .errors import InputError

_CLUTTER = {".DS_Store", ".directory", ".gitkeep", ".keep", "Thumbs.db", "desktop.ini"}


def here(path: str | os.PathLike[str]) -> Path:
    """Make a path of this machine; a leading ~ is the user's home.

    Raises
    ------
    InputError
        It is a URL, or the home of an unknown user.
    """
    if "://" in (text := os.fspath(path)):
        raise InputError(f"{text}: a URL; give a file or folder of this machine")
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
