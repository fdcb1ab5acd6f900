"""The package works from where people stand: in a checkout, whether it is installed there, elsewhere, or nowhere."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mnistcompose

ROOT = Path(__file__).parents[1]
SCRIPT = """
import mnistcompose as mc, mnistcompose.cli
assert all(hasattr(mc, name) for name in mc.__all__)
print(len(mc.spec_names()), mc.load_spec("MNIST-III-10").name, mc.__file__, mnistcompose.cli.__file__)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that nothing is installed from."""
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("mnistcompose", "dcl", "cli", "specs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    return root


def run(folder: Path, *command: str, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in {"PYTHONSAFEPATH", "PYTHONPATH"}}
    result = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_python_started_in_a_checkout_uses_it(checkout: Path) -> None:
    """The checkout shadows an installed package of the same name, and is whole nevertheless."""
    count, name, package, commands = run(checkout, "-c", SCRIPT).split()
    assert (count, name) == ("15", "MNIST-III-10")
    assert Path(package).parent == checkout / "mnistcompose"
    assert Path(commands).parent == checkout / "cli"


def test_a_checkout_on_the_path_needs_no_installation(checkout: Path, tmp_path: Path) -> None:
    other = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
    assert run(tmp_path, "-c", other + SCRIPT, PYTHONPATH=str(checkout)).split()[0] == "15"
    commands = "from mnistcompose.cli import main; main(['spec', 'list'])"
    assert "MNIST-III-10" in run(tmp_path, "-c", commands, PYTHONPATH=str(checkout))


def test_installed_it_works_from_any_folder(tmp_path: Path) -> None:
    count, name, package, _ = run(tmp_path, "-c", SCRIPT).split()
    assert (count, name) == ("15", "MNIST-III-10")
    assert Path(package) == Path(mnistcompose.__file__)


def test_pytest_started_as_a_module_in_the_checkout_collects() -> None:
    assert "test_arguments.py" in run(ROOT, "-m", "pytest", "--collect-only", "-q", "tests/test_arguments.py")


def test_the_package_has_every_file_of_its_folders() -> None:
    """A folder or a file that is missing in pyproject.toml would be missing after an installation."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {name: setup["package-dir"].get(name, name.replace(".", "/")) for name in setup["packages"]}
    for top in ("mnistcompose", "dcl", "cli", "specs"):
        for path in (ROOT / top).rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts:
                continue
            packages = {
                name: path.relative_to(ROOT / folder)
                for name, folder in folders.items()
                if path.is_relative_to(ROOT / folder)
            }
            assert packages, path
            name = max(packages, key=len)
            if path.suffix == ".py":
                assert len(packages[name].parts) == 1, f"{path} is in no listed package"
            else:
                assert any(packages[name].match(glob) for glob in setup["package-data"].get(name, [])), path
