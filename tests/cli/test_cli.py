import gc
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnistcompose.cli import cli
from mnistcompose.cli.shared import print_table
from mnistcompose.layout.names import extra_names, spec_names

MNISTCOMPOSE = Path(sysconfig.get_path("scripts")) / "mnistcompose"


def run(*args, cwd=None, **environment):
    return subprocess.run(
        [MNISTCOMPOSE, *args], capture_output=True, text=True, cwd=cwd, timeout=300, env={**os.environ, **environment}
    )


def test_help_lists_every_command_and_each_has_help(tmp_path):
    from mnistcompose.cli import _COMMANDS

    shown = run("--help", cwd=tmp_path).stdout
    for name in _COMMANDS:
        assert name in shown
        assert run(name, "--help", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "statement", ["import mnistcompose", "from mnistcompose import load_spec", "import mnistcompose.cli"]
)
def test_heavy_packages_are_imported_only_where_used(statement, tmp_path):
    heavy = "{'torch', 'numba', 'scipy', 'h5py', 'PIL', 'distributed', 'matplotlib'}"
    code = f"import sys; {statement}; print({heavy} & set(sys.modules) or '')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert result.stdout.strip() == ""


def test_a_command_loads_no_plugin_of_another_package(tmp_path):
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pydantic]\nplugin = plugin_of_another_package\n")
    (tmp_path / "plugin_of_another_package.py").write_text("print('loaded')\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    assert "loaded" not in run("spec", "show", "MNIST-II-01", cwd=tmp_path, PYTHONPATH=path).stdout


@pytest.mark.parametrize("arguments", [["MNIST-II-01", "--dry-run"], ["no such layout"], []])
def test_a_build_leaves_the_garbage_collector_as_it_was(arguments):
    assert gc.isenabled()
    CliRunner().invoke(cli, ["build", *arguments])
    assert gc.isenabled()


def test_the_generator_needs_no_torch(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import mnistcompose as mc\n"
        "print(mc.build(mc.load_spec('MNIST-II-01'), 'out', train=1000, test=0).root)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)


def test_a_misspelt_command_gets_a_hint(tmp_path):
    result = run("bild", cwd=tmp_path)
    assert result.returncode == 2
    assert "did you mean build?" in result.stderr


def test_spec_commands(tmp_path):
    names = [line.split()[0] for line in run("spec", "list", cwd=tmp_path).stdout.splitlines()]
    assert names == [*spec_names(), *extra_names()]
    (tmp_path / "mine.yaml").write_text(run("spec", "show", names[0], cwd=tmp_path).stdout)
    shown = [json.loads(run("spec", "show", name, "--json", cwd=tmp_path).stdout) for name in (names[0], "./mine.yaml")]
    assert shown[0] == shown[1]
    assert json.loads(run("spec", "schema", cwd=tmp_path).stdout)["additionalProperties"] is False


def test_spec_check_counts_files_and_ends_with_two(tmp_path):
    (tmp_path / "good.yaml").write_text("name: x\nslots: [{center: [0, 0]}]\n")
    (tmp_path / "bad.yaml").write_text("name: x\nslots: []\n")
    fine = run("spec", "check", "good.yaml", "MNIST-III-10", cwd=tmp_path)
    assert (fine.returncode, len(fine.stdout.splitlines()), fine.stderr) == (0, 2, "")
    mixed = run("spec", "check", "bad.yaml", "good.yaml", cwd=tmp_path)
    assert mixed.returncode == 2
    assert mixed.stderr.startswith("bad.yaml:2: slots")
    assert len(mixed.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "args",
    [
        ("build", "MNIST-III-1"),
        ("build", "bad.yaml"),
        ("build", "MNIST-III-01", "bad.yaml"),
        ("build", "MNIST-III-01", "--train", "1000000000000"),
        ("build", "MNIST-III-01", "--train", "-1"),
        ("build", "MNIST-III-01", "--shard-size", "0"),
        ("build", "MNIST-III-01", "--digits", "nowhere"),
        ("build", "MNIST-III-01", "--train", "1e6"),
        ("build", "MNIST-III-01", "--trian", "1"),
        ("build",),
        ("biuld",),
        ("export", "nowhere"),
        ("verify",),
        ("verify", "nowhere"),
        ("preview", "bad.yaml"),
        ("spec", "show", "nothing"),
    ],
)
def test_a_users_mistake_is_one_line_and_writes_nothing(args, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\nslots: [{center: [0, 0], scale: -1}]\n")
    result = run(*args, cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("mnistcompose: ")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize("width", [30, 60, 80, 300])
def test_a_narrow_terminal_gets_fewer_columns_and_is_told_which(width, monkeypatch, capsys):
    head, line = [f"column {place}" for place in range(12)], [f"value {place}" for place in range(12)]
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(head, [line], needed=2)
    piped = capsys.readouterr().out
    assert all(name in piped for name in head)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    print_table(head, [line], needed=2)
    text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    table, _, told = text.partition("Too wide")
    assert max(map(len, table.splitlines())) <= width
    shown = [f"value {place} " in table for place in range(12)]
    assert shown == sorted(shown, reverse=True)
    assert all(name in text for name in head)
    assert bool(told) == (not all(shown))


@pytest.mark.parametrize("arguments", [["list"], ["no-such-command"]])
def test_the_exiting_interpreter_finds_nothing_to_search_for_cycles(arguments):
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print('left:', len(gc.get_objects()))); "
        f"from mnistcompose.cli import main; main({arguments!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert int(result.stdout.rpartition("left:")[2]) < 1_000
