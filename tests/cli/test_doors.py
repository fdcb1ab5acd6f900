"""Paths, numbers and outputs that a user gives to the commands."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mnistcompose import build, verify
from mnistcompose.cli import cli, main
from mnistcompose.cli.options import LocalPath
from mnistcompose.rendering.compiled import kernel_folder

CLI = (sys.executable, "-c", "from mnistcompose.cli import main; raise SystemExit(main())")


def run(*args: object, **options) -> subprocess.CompletedProcess[str]:
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 100, **options}
    return subprocess.run([*CLI, *map(str, args)], check=False, **settings)


def commands(group: click.Group = cli) -> Iterator[click.Command]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield command
        if isinstance(command, click.Group):
            yield from commands(command)


def test_every_path_expands_the_home(tmp_path: Path):
    pytest.importorskip("torch")
    found = [p for command in commands() for p in command.params if isinstance(p.type, click.Path | LocalPath)]
    assert len(found) > 10
    assert [p.name for p in found if not isinstance(p.type, LocalPath)] == []


def test_the_home_is_not_a_folder_named_tilde(tmp_path: Path):
    kernels = {"NUMBA_CACHE_DIR": str(kernel_folder().parent)}  # not compiled again in the new home
    home = {**os.environ, **kernels, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    (tmp_path / "work").mkdir()
    options = {"env": home, "cwd": tmp_path / "work"}
    built = run("build", "MNIST-II-01", "--out=~/x", "--train=1000", "--test=0", **options)
    assert built.returncode == 0, built.stderr
    assert run("verify", "~/x", **options).returncode == 0
    assert run("export", "~/x", "--format=npz", "--out=~/y", **options).returncode == 0
    assert run("preview", "~/x", "--out=~/x.png", **options).returncode == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"x", "y", "x.png"}
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("command", [("pairs",), ("preview", "MNIST-II-01"), ("report", "results")])
def test_a_folder_is_no_file_to_write(tmp_path: Path, command):
    done = run(*command, "--out", tmp_path)
    assert done.returncode == 2
    assert "is a directory" in done.stderr


@pytest.mark.parametrize("args", [("--workers", "0"), ("--workers", "-3"), ("--dry-run", "--workers", "-3")])
def test_a_number_of_workers_is_at_least_one(tmp_path: Path, args):
    done = run("build", "MNIST-II-01", "--out", tmp_path / "x", *args)
    assert done.returncode == 2
    assert "'--workers'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


REFUSED = {
    "http": ("build", "MNIST-II-01", "--out", "http://127.0.0.1:1/x"),
    "zip": ("verify", "zip://x::/nowhere/x.zip"),
    "export": ("export", "nowhere", "--format", "npz", "--out", "http://127.0.0.1:1/x"),
    "preview": ("preview", "MNIST-II-01", "--out", "http://127.0.0.1:1/x.png"),
}


@pytest.mark.parametrize("args", REFUSED.values(), ids=REFUSED)
def test_places_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path, args):
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("args", [("spec", "list"), ("--help",), ("spec", "schema")])
def test_an_output_that_cannot_be_written_is_one_line(args):
    with Path("/dev/full").open("w") as full:
        done = run(*args, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "mnistcompose: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_without_some_letters_gets_escapes(tmp_path: Path, encoding):
    layout = tmp_path / "\u03b1.yaml"
    layout.write_text("name: x\nslots: [{center: [0, 0]}]")
    done = run("spec", "check", layout, env={**os.environ, "PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert ".yaml: fine" in done.stdout
    assert ("\\u03b1" in done.stdout) == (encoding == "latin-1")  # click itself takes UTF-8 in place of ASCII


@pytest.mark.skipif(sys.platform == "win32", reason="no preloading there")
def test_a_warning_is_one_line(tmp_path: Path):
    code = (
        "import errno, fcntl\ndef flock(*_): raise OSError(errno.ENOLCK, 'No locks available')\nfcntl.flock = flock\n"
        "from mnistcompose.cli import main; raise SystemExit(main())"
    )
    command = [sys.executable, "-c", code, "build", "MNIST-II-01", "--train=1000", "--test=0", "--out", tmp_path / "x"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("mnistcompose: warning: ")
    assert done.stderr.count("\n") == 1


def test_verify_goes_on_after_a_folder_that_is_no_dataset(tmp_path: Path):
    for name in ("a", "c"):
        build("MNIST-II-01", tmp_path / name, train=10, test=0)
    (tmp_path / "b").mkdir()
    done = run("verify", "a", "b", "c", cwd=tmp_path)
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["a", "c"]
    assert len(done.stderr.splitlines()) == 1


def test_a_default_place_next_to_the_folder_above(tmp_path: Path):
    build("MNIST-II-01", tmp_path / "a", train=10, test=0)
    (tmp_path / "a" / "sub").mkdir()
    assert run("export", "..", "--format", "npz", cwd=tmp_path / "a" / "sub").returncode == 0
    assert (tmp_path / "a-npz" / "export.json").is_file()


def test_a_layout_that_names_a_csv_can_be_shown_and_used(tmp_path: Path):
    text = run("spec", "show", "DoubleMNIST", cwd=tmp_path).stdout
    (tmp_path / "d.yaml").write_text(text)
    assert run("spec", "check", "d.yaml", cwd=tmp_path).returncode == 0
    digests = [run("spec", "show", name, "--json", cwd=tmp_path).stdout for name in ("DoubleMNIST", "d.yaml")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("door", [CLI, (sys.executable, "-m", "mnistcompose.cli")], ids=["script", "module"])
def test_what_is_wrong_shows_in_the_exit_code_through_every_door(door: tuple[str, ...], tmp_path: Path):
    """`python -m mnistcompose.cli verify` ended with 0, whatever it found."""
    (tmp_path / "bad.yaml").write_text("name: x\nslots: []\n")
    build("MNIST-II-01", tmp_path / "x", train=10, test=0)
    next((tmp_path / "x").glob("train-*.h5")).write_bytes(b"damaged")
    for arguments, code in ((("verify", "x"), 1), (("spec", "check", "bad.yaml"), 2), (("list",), 0), (("nope",), 2)):
        done = subprocess.run([*door, *arguments], cwd=tmp_path, capture_output=True, check=False, timeout=100)
        assert done.returncode == code


@pytest.mark.skipif(sys.platform == "win32", reason="no shell there that closes streams")
@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_command_works_without_the_streams_that_are_closed(closed: str, tmp_path: Path):
    """As in some services and cron jobs; the dataset's files must not become the output either."""
    code = "from mnistcompose.cli import main; raise SystemExit(main())"
    for arguments in (f"build MNIST-II-01 --train 1000 --test 0 --out {tmp_path / 'x'}", "list"):
        done = subprocess.run(
            ["bash", "-c", f'"$0" -c "$1" {arguments} {closed}', sys.executable, code],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    assert verify(tmp_path / "x").ok


TOO_LONG = "x" * 300
PLACES = {  # where each command takes a path; what is there otherwise is never reached
    "out of build": ("build", "MNIST-II-01", "--train=1000", "--out", TOO_LONG),
    "layout": ("build", f"{TOO_LONG}.yaml"),
    "digits": ("build", "MNIST-II-01", "--digits", TOO_LONG),
    "verify": ("verify", TOO_LONG),
    "export": ("export", TOO_LONG, "--format=npz"),
    "preview": ("preview", TOO_LONG),
    "out of preview": ("preview", "MNIST-II-01", "--out", f"{TOO_LONG}.png"),
    "pairs": ("pairs", "--out", TOO_LONG),
    "check": ("spec", "check", TOO_LONG),
    "show": ("spec", "show", TOO_LONG),
    "studio": ("studio", f"{TOO_LONG}.yaml", "--no-browser"),
    "train": ("train", TOO_LONG),
    "out of train": ("train", "MNIST-II-01", "--validate", "--epochs=1", "--out", TOO_LONG),
    "evaluate": ("evaluate", TOO_LONG, "MNIST-II-01"),
    "predict": ("predict", TOO_LONG, "x.png"),
    "compare": ("compare", TOO_LONG),
    "images": ("compare-images", "svhn", "--root", TOO_LONG),
    "report": ("report", TOO_LONG),
    "figure": ("figure", "3", "--runs", TOO_LONG),
}


@pytest.mark.parametrize("arguments", PLACES.values(), ids=PLACES)
def test_a_name_that_is_too_long_is_told_in_one_line(arguments, tmp_path, monkeypatch, capsys):
    """As is a folder that may not be entered: both are errors of the first look at a path."""
    if arguments[0] in ("train", "evaluate", "predict", "compare", "compare-images", "report", "figure"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    try:
        code = main([*arguments])
    except SystemExit as ended:
        code = ended.code
    shown = capsys.readouterr()
    assert code in (1, 2)
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert not list(tmp_path.iterdir())
