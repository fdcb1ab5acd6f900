"""The documentation: `sphinx-build -W -n docs site`."""

import json
from pathlib import Path
from typing import Any

from mnistcompose import __version__
from mnistcompose.layout.model import LayoutSpec

HERE = Path(__file__).parent

copyright = "the mnistcompose developers"  # noqa: A001
project, author, release = "mnistcompose", "the mnistcompose developers", __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_copybutton",
]
nb_execution_mode = "off"  # the tests run the notebook
html_theme = "furo"
html_title = "mnistcompose"
exclude_patterns = ["_generated"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False
# Types in signatures and in our "Parameters" sections name things of numpy, torch and pydantic, whose pages are not
# at hand where the documentation is built without a network; references written in the text are checked.
nitpick_ignore_regex = [("py:.*", ".*")]
copybutton_exclude = ".linenos, .gp, .go"


def fields_of(schema: dict[str, Any]) -> str:
    """Markdown: a section a part of the layout, a line a field, from the JSON Schema."""
    parts = {"A layout": schema, **{name: schema["$defs"][name] for name in ORDER}}
    missing = schema["$defs"].keys() - parts.keys()
    if missing:
        raise ValueError(f"docs/conf.py: ORDER lacks {sorted(missing)}")
    lines = []
    for name, part in parts.items():
        lines += [f"### {name}", "", part.get("description", "").partition("\n\n")[0], ""]
        lines += ["| field | default | what it is |", "| --- | --- | --- |"]
        required = part.get("required", [])
        for field, entry in part.get("properties", {}).items():
            default = (
                "required" if field in required else f"`{json.dumps(entry['default'])}`" if "default" in entry else ""
            )
            lines.append(f"| `{field}` | {default} | {entry.get('description', '')} |")
        lines.append("")
    return "\n".join(lines)


ORDER = [
    *("Digit", "Slot", "Fit", "Noise", "Output", "Window", "Uniform", "Normal", "Choice", "FlipChoice"),
    *("TintChoice", "TintByDigit", "LengthChoice", "Labels"),
    *("Numbers", "LongTail", "NumberList", "HeldOutShare", "HeldOutNumbers", "NumberFile"),
]


def write_generated(_app: Any) -> None:
    """Write what is generated, before Sphinx reads."""
    target = HERE / "_generated" / "fields.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(fields_of(LayoutSpec.model_json_schema()))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_generated)
