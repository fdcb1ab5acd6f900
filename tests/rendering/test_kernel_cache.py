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


def test_nothing_is_kept_next_to_the_sources(copy, tmp_path):
    (copy / "rendering" / "__pycache__").unlink()
    call(copy, HOME=str(tmp_path / "home"))
    assert not list(copy.rglob("*.nb[ci]"))
    assert list((tmp_path / "home").rglob("*.nbc"))


@pytest.mark.parametrize("name", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_damaged_cache_is_compiled_again_and_mended(copy, tmp_path, name, content):
    folder = tmp_path / "cache"
    call(copy, NUMBA_CACHE_DIR=str(folder))
    damaged = list(folder.rglob(name))
    assert damaged
    for path in damaged:
        path.write_bytes(content)
    call(copy, NUMBA_CACHE_DIR=str(folder))
    assert all(path.read_bytes() != content for path in damaged)


def test_a_change_in_any_source_of_the_kernels_compiles_again(copy, tmp_path):
    folder = tmp_path / "cache"
    call(copy, NUMBA_CACHE_DIR=str(folder))
    (copy / "digits" / "bank.py").open("a").write("\n")  # INK is there, and kernels inline it
    call(copy, NUMBA_CACHE_DIR=str(folder))
    assert len(list(folder.iterdir())) == 2


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
