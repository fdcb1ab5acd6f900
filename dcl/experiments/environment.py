"""The software and the machine of a run."""

import hashlib
import platform
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnistcompose import __version__


def environment(device: torch.device) -> dict[str, Any]:
    """Return the software and the machine of a run, and the current time (UTC)."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "mnistcompose": __version__,
        "code": code_digest(),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def code_digest() -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of this project's sources: a run's code version."""
    digest = hashlib.sha256()
    for package in ("dcl", "mnistcompose"):
        for source in sorted(Path(str(files(package))).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor()
