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
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
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


def call(copy, limit=resource.RLIM_INFINITY, code=CODE, **environment):
    clean = {key: value for key, value in os.environ.items() if key not in {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}}
    clean |= {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n{code}",
        ],
        env=clean,
        cwd=copy.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"{copy / 'rendering' / 'render.py'} (3, 28, 28)"
    return result.stderr.count("compiling the kernel")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A copy of the package, and the cache that its first call filled."""
    root = tmp_path_factory.mktemp("compiled")
    package = root / "mnistcompose"
    shutil.copytree(Path(mnistcompose.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    assert call(package, NUMBA_CACHE_DIR=str(root / "cache")) == 1
    return package, root / "cache"


def test_a_compilation_is_told_once_and_never_with_a_cache(compiled):
    package, cache = compiled
    assert call(package, NUMBA_CACHE_DIR=str(cache)) == 0


LOADED = (
    CODE
    + """
import sys
assert not {"numba.np.linalg", "numba.np.arraymath", "scipy.linalg"} & set(sys.modules)
"""
)
THEN_COMPILED = (
    CODE
    + """
from mnistcompose.rendering.render import render_with_masks
from mnistcompose.rendering.render import render
draws = draw(spec, "test", 0, 50, 0, bank)
plain, (general, _, masks) = render(bank, spec, draws)[0], render_with_masks(bank, spec, draws)
assert (plain == general).all() and masks.any()
"""
)


def test_a_process_that_loads_machine_code_imports_nothing_that_only_compiling_needs(compiled):
    package, cache = compiled
    assert call(package, code=LOADED, NUMBA_CACHE_DIR=str(cache)) == 0


def test_a_process_that_has_loaded_machine_code_can_still_compile(compiled, tmp_path):
    package, cache = compiled
    shutil.copytree(cache, tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("kernel.compose*"):
        path.unlink()
    assert call(package, code=THEN_COMPILED, NUMBA_CACHE_DIR=str(tmp_path / "cache")) == 1


COLLECTED = (
    CODE
    + """
import gc
from mnistcompose.rendering.kernel import compose
try:
    compose.compile("no signature")
except Exception:
    pass
assert gc.isenabled()
gc.disable()
module.render(bank, spec, draw(spec, "test", 0, 3, 0, bank))
assert not gc.isenabled()
"""
)


def test_the_garbage_collector_is_left_as_it_was(compiled):
    package, cache = compiled
    call(package, code=COLLECTED, NUMBA_CACHE_DIR=str(cache))


def test_nothing_is_kept_next_to_the_sources(compiled):
    package, cache = compiled
    assert not list(package.rglob("*.nb[ci]"))
    assert list(cache.rglob("*.nbc"))


@pytest.mark.parametrize(("name", "content"), [("*.nbi", b"garbage"), ("*.nbc", b"")])
def test_a_damaged_cache_is_compiled_again_and_mended(compiled, tmp_path, name, content):
    package, filled = compiled
    folder = tmp_path / "cache"
    shutil.copytree(filled, folder)
    damaged = [path for path in folder.rglob(name) if "compose" in path.name]
    assert damaged
    for path in damaged:
        path.write_bytes(content)
    call(package, NUMBA_CACHE_DIR=str(folder))
    assert all(path.read_bytes() != content for path in damaged)


def test_a_change_in_any_source_of_the_kernels_names_another_folder(compiled):
    package, cache = compiled
    (kept,) = cache.iterdir()
    show = "from mnistcompose.rendering.compiled import kernel_folder; print(kernel_folder())"
    source = package / "digits" / "ink.py"  # INK is there, and kernels inline it
    before = source.read_text()
    found = []
    for text in (before, before + "\n"):
        source.write_text(text)
        environment = {**os.environ, "PYTHONPATH": str(package.parent), "NUMBA_CACHE_DIR": str(cache)}
        result = subprocess.run(
            [sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True
        )
        found.append(Path(result.stdout.strip()))
    source.write_text(before)
    assert found[0] == kept
    assert found[1] != kept


def test_without_any_folder_the_kernel_is_compiled_again(copy):
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
