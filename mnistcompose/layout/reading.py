"""Layouts from text, and back."""

from importlib.resources.abc import Traversable
from typing import Any

from pydantic import ValidationError

from .model import LayoutSpec
from .number_file import fill_in
from .problems import LayoutError, Problem, explain_all
from .yaml import dump_fields, parse_yaml


def parse_spec(content: bytes | str, source: str = "<spec>", beside: Traversable | None = None) -> LayoutSpec:
    """Make a layout from YAML text.

    Parameters
    ----------
    source
        The name that errors use.
    beside
        The folder of the layout's file, where a CSV that it names is; None if there is none.

    Raises
    ------
    LayoutError
        An InputError, with the lines that `load_spec` describes.
    """
    data, lines = parse_yaml(content, source)
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        message = f"a layout is a mapping with the keys name and slots; found {found}"
        raise LayoutError(source, (Problem((), None, message),), data)
    filled = fill_in(data, beside, source, lines)
    try:
        return LayoutSpec.model_validate(filled)
    except ValidationError as error:
        raise LayoutError(source, explain_all(error.errors(include_url=False), data, lines), data) from None


def read_fields(content: bytes | str, source: str = "<spec>") -> Any:
    """Read YAML text without checking the fields: any value, for a layout a mapping.

    Raises
    ------
    LayoutError
        The text is not valid YAML, or uses what a layout may not.
    """
    return parse_yaml(content, source)[0]


def dump_spec(spec: LayoutSpec) -> str:
    """YAML text of a layout; `parse_spec` reads it back to an equal layout."""
    # exclude_unset: a slot may set a default that overrides the dataset's value
    return dump_fields(spec.model_dump(mode="json", exclude_unset=True))
