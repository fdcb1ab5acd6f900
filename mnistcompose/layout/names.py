"""Layouts by name or path: the bundled ones, and files."""

import os
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ..arguments import here
from ..errors import InputError
from .model import LayoutSpec
from .reading import parse_spec
from .yaml import MAX_BYTES


def spec_names() -> list[str]:
    """Names of the bundled layouts, from the easiest two-digit one to the hardest three-digit one."""
    return _names(files("mnistcompose.specs"))


def extra_names() -> list[str]:
    """Names of the bundled layouts that are not from the paper: for other tasks, or like other authors' datasets."""
    return _names(files("mnistcompose.specs.extra"))


def bundled_names() -> list[str]:
    """Names of all bundled layouts, the paper's first."""
    return [*spec_names(), *extra_names()]


def _names(folder: Traversable) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def as_spec(layout: LayoutSpec | str | Path) -> LayoutSpec:
    """Return a layout as it is, or load it by its name or path.

    Raises
    ------
    InputError
        As `load_spec`.
    """
    return layout if isinstance(layout, LayoutSpec) else load_spec(layout)


def load_spec(name_or_path: str | Path) -> LayoutSpec:
    """Read a bundled layout by name, or any layout from a YAML file.

    Raises
    ------
    InputError
        The layout cannot be used; one line per problem: the file, the line, the field, its value and what is allowed.
    """
    return parse_spec(*read_source(name_or_path), beside=folder_of(name_or_path))


def read_source(name_or_path: str | Path) -> tuple[bytes, str]:
    """Read the unchecked YAML text of a layout, and the name that its errors use.

    Raises
    ------
    InputError
        There is no such layout, or the file cannot be read.
    """
    text = str(name_or_path)
    if text in bundled_names():
        return (folder_of(text) / f"{text}.yaml").read_bytes(), f"{text}.yaml"
    if "\n" in text:
        raise InputError(f"{text.partition(chr(10))[0]!r}...: is a text; give the name or the path of a layout")
    path = here(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1 or os.path.lexists(path):
        return _read(path), text
    known = {name.upper(): name for name in bundled_names()}
    close = get_close_matches(text.upper(), known, n=1, cutoff=0.5)
    hint = f"did you mean {known[close[0]]}?" if close else "`mnistcompose list` shows the names"
    raise InputError(f"{text!r} is neither a bundled dataset nor an existing file or folder; {hint}")


def folder_of(name_or_path: str | Path) -> Traversable:
    """Return the folder of a layout's file, where the CSV files that it names are."""
    for package, names in (("specs", spec_names()), ("specs.extra", extra_names())):
        if str(name_or_path) in names:
            return files(f"mnistcompose.{package}")
    return here(name_or_path).parent


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a layout: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB; a layout is a short YAML file")
    return content
