"""Find how much a layout's quantities should vary to give a target error."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mnistcompose.digits.bank import load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.reading import dump_spec, parse_spec

from ..data.numbers import PUBLISHED, Dataset


def scaled(spec: LayoutSpec, fields: Sequence[str], factor: float) -> LayoutSpec:
    """Multiply the spread of some quantities: a `normal`'s deviation, a `uniform`'s width, else the number.

    Fields of `noise` are amounts of variation themselves, and are multiplied as a whole.

    Parameters
    ----------
    fields : sequence of str
        As in the YAML, with dots: `digit.rotation`, `slots.1.center`, `noise.gaussian`.

    Returns
    -------
    LayoutSpec
        Its name ends in `-x` and the factor; values are rounded to four places.

    Raises
    ------
    InputError
        The layout sets no such field, a field has no spread, or the new value is out of its range.
    """
    layout: dict[str, Any] = spec.model_dump(mode="json", exclude_unset=True)
    for field in dict.fromkeys(fields):  # each once, however often it is named
        place: Any = layout
        *parents, last = (int(key) if key.isdecimal() else key for key in field.split("."))
        try:
            for key in parents:
                place = place[key]
            place[last] = (_amount if field.startswith("noise.") else _spread)(place[last], factor)
        except (KeyError, IndexError, TypeError):
            raise InputError(f"{spec.name}: sets no {field}; name a field as in the YAML, say digit.rotation") from None
        except ValueError:
            raise InputError(
                f"{spec.name}: {field} = {json.dumps(place[last])} has no spread; give a number, a uniform or a normal"
            ) from None
    layout["name"] = f"{spec.name}-x{factor:g}"
    return parse_spec(json.dumps(layout), layout["name"])


def _spread(value: Any, factor: float) -> Any:
    match value:
        case {"uniform": [low, high]}:
            middle, half = (low + high) / 2, (high - low) / 2 * factor
            return {"uniform": [round(middle - half, 4), round(middle + half, 4)]}
        case {"normal": [mean, deviation]}:
            return {"normal": [mean, round(deviation * factor, 4)]}
        case int() | float() if not isinstance(value, bool):
            return round(value * factor, 4)
        case [*values]:
            return [_spread(each, factor) for each in values]
        case _:
            raise ValueError(value)


def _amount(value: Any, factor: float) -> Any:
    match value:
        case {"uniform": bounds}:
            return {"uniform": [round(bound * factor, 4) for bound in bounds]}
        case {"normal": [mean, deviation]}:
            return {"normal": [round(mean * factor, 4), round(deviation * factor, 4)]}
        case _:
            return _spread(value, factor)


def in_memory(spec: LayoutSpec, seed: int) -> Dataset:
    """Return a dataset of the layout's `train` and `test` splits, composed when they are loaded."""
    bank = load_digits("train")
    counts = zip(PUBLISHED, (spec.train, spec.test), strict=True)
    return Dataset(spec, seed, bank.digest, bank.classes, {split: {"images": count} for split, count in counts})


def interpolate(factors: Sequence[float], errors: Sequence[float], target: float) -> float | None:
    """Lowest factor at which the line through the measured points meets the target; None if it does not."""
    for (low, below), (high, above) in pairwise(sorted(zip(factors, errors, strict=True))):
        if min(below, above) <= target <= max(below, above):
            return low if below == above else low + (target - below) / (above - below) * (high - low)
    return None


def settled(spec: LayoutSpec, fields: Sequence[str], factor: float) -> str:
    """Return the YAML of the layout with that factor, under its original name."""
    return dump_spec(scaled(spec, fields, factor).model_copy(update={"name": spec.name}))
