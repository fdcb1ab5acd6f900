"""The tables of a layout's fields in reference/layout.md; `python docs/fields.py` writes them again from the schema."""

import json
from pathlib import Path
from typing import Any

from mnistcompose.layout.model import LayoutSpec

PAGE = Path(__file__).parent / "reference" / "layout.md"
START = "<!-- python docs/fields.py writes what follows -->\n"
HEADINGS = {
    "Digit": "`digit`",
    "Slot": "`slots`",
    "Fit": "`size`: a box",
    "Noise": "`noise`",
    "Output": "`output`",
    "Window": "`crop`: a window",
    "Uniform": "`{uniform: [low, high]}`",
    "Normal": "`{normal: [mean, deviation]}`",
    "Choice": "`{choice: [...]}` of numbers",
    "FlipChoice": "`{choice: [...]}` of flips",
    "TintChoice": "`{choice: [...]}` of colours",
    "TintByDigit": "`tint`: a colour for each class",
    "LengthChoice": "`length`: a choice",
    "Labels": "`labels`",
    "Numbers": "`numbers`",
    "LongTail": "`weights`: a long tail",
    "NumberList": "`weights`: a list",
    "HeldOutShare": "`held_out`: a share",
    "HeldOutNumbers": "`held_out`: a list",
    "NumberFile": "`weights` and `held_out`: a CSV file",
}


def fields_of(schema: dict[str, Any]) -> str:
    """Markdown: a section for each part of a layout, a line for each field, from the JSON Schema."""
    parts = {"The file": schema, **{heading: schema["$defs"][name] for name, heading in HEADINGS.items()}}
    if missing := sorted(schema["$defs"].keys() - HEADINGS.keys()):
        raise ValueError(f"docs/fields.py: HEADINGS lacks {missing}")
    of_digit = schema["$defs"]["Digit"]["properties"].keys()
    return "\n".join(
        _section(heading, part, left_out=of_digit if part is schema["$defs"]["Slot"] else ())
        for heading, part in parts.items()
    )


def _section(heading: str, part: dict[str, Any], left_out: Any) -> str:
    lines = [f"### {heading}", "", part.get("description", "").partition("\n\n")[0], ""]
    if left_out:
        lines += ["A slot has every field of `digit`, and:", ""]
    lines += ["| field | default | what it is |", "| --- | --- | --- |"]
    lines += [
        f"| `{name}` | {_default(part, name)} | {entry.get('description', '')} |"
        for name, entry in part["properties"].items()
        if name not in left_out
    ]
    return "\n".join([*lines, ""])


def _default(part: dict[str, Any], name: str) -> str:
    if name in part.get("required", []):
        return "required"
    entry = part["properties"][name]
    return f"`{json.dumps(entry['default'])}`" if "default" in entry else ""


def written(page: str) -> str:
    """Return the page with tables of the fields as they are now."""
    return page.partition(START)[0] + START + "\n" + fields_of(LayoutSpec.model_json_schema())


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
