"""The software and the machine of a run."""

import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mnistcompose import __version__
from mnistcompose.sources import code_digest


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


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor()
