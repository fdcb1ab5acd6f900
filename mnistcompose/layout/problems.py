"""What is wrong with a layout, in words: one line per problem, with field, value and what is allowed."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ..errors import InputError
from ..quantities import counted
from .model import (
    Digit,
    Fit,
    FlipChoice,
    Labels,
    LayoutSpec,
    LengthChoice,
    Noise,
    Normal,
    Output,
    Slot,
    TintByDigit,
    TintChoice,
    Uniform,
    Window,
)
from .numbers import HeldOutNumbers, HeldOutShare, LongTail, NumberFile, NumberList, Numbers

FieldPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """What is wrong at one place of a layout.

    Attributes
    ----------
    path
        Keys and indices that lead to the field, or to where a missing one should be; empty for the whole file.
    line
        Line in the text, from 1; None if the problem has no line.
    message
        The field, its value and what is allowed, in one line.
    """

    path: FieldPath
    line: int | None
    message: str


class LayoutError(InputError):
    """A layout's text cannot be used; the message has one line per problem, with the file and the line.

    Attributes
    ----------
    problems
        The problems, in the order of the message.
    data
        The fields that were read from the YAML; None if it could not be read.
    """

    def __init__(self, source: str, problems: tuple[Problem, ...], data: Any = None) -> None:
        places = (f"{source}:{each.line}" if each.line else source for each in problems)
        super().__init__("\n".join(f"{place}: {each.message}" for place, each in zip(places, problems, strict=True)))
        self.problems, self.data = problems, data


_FORMS_AT: dict[str, tuple[type[BaseModel], ...]] = {  # what a mapping there may be
    "digit": (Digit,), "slots": (Slot,), "noise": (Noise,), "size": (Fit,), "output": (Output,), "crop": (Window,),
    "numbers": (Numbers,), "weights": (LongTail, NumberList, NumberFile),
    "held_out": (HeldOutShare, HeldOutNumbers, NumberFile),
    "labels": (Labels,), "tint": (TintChoice, TintByDigit), "flip": (FlipChoice,), "length": (LengthChoice,),
}  # fmt: skip
_VARYING_KEYS = ("uniform", "normal", "choice")
_WORDING = {
    "too_short": "should have at least {min_length} item(s), has {actual_length}",
    "too_long": "should have at most {max_length} items",
    "string_pattern_mismatch": "should be up to 64 letters, digits, '.', '_' and '-', starting with a letter or digit",
}


def one_line(text: str, limit: int = 200) -> str:
    """Put text on one line, and cut it at a limit."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


_TOLD = 20  # problems that are reported of one file


def explain_all(problems: list[Any], data: Any, lines: dict[FieldPath, int]) -> tuple[Problem, ...]:
    """Explain problems, except those that repeat a problem of a part, and all but a list's last missing item."""
    located = [(_locate(problem.get("ctx", {}).get("path", problem["loc"]), lines), problem) for problem in problems]
    wholes = {path[:length] for path, _ in located for length in range(1, len(path))}
    lacking = {path: problem for path, problem in located if _lacks_item(problem)}
    deepest = [
        (path, problem)
        for path, problem in located
        if path not in wholes and (not _lacks_item(problem) or problem is lacking[path])
    ]
    told = [_explain(path, problem, data, lines) for path, problem in deepest[:_TOLD]]
    more = [Problem((), None, f"and {counted(len(deepest) - _TOLD, 'more problem')}")] if len(deepest) > _TOLD else []
    return (*told, *more)


def _lacks_item(problem: Any) -> bool:
    return problem["type"] == "missing" and isinstance(problem["loc"][-1], int)


def _locate(loc: FieldPath, lines: dict[FieldPath, int]) -> FieldPath:
    """The part of pydantic's location that is in the file; pydantic also names members of unions, and missing keys."""
    path: FieldPath = ()
    for part in loc:
        if (*path, part) in lines:
            path = (*path, part)
    return path


def dotted(path: FieldPath) -> str:
    """Write a field's path as users do: slots[0].scale."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _fields_at(path: FieldPath) -> dict[str, FieldInfo]:
    """Fields of the mapping at a path, or of the innermost one about it."""
    known = (_FORMS_AT[part] for part in reversed(path) if isinstance(part, str) and part in _FORMS_AT)
    return {name: field for form in next(known, (LayoutSpec,)) for name, field in form.model_fields.items()}


def _meaning(path: FieldPath) -> str:
    """The schema's description of a field; empty for a list's items."""
    fields = {**_fields_at(path[:-1]), **Uniform.model_fields, **Normal.model_fields}
    return (fields[path[-1]].description or "") if path and path[-1] in fields else ""


def _explain(path: FieldPath, problem: Any, data: Any, lines: dict[FieldPath, int]) -> Problem:
    """Field, value, and what is allowed, in one line."""
    kind: str = problem["type"]
    last: Any = problem["loc"][-1] if problem["loc"] else ""
    if kind == "extra_forbidden":
        owner = path[:-1]
        varying = owner[-1:] and owner[-1] not in _FORMS_AT and any((*owner, key) in lines for key in _VARYING_KEYS)
        allowed = _VARYING_KEYS if varying else tuple(_fields_at(owner))
        close = get_close_matches(str(last), allowed, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close and not varying else f"allowed are {', '.join(allowed)}"
        unknown = one_line(dotted((*owner, last)), 80)
        line = lines.get((*owner, last), lines.get(path, 1))
        if last in allowed:  # of another form
            return Problem((*owner, last), line, f"{unknown}: not together with the other keys there")
        return Problem((*owner, last), line, f"unknown key {unknown!r}; {hint}")
    line = lines.get(path, 1)
    field = one_line(dotted(path), 80)
    if kind == "missing" and not _lacks_item(problem):
        return Problem((*path, last), line, f"the key {str(last)!r} is missing{f' in {field}' if field else ''}")
    value = data
    for part in path:
        value = value[part]
    if _lacks_item(problem):
        return Problem(path, line, f"{field} = {one_line(repr(value), 60)}: should have {last + 1} items")
    meaning = _meaning(path)
    message = _WORDING.get(kind, problem["msg"].removeprefix("Value error, ").replace("Input should", "should"))
    message = message.format(**problem.get("ctx", {})) if kind in _WORDING else message
    if kind == "string_pattern_mismatch" and path[:1] == ("numbers",):
        message = "should be digits such as '007' or, in held_out, a pattern such as '5*7'"
    elif kind == "string_type" and path[:1] == ("numbers",):
        message = "should be text; write numbers in quotes, such as '007'"
    elif kind == "model_type":
        message = f"should be a mapping; its keys are {', '.join(_fields_at(path))}"
    elif kind == "dict_type":
        message = f"should be a mapping{': ' if meaning else ''}{meaning}"
    elif kind == "tuple_type":
        message = f"should be a list{': ' if meaning else ''}{meaning}"
    elif kind == "literal_error" and "{" in meaning:
        message = f"should be {meaning}"
    if kind == "disagreement":
        return Problem(path, line, message)
    return Problem(path, line, f"{field or 'layout'} = {one_line(repr(value), 60)}: {message}")
