"""The CSV files that a layout's `numbers` names: read with the layout, which holds their content afterwards."""

import csv
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Any, TypeGuard

from .numbers import MAX_WEIGHT
from .problems import FieldPath, LayoutError, Problem, one_line
from .yaml import MAX_BYTES

_USES = ("train", "test", "validation")


def fill_in(data: Any, beside: Traversable | None, source: str, lines: dict[FieldPath, int]) -> Any:
    """Replace each `{csv: FILE}` in a layout's `numbers` by what the file holds.

    Parameters
    ----------
    data
        The layout's fields, unchecked; a copy is changed.
    beside
        The folder of the layout's file; with None, the fields are returned as they are.
    source, lines
        The layout's name in errors, and the line of each field.

    Raises
    ------
    LayoutError
        There is no such file next to the layout, or a row of it cannot be used.
    """
    if beside is None or not names_csv(data):
        return data
    filled = dict(data["numbers"])
    for field, read in (("weights", _weights), ("held_out", _held_out)):
        value = filled.get(field)
        if _is_csv(value):
            path = ("numbers", field, "csv")
            try:
                filled[field] = read(list(_rows(beside, value["csv"], "weight" if field == "weights" else "use")))
            except (ValueError, csv.Error) as error:
                message = f"numbers.{field}.csv = {one_line(repr(value['csv']), 60)}: {error}"
                raise LayoutError(source, (Problem(path, lines.get(path), message),), data) from None
    return {**data, "numbers": filled}


def names_csv(data: Any) -> bool:
    """Whether a layout's fields, unchecked, name a CSV file."""
    numbers = data.get("numbers") if isinstance(data, dict) else None
    return isinstance(numbers, dict) and any(_is_csv(numbers.get(field)) for field in ("weights", "held_out"))


def _is_csv(value: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and value.keys() == {"csv"} and isinstance(value["csv"], str)


def _rows(beside: Traversable, name: str, column: str) -> Iterator[tuple[int, str, str]]:
    """Line, number and value of each row; a line that starts with # is a comment."""
    if not name or name != name.replace("\\", "/").rpartition("/")[2] or name in (".", ".."):
        raise ValueError("should be the name of a file next to the layout, without a folder")
    try:
        with (beside / name).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot be read next to the layout: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES >> 20} MiB")
    rows = [(place, line) for place, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    cells = [(place, [cell.strip() for cell in next(csv.reader([line]))]) for place, line in rows]
    if not cells or cells[0][1] != ["number", column]:
        raise ValueError(f"the first line that is no comment should be number,{column}")
    for place, row in cells[1:]:
        if len(row) != 2:
            raise ValueError(f"line {place}: should have 2 columns, has {len(row)}")
        yield place, row[0], row[1]


def _weights(rows: list[tuple[int, str, str]]) -> dict[str, Any]:
    found: dict[str, int] = {}
    for line, number, weight in rows:
        if number in found:
            raise ValueError(f"line {line}: {number} is there twice")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise ValueError(f"line {line}: number = {one_line(number, 30)!r}: should be digits, as in 007")
        if not re.fullmatch("[0-9]{1,7}", weight) or not 1 <= int(weight) <= MAX_WEIGHT:
            raise ValueError(
                f"line {line}: weight = {one_line(weight, 30)!r}: should be a whole number from 1 to {MAX_WEIGHT:,}"
            )
        found[number] = int(weight)
    return {"list": found}


def _held_out(rows: list[tuple[int, str, str]]) -> dict[str, Any]:
    for line, number, use in rows:
        if not re.fullmatch("[0-9*]{1,9}", number):
            raise ValueError(f"line {line}: number = {one_line(number, 30)!r}: should be digits or *, as in 0*7")
        if use not in _USES:
            raise ValueError(
                f"line {line}: use = {one_line(use, 30)!r}: should be {', '.join(_USES[:-1])} or {_USES[-1]}"
            )
    held_out = {use: [number for _, number, own in rows if own == use] for use in _USES[1:]}
    return {use: numbers for use, numbers in held_out.items() if numbers or use == "test"}
