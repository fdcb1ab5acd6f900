"""What a user of one command expects of the others: the same options, lists, completion and help."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mnistcompose.cli import cli
from mnistcompose.cli.options import MODEL_NAMES, LocalPath
from mnistcompose.cli.shared import Location, fitted

STORED = Path(__file__).parents[2] / "results" / "first"


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def every(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        yield f"{path}{name}", found
        if isinstance(found, click.Group):
            yield from every(found, f"{path}{name} ")


def parsed(name: str, *arguments: str) -> dict:
    return command(name).make_context(name, list(arguments)).params


def completed(*arguments: str) -> list[str]:
    *before, last = arguments
    return [item.value for item in ShellComplete(cli, {}, "mnistcompose", "_X").get_completions(before, last)]


@pytest.mark.parametrize(("path", "found"), [*every(cli)], ids=[path for path, _ in every(cli)])
def test_every_option_has_a_help_text(path, found):
    assert [option.opts for option in found.params if isinstance(option, click.Option) and not option.help] == []


@pytest.mark.parametrize("path", ["", *(path for path, found in every(cli) if isinstance(found, click.Group))])
def test_no_summary_is_cut_at_80_columns(path):
    shown = CliRunner().invoke(cli, [*path.split(), "--help"], terminal_width=80).output
    assert "Commands:" in shown
    assert [line for line in shown.splitlines()[1:] if line.endswith("...")] == []


def test_layouts_are_checked_for_scripts(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("name: good\nslots: [{center: [0, 0]}]\n")
    bad.write_text("name: bad\nslots: [{center: [0]}]\nnoize: 3\n")
    done = CliRunner().invoke(cli, ["spec", "check", str(good), str(bad), "--json"])
    assert done.exit_code == 2
    fine, wrong = json.loads(done.stdout)
    assert fine == {"file": str(good), "problems": []}
    assert wrong["file"] == str(bad)
    assert len(wrong["problems"]) == 2


WRITING = ["build", "preview", "export", "figure", "report", "compare", "compare-images", "train", "calibrate"]


@pytest.mark.parametrize("name", WRITING)
def test_what_writes_takes_o(name):
    assert any({"-o", "--out"} <= set(option.opts) for option in command(name).params)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (path, found)
        for path, found in every(cli)
        if path not in ("spec", "spec schema", "spec digest", "pairs", "studio")
    ],
)
def test_every_result_is_there_as_json(path, found):
    """But for what is JSON anyway, and for the studio, which has no result."""
    assert any("--json" in option.opts for option in found.params)


NEEDED = {"figure": ["3"], "report": ["runs"], "export": ["data/x", "--format", "npz"], "train": ["data/x"]}
PARALLEL = {  # with the arguments that each needs
    "build": ["MNIST-II-01"],
    "verify": ["data/x"],
    "export": ["data/x", "--format", "npz"],
    "compare": [],
    "compare-images": [],
    "calibrate": ["MNIST-II-01", "--knob", "digit.scale", "--target", "1"],
    "spec digest": ["MNIST-II-01"],
}


@pytest.mark.parametrize(("path", "found"), [*every(cli)], ids=[path for path, _ in every(cli)])
def test_workers_and_jobs_are_one_option(path, found):
    """In each command that does work at once; the others have neither."""
    words = {word for option in found.params for word in option.opts}
    assert ({"--workers", "--jobs"} & words) == ({"--workers", "--jobs"} if path in PARALLEL else set())
    if path in PARALLEL:
        first, second = (
            found.make_context(path, [*PARALLEL[path], word, "3"]).params for word in ("--workers", "--jobs")
        )
        assert first == second
        assert first["workers"] == 3


@pytest.mark.parametrize(
    ("name", "option", "values"),
    [
        ("compare", "--models", ("A2", "baseline", "C5@20-MP2S2-OUT")),
        ("compare", "--model", ("A2", "baseline")),
        ("compare", "--resource", ("GPU=1", "cores=2")),
        ("compare-images", "--networks", ("lenet", "wrn")),
        ("figure", "--models", ("A2", "baseline")),
        ("figure", "--runs", ("a", "b/c")),
        ("report", "--layout", ("a.yaml", "b.yaml")),
        ("export", "--split", ("train", "test")),
    ],
)
def test_commas_and_repeated_options_are_the_same(name, option, values):
    needed = NEEDED.get(name, [])
    with_commas = parsed(name, *needed, option, ",".join(values))
    assert with_commas == parsed(name, *needed, *(part for value in values for part in (option, value)))
    assert with_commas == parsed(name, *needed, option, f" {', '.join(values)},", option, values[0])
    assert with_commas != parsed(name, *needed)


@pytest.mark.parametrize("value", ["", " ", ","])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("compare", "--models"), ("compare", "--resource"), ("compare-images", "--networks"), ("train", "--model")),
        *(("figure", "--runs"), ("report", "--layout"), ("export", "--split")),
    ],
)
def test_an_option_that_names_nothing_is_refused(name, option, value):
    """As of a script whose variable is empty: `--split "$SPLIT"` would mean all splits."""
    with pytest.raises(click.UsageError, match=r"names nothing|an empty path"):
        parsed(name, *NEEDED.get(name, []), option, value)


PATHS = [
    (name, option)
    for name, found in every(cli)
    for option in found.params
    if isinstance(option.type, LocalPath | Location) and isinstance(option, click.Option)
]


@pytest.mark.parametrize(("name", "option"), PATHS, ids=[f"{name} {option.name}" for name, option in PATHS])
def test_an_empty_path_is_not_the_current_folder(name, option):
    with pytest.raises(click.UsageError, match="an empty path"):
        option.type_cast_value(click.Context(cli), [""] if option.multiple else "")


def test_a_folder_may_have_a_comma_in_its_name(tmp_path):
    folder = tmp_path / "runs, old"
    folder.mkdir()
    assert parsed("figure", "3", "--runs", str(folder))["runs"] == (folder,)


def test_train_takes_one_model_by_either_name():
    assert parsed("train", "x", "--models", "A2") == parsed("train", "x", "--model", "A2")
    done = CliRunner().invoke(cli, ["train", "MNIST-II-01", "--model", "A2,A3S"])
    assert done.exit_code == 2
    assert "one model" in done.output


def test_names_are_completed(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from dcl.experiments.registry import MODELS

    assert MODEL_NAMES == MODELS
    assert completed("train", "--model", "A3") == ["A3S", "A3D"]
    assert completed("compare", "--models", "A2,ba") == ["A2,baseline"]
    assert completed("train", "MNIST-II-0") == [f"MNIST-II-0{number}" for number in range(1, 6)]
    for before in (("compare",), ("evaluate", "run"), ("figure", "3", "--dataset"), ("report", "runs", "--layout")):
        assert completed(*before, "MNIST-III-09") == ["MNIST-III-09"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "manifest.json").touch()
    assert completed("export", "") == ["data/mine"]


def test_figure_2_needs_no_torch(tmp_path):
    pytest.importorskip("matplotlib")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from mnistcompose.cli import main\n"
        "main(['figure', '2', '-o', 'two', '--json'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"figure": 2, "files": ["two.png", "two.svg", "two.csv"], "sentences": []}
    assert {path.name for path in tmp_path.iterdir()} == {"two.png", "two.svg", "two.csv"}


def test_a_report_as_json_names_its_file(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("jinja2")
    out = tmp_path / "page.html"
    done = CliRunner().invoke(cli, ["report", str(STORED), "-o", str(out), "--json"], catch_exceptions=False)
    facts = json.loads(done.output)
    assert facts["file"] == str(out)
    assert facts["runs"] == len(list(STORED.glob("*/*.json")))
    assert out.read_text().startswith("<!doctype html>")


WORDS = st.lists(st.text("abc-", min_size=1, max_size=30), min_size=1, max_size=30).map(" ".join)


@given(WORDS, st.text("name", max_size=30), st.integers(20, 200))
def test_a_text_is_wrapped_on_a_terminal_and_one_line_elsewhere(text, before, columns):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        assert fitted(text, before) == before + text
        patch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))
        lines = fitted(text, before).split("\n")
    assert lines[0].startswith(before)
    assert " ".join(line[len(before) :] for line in lines).split() == text.split()
    longest = max(map(len, text.split()))
    assert all(len(line) <= max(columns, len(before) + max(20, longest)) for line in lines)


def test_pairs_do_not_fill_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, flush=lambda: None))
    with pytest.raises(click.UsageError, match="--out"):
        cli.main(["pairs"], standalone_mode=False)


def test_the_line_for_completion_can_be_copied():
    shown = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    assert '  eval "$(_MNISTCOMPOSE_COMPLETE=bash_source mnistcompose)"\n' in shown


def test_the_package_shows_its_public_names_only():
    import mnistcompose

    assert {name for name in dir(mnistcompose) if not name.startswith("__")} == set(mnistcompose.__all__) - {
        "__version__"
    }
