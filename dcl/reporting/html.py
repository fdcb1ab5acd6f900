"""A report as one self-contained HTML page, or as Markdown."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from mnistcompose.quantities import counted, duration

from . import charts
from .report import Report
from .table import COLUMNS, error_cell, paper_notation, paper_note

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|&#~$])")


def as_html(report: Report) -> str:
    """Render one page with its style, script and pictures; it opens from disk, and needs no network."""
    style, script = (_file(f"report.{kind}") for kind in ("css", "js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return _rendered("report.html", report, style=Markup(style), script=Markup(script), policy=policy)  # noqa: S704 - our own files


def as_markdown(report: Report) -> str:
    """Render the same facts as text and tables, without pictures."""
    return _rendered("report.md", report)


def _rendered(template: str, report: Report, **more: Any) -> str:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "data": lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
        "duration": duration,
        "md": in_markdown,
        "paper": paper_notation,
        "error_cell": error_cell,
        "pixels": lambda points: " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        "plural": counted,
    }
    text = environment.get_template(template).render(
        report=report, columns=COLUMNS, frame=charts, note=paper_note(report.rows), **more
    )
    return text.encode("utf-8", "replace").decode()  # JSON may hold half of a surrogate pair, which UTF-8 cannot encode


@cache
def _file(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text("utf-8")


def _digest(text: str) -> str:
    """The content security policy's name for an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def in_markdown(value: object) -> str:
    """Escape a text for Markdown, and put it on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))
