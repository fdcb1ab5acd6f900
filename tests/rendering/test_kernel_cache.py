"""The kernel's machine code is kept where the user has a folder of his own, and nowhere else."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mnistcompose

CODE = """
import mnistcompose.rendering.render as module
from mnistcompose import draw, load_digits
from mnistcompose.layout.reading import parse_spec
bank = load_digits("test")
spec = parse_spec("name: x\\nslots: [{center: [0, 0]}]\\n")
print(module.__file__, module.render(bank, spec, draw(spec, "test", 0, 3, 0, bank))[0].shape)
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package whose folder takes no cache, as where site-packages belongs to somebody else."""
    package = tmp_path / "mnistcompose"
    shutil.copytree(Path(mnistcompose.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "rendering" / "__pycache__").touch()
    return package


def call(copy, limit=resource.RLIM_INFINITY, **environment):
    clean = {key: value for key, value in os.environ.items() if key not in {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}}
    clean |= {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n{CODE}",
        ],
        env=clean,
        cwd=copy.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"{copy / 'rendering' / 'render.py'} (3, 28, 28)"


def test_without_any_folder_the_kernel_is_compiled_anew(copy):
    call(copy, HOME="/dev/null")
    assert not list(copy.parent.rglob("*.nbc"))


def test_with_a_home_folder_it_is_kept_there(copy, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    call(copy, HOME=str(home))
    assert list(home.rglob("*.nbc"))


def test_a_full_disk_costs_the_cache_only(copy, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    call(copy, limit=1_000, NUMBA_CACHE_DIR=str(folder))
    assert not list(folder.rglob("*.nbc"))
