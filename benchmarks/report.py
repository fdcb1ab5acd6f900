"""What benchmarks print and write into the README, and what they say of where they ran."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def machine(*packages: str) -> dict[str, Any]:
    """The processor, the system, and the versions of our packages and of others that count."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return {
        "cpu": next(models, platform.processor()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("mnistcompose", "numba", "numpy", "h5py", *packages)},
    }


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text, and whose others are numbers."""
    drawn = Table(*head, title=title)
    for column in drawn.columns[1:]:
        column.justify = "right"
    for row in rows:
        drawn.add_row(*row)
    return drawn


def readme_with(text: str, begin: str, end: str) -> str:
    """The README, with other text between two of its comments."""
    first, last = f"<!-- {begin} -->\n", f"<!-- {end} -->\n"
    before, _, rest = README.read_text().partition(first)
    _, _, after = rest.partition(last)
    return f"{before}{first}\n{text}\n{last}{after}"
