"""The YAML text of a layout, changed by a form: comments, order and quotes of all else are kept."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from ..errors import InputError
from ..layout.reading import read_fields
from ..layout.yaml import dump_fields, on_one_line

MAX_KEPT = 32 << 10  # characters of a text that is changed in place, which is slow; a typical layout has some hundreds


def revise(text: str, fields: Mapping[str, Any]) -> str:
    """Change the values in a layout's text.

    Parameters
    ----------
    text
        The current text; if it is not valid layout YAML, a new text is written from the fields.
    fields
        All of the layout's keys and values, as JSON values; they may be invalid.

    Raises
    ------
    InputError
        The fields are nested too deeply to be written.
    """
    try:
        written = dump_fields(fields)
    except RecursionError:
        raise InputError("the fields are nested too deeply for a layout") from None
    if max(len(text), len(written)) > MAX_KEPT:
        return written
    try:
        return _updated(text, fields) or written
    except (InputError, YAMLError, RecursionError):
        return written


def _updated(text: str, fields: Mapping[str, Any]) -> str | None:
    """Change what differs, in place; None if that is not possible, or does not read back as `fields`."""
    if not read_fields(text) or not isinstance(document := (editor := _editor()).load(text), dict):
        return None
    _update(document, fields)
    written = StringIO()
    editor.dump(document, written)
    return written.getvalue() if read_fields(written.getvalue()) == fields else None


def _editor() -> YAML:
    editor = YAML()
    editor.preserve_quotes, editor.width = True, 1 << 20  # no line is wrapped again
    editor.brace_single_entry_mapping_in_flow_sequence = True
    editor.indent(mapping=2, sequence=4, offset=2)
    return editor


def _update(old: Any, new: Any) -> None:
    """Update one mapping or list of the document to the new values."""
    if isinstance(old, dict):
        for key in [key for key in old if key not in new]:
            del old[key]
        pairs = [(key, value) for key, value in new.items()]
    else:
        while len(old) > len(new):  # the first one that differs has been removed
            del old[next((i for i, value in enumerate(new) if old[i] != value), len(new))]
        pairs = list(enumerate(new))
    for key, value in pairs:
        known = key in old if isinstance(old, dict) else key < len(old)
        if known and _alike(old[key], value):
            _update(old[key], value)
        elif not known and isinstance(old, list):
            old.append(_fresh(value))
        elif not known or old[key] != value or isinstance(old[key], bool) != isinstance(value, bool):
            old[key] = _fresh(value)


def _alike(old: Any, new: Any) -> bool:
    """Whether both are mappings with a common key, or both lists."""
    if isinstance(old, dict) and isinstance(new, dict):
        return bool(old.keys() & new.keys())
    return isinstance(old, list) and isinstance(new, list)


def _fresh(value: Any) -> Any:
    """A value in the spelling that `dump_fields` gives it: short ones on one line."""
    if not isinstance(value, dict | list):
        return value
    made = (
        CommentedMap((key, _fresh(each)) for key, each in value.items())
        if isinstance(value, dict)
        else CommentedSeq(_fresh(each) for each in value)
    )
    if on_one_line(value):
        made.fa.set_flow_style()
    return made
