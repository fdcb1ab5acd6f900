"""The grid: what a run stores, what resumes, what is refused; the statistics; the commands."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from disk import read_only
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from dcl.data.numbers import Dataset, open_dataset, to_numbers
from dcl.experiments import run as experiment
from dcl.experiments.grid import grid, process_pool, run_grid
from dcl.experiments.inference import Trained, error_by_position, load_trained, read_numbers, weigh
from dcl.experiments.preprocessing import prepare, read_picture, resampling
from dcl.experiments.registry import MODELS, check_model, make_network
from dcl.experiments.run import Run, refuse_other, run_one
from dcl.experiments.run_file import read_record, read_records, status_of
from dcl.models.builder import MAX_PARAMETERS
from dcl.reporting.statistics import holm, mean_and_std, paired_difference, sharing_sources
from dcl.reporting.table import (
    COLUMNS,
    as_csv,
    as_json,
    as_markdown,
    paper_notation,
    paper_table,
    summarise,
)
from dcl.training.device_data import Normalisation
from dcl.training.evaluation import evaluate
from dcl.training.recipe import Recipe
from mnistcompose.building.build import build
from mnistcompose.digits.ink import INK
from mnistcompose.errors import BuildError, InputError
from mnistcompose.layout.names import load_spec
from mnistcompose.layout.reading import dump_spec

QUICK = Recipe(batch_size=32, lr=0.05)


def quick(data: Dataset, model: str = "baseline", **changes: object) -> Run:
    return replace(Run(data, model, epochs=1, recipe=QUICK, device="cpu"), **changes)


# --- data and models ------------------------------------------------------------------------------------------------


def test_a_dataset_is_found_by_name_folder_or_file_and_built_when_missing(tmp_path: Path, folder: Path) -> None:
    spec = load_spec("MNIST-II-01").model_copy(update={"train": 120, "test": 30})
    file = tmp_path / "tiny.yaml"
    file.write_text(dump_spec(load_spec("MNIST-II-01")) + "train: 120\ntest: 30\n")
    built: list[str] = []
    made = [open_dataset(str(file), seed=5, folder=tmp_path, building=built.append) for _ in range(2)]
    assert built == [str(tmp_path / f"{spec.name}-seed5")]
    assert made[0] == made[1] == open_dataset(built[0])
    assert (made[0].seed, made[0].slots, made[0].classes) == (5, 2, 10)
    assert {name: entry["images"] for name, entry in made[0].splits.items()} == {"train": 120, "test": 30}
    images, digits = made[0].load("test", "digits", torch.device("cpu"))
    numbers = made[0].load("test", "number", torch.device("cpu"))[1]
    assert images.shape == (30, 1, 28, 28)
    np.testing.assert_array_equal(to_numbers(digits.numpy(), 10), numbers.numpy())


def test_the_splits_for_model_selection_are_composed(folder: Path) -> None:
    data = open_dataset("MNIST-II-01", seed=3, validation=True)
    assert list(data.splits) == ["fit", "validation"]
    assert data.root is None
    small = replace(data, splits={"fit": {"images": 50}, "validation": {"images": 20}})
    fit_images, _ = small.load("fit", "number", torch.device("cpu"))
    held_out, _ = small.load("validation", "number", torch.device("cpu"))
    assert (len(fit_images), len(held_out)) == (50, 20)
    assert open_dataset(str(folder), validation=True).seed == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MNIST-II-1", "did you mean MNIST-II-01"),
        ("no/such/folder", "no/such/folder"),
        ("", "an empty path"),
    ],
)
def test_an_unknown_dataset_is_named(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_dataset(name)


def test_a_folder_is_found_from_another_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker of a cluster has one."""
    monkeypatch.chdir(folder.parent)
    data = open_dataset(f"./{folder.name}")
    monkeypatch.chdir(folder)
    assert len(data.load("test", "number", torch.device("cpu"))[0]) == 100


def test_a_seed_that_a_built_folder_does_not_have_is_refused(folder: Path) -> None:
    assert open_dataset(str(folder), seed=0) == open_dataset(str(folder))
    with pytest.raises(InputError, match="of data seed 0, not 7"):
        open_dataset(str(folder), seed=7)


def test_a_dataset_that_fails_verification_is_refused(tmp_path: Path) -> None:
    build(load_spec("MNIST-II-01"), tmp_path / "data", train=50, test=20)
    shard = next((tmp_path / "data").glob("test-*.h5"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(BuildError, match=shard.name):
        open_dataset(str(tmp_path / "data"))


def test_a_folder_of_another_size_is_not_taken_for_the_bundled_one(folder: Path) -> None:
    with pytest.raises(InputError, match="another size"):
        open_dataset("MNIST-II-01", folder=folder.parent)


@pytest.mark.parametrize(
    ("model", "meant"), [("a3s", "A3S"), ("basline", "baseline"), ("A4", "A"), ("zzz", "baseline, ")]
)
def test_an_unknown_model_is_named(model: str, meant: str) -> None:
    with pytest.raises(InputError, match=rf"no model '{model}'; .*{meant}"):
        check_model(model)


def test_a_network_of_one_layer_is_a_model() -> None:
    for text in ("OUT", "OUT[2x10]"):
        assert make_network(text, 10, 1)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    with pytest.raises(InputError, match="found the end, expected '@'"):
        check_model("C5")


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_every_model_runs_and_stores_what_it_did(model: str, data: Dataset, tmp_path: Path) -> None:
    run = quick(data, model)
    record = run_one(run, tmp_path / "run.json", keep=True)
    assert record == read_record(tmp_path / "run.json")
    assert record["determined_by"] == run.identity()
    assert (
        record["error_percent"]
        == pytest.approx(100 * len(record["wrong"]) / 100)
        == record["history"]["test_error"][-1]
    )
    trained = load_trained(tmp_path / "run.json")
    again = evaluate(trained.net, data.load("test", run.target, torch.device("cpu")), trained.normalisation, "cpu")
    np.testing.assert_array_equal(np.flatnonzero(again.wrong), record["wrong"])
    np.testing.assert_array_equal(to_numbers(again.predictions, 10)[again.wrong], record["predicted"])


def test_a_run_is_a_function_of_what_determines_it(data: Dataset, tmp_path: Path) -> None:
    def digest(name: str, **changes: object) -> str:
        torch.rand(3)
        return run_one(quick(data, "A3S", **changes), tmp_path / f"{name}.json")["predictions_sha256"]

    assert digest("a") == digest("b")
    assert digest("a", seed=0) != digest("c", seed=1)


def test_a_stored_run_is_only_read(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = run_one(quick(data), tmp_path / "run.json")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    monkeypatch.setattr(experiment, "fit", None)
    assert run_one(quick(data), tmp_path / "run.json") == record
    with read_only(tmp_path):
        assert run_one(quick(data), tmp_path / "run.json") == record
        with pytest.raises(BuildError, match="cannot write"):
            run_one(quick(data), tmp_path / "other.json")


def test_an_interrupted_run_goes_on(data: Dataset, tmp_path: Path) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    run = quick(data, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        run_one(run, tmp_path / "run.json", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]
    seen: list[int] = []
    record = run_one(run, tmp_path / "run.json", progress=lambda history: seen.append(history.epochs))
    assert seen == [2]
    whole = run_one(run, tmp_path / "whole.json")
    assert record["predictions_sha256"] == whole["predictions_sha256"]
    assert record["history"]["train_loss"] == whole["history"]["train_loss"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"epochs": 2}, "epochs = 1, not 2"),
        ({"recipe": replace(QUICK, lr=0.01)}, r"recipe.lr = 0.05, not 0.01"),
        ({"seed": 7}, "seed = 0, not 7"),
        ({"model": "A2"}, "model = 'baseline', not 'A2'"),
    ],
)
def test_a_stored_run_of_another_kind_is_refused(data: Dataset, tmp_path: Path, changes: dict, field: str) -> None:
    run_one(quick(data), tmp_path / "run.json")
    with pytest.raises(InputError, match=field):
        run_one(quick(data, **changes), tmp_path / "run.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "mnistcompose-run-9"}', b'{"format": 1}', b"\xff"])
def test_a_damaged_record_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(BuildError, match=r"run\.json"):
        read_record(path)


# --- the grid -------------------------------------------------------------------------------------------------------


def test_a_grid_stores_each_run_and_does_what_is_missing(data: Dataset, tmp_path: Path) -> None:
    def go(models: list[str], seeds: range) -> tuple[list[str], list[dict]]:
        trained: list[str] = []
        runs = grid([data], models, seeds, epochs=1, recipe=QUICK, device="cpu")
        records = run_grid(runs, tmp_path, on_epoch=lambda run, _: trained.append(run.file))
        return trained, records

    first, records = go(["baseline", "A2"], range(1))
    assert first == ["MNIST-II-01/baseline-0.json", "MNIST-II-01/A2-0.json"]
    assert go(["baseline", "A2"], range(1)) == ([], records)
    more, grown = go(["baseline", "A2"], range(2))
    assert more == ["MNIST-II-01/baseline-1.json", "MNIST-II-01/A2-1.json"]
    assert grown[:2] == records
    assert len(read_records(tmp_path)) == 4
    assert not list(tmp_path.rglob("*.pt"))


def test_a_grid_on_an_executor_stores_the_same(data: Dataset, tmp_path: Path) -> None:
    runs = grid([data], ["baseline", "A3S"], range(1), epochs=1, recipe=QUICK, device="cpu")
    here = run_grid(runs, tmp_path / "here")
    there = run_grid(runs, tmp_path / "there", pool=partial(ThreadPoolExecutor, 1))
    assert [r["predictions_sha256"] for r in here] == [r["predictions_sha256"] for r in there]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_parent_alone_ends_a_grid_at_once(folder: Path, tmp_path: Path, number: int, code: int) -> None:
    options = ["--models", "baseline,A2", "--epochs", "5000", "--jobs", "2", "--device", "cpu", "--out", str(tmp_path)]
    command = [sys.executable, "-c", "from mnistcompose.cli import main; main()", "compare", str(folder), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.rglob("*.pt"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert err.strip().splitlines()[-1] == "mnistcompose: stopped; run the same command again to resume"


def test_a_process_pool_shares_the_cores() -> None:
    with process_pool(2) as pool:
        assert pool.submit(torch.get_num_threads).result() == max(1, torch.get_num_threads() // 2)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"recipe": replace(QUICK, weight_decay=0.5)}, "recipe.weight_decay"),
        ({"epochs": 2}, "epochs"),
        ({"model": "A2", "recipe": replace(QUICK, batch_size=8)}, "recipe.batch_size"),
    ],
)
def test_a_folder_of_another_grid_is_refused(data: Dataset, tmp_path: Path, changes: dict, field: str) -> None:
    run_grid([quick(data)], tmp_path)
    with pytest.raises(InputError, match=rf"baseline-0\.json: was made with {field} = "):
        run_grid([quick(data, seed=1, **changes)], tmp_path)
    assert len(read_records(tmp_path)) == 1


def test_a_failed_run_does_not_stop_the_others(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = experiment.fit

    def fit(net, *arguments, **options):
        if options["metadata"]["model"] == "A2":
            raise BuildError("training diverged")
        return real(net, *arguments, **options)

    monkeypatch.setattr(experiment, "fit", fit)
    runs = grid([data], ["baseline", "A2", "B2"], range(1), epochs=1, recipe=QUICK, device="cpu")
    with pytest.raises(BuildError, match=r"A2-0\.json: training diverged"):
        run_grid(runs, tmp_path)
    assert {path.name: status_of(record) for path, record in read_records(tmp_path).items()} == {
        "A2-0.json": "failed",
        "B2-0.json": "finished",
        "baseline-0.json": "finished",
    }
    monkeypatch.undo()
    assert [status_of(record) for record in run_grid(runs, tmp_path)] == ["finished"] * 3


# --- statistics -----------------------------------------------------------------------------------------------------


def test_the_papers_notation() -> None:
    assert paper_notation(9.14, 0.07) == "9.14(07)"
    assert paper_notation(10.079, 0.43) == "10.08(43)"
    assert paper_notation(5.0, 1.234) == "5.00(123)"
    assert paper_notation(1.957, None) == "1.96"
    assert mean_and_std([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_std([4.0]) == (4.0, None)


def test_the_papers_table_is_whole() -> None:
    table = paper_table()
    assert len(table) == 15 * len(MODELS)
    assert table["MNIST-III-10", "A3S"] == (9.14, 0.07)
    assert all(table[dataset, model] for dataset, _ in table for model in MODELS)


def test_a_single_seeds_interval_is_the_paired_t_test() -> None:
    from scipy import stats

    rng = np.random.default_rng(1)
    base = rng.random((1, 800)) < 0.1
    model = base & (rng.random((1, 800)) < 0.8)
    ours = paired_difference(model, base)
    test = stats.ttest_rel(100.0 * model[0], 100.0 * base[0]).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((test.low, test.high))
    assert ours.mean == pytest.approx(100 * (model.mean() - base.mean()))


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("effect", [0.0, 0.01, 0.03])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds: int, effect: float) -> None:
    """Images, seeds and their interaction all vary; the difference is known."""
    rng = np.random.default_rng(7)
    covered, trials = 0, 300
    for _ in range(trials):
        shift = rng.normal(0, effect, (2, seeds, 1))  # a seed makes a model a little better or worse
        hardness = rng.random((1, 400))  # of an image, the same in every run
        base, model = (
            hardness * 0.5 + rng.random((seeds, 400)) * 0.5 < rate + by
            for rate, by in zip((0.30, 0.28), shift, strict=True)
        )
        truth = 100 * (_share(0.28) - _share(0.30))
        interval = paired_difference(model, base)
        covered += interval.low <= truth <= interval.high
    assert 0.92 <= covered / trials <= 1


def _share(threshold: float) -> float:
    """P(a / 2 + b / 2 < threshold) of a, b uniform, threshold below a half."""
    return 2 * threshold**2  # a seed's effect of mean 0 adds the same to both models


def test_images_that_share_sources_widen_the_interval_to_its_truth() -> None:
    """Whether an image is read depends on its source digits alone; few digits make many images."""
    rng = np.random.default_rng(3)
    covered = {False: 0, True: 0}
    trials = 200
    for _ in range(trials):
        badness = rng.normal(0, 1, (2, 100))  # of a source digit, for two models that are alike
        sources = rng.integers(0, 100, (400, 3))
        base, model = (each[sources].sum(1)[None] > 2 for each in badness)
        for clustered in covered:
            found = paired_difference(model, base, sharing=sharing_sources(sources) if clustered else None)
            covered[clustered] += found.low <= 0 <= found.high
    assert covered[True] / trials >= 0.9
    assert covered[False] / trials < 0.8


@given(sources=arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 6)))
def test_sharing_is_having_a_source_in_common(sources: np.ndarray) -> None:
    expected = [[bool({*one} & {*two}) for two in sources.tolist()] for one in sources.tolist()]
    assert sharing_sources(sources).toarray().tolist() == expected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_step_down_definition(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    ranked = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for level in (0.01, 0.05, 0.5):
        rejected = 0  # the method: the smallest against level / n, the next against level / (n - 1), until one fails
        while rejected < len(ranked) and p_values[ranked[rejected]] * (len(ranked) - rejected) < level:
            rejected += 1
        assert {i for i, p in enumerate(adjusted) if p < level} == set(ranked[:rejected])


def test_the_p_value_is_where_the_interval_ends_at_0() -> None:
    rng = np.random.default_rng(5)
    base, model = rng.random((2, 3, 500)) < [[[0.1]], [[0.07]]]
    found = paired_difference(model, base)
    at_p = paired_difference(model, base, confidence=1 - found.p_value)
    assert min(abs(at_p.low), abs(at_p.high)) < 1e-6


@given(seeds=st.integers(1, 4), images=st.integers(2, 50), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_an_interval_is_finite_and_turns_with_the_order(seeds: int, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, seeds, images)) < 0.3
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert forth.low <= forth.mean <= forth.high
    assert (forth.mean, forth.low, forth.high) == pytest.approx((-back.mean, -back.high, -back.low))
    same = paired_difference(a, a)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


@settings(deadline=None, max_examples=30)  # scipy's first import counts
@given(seeds=st.integers(2, 4), images=st.integers(4, 40), seed=st.integers(0, 99))
def test_seeds_that_misread_different_images_are_not_certain(seeds: int, images: int, seed: int) -> None:
    """As many more mistakes in each seed, of other images: all variance is interaction, and it does not vanish."""
    place = np.random.default_rng(seed).permutation(images)[:seeds]
    model, base = np.zeros((2, seeds, images), np.bool_)
    model[np.arange(seeds), place] = True
    found = paired_difference(model, base)
    expected = (100 / images) / seeds**0.5  # as if the seeds x images cells were independent
    assert found.low < 0 < found.high
    assert found.p_value > 0.05
    assert found.high - found.mean >= 1.9 * expected * ((images - 1) / images) ** 0.5


def test_one_image_says_nothing_and_other_shapes_are_refused() -> None:
    one, none = np.ones((2, 1), np.bool_), np.zeros((2, 1), np.bool_)
    found = paired_difference(one, none)
    assert (found.mean, found.low, found.high, found.p_value) == (100, -100, 100, 1)
    with pytest.raises(InputError, match=r"model \(1, 5\), baseline \(3, 5\)"):
        paired_difference(np.ones((1, 5), np.bool_), np.ones((3, 5), np.bool_))


def a_record(model: str, seed: int, wrong: list[int], dataset: str = "MNIST-III-10", split: str = "test") -> dict:
    """What `summarise` reads of a run of the protocol that is wrong about these of 1,000 groups of ten images."""
    return {
        "determined_by": {
            "dataset": dataset,
            "model": model,
            "seed": seed,
            "epochs": 10 if model == "oracle" else 20,
            "measured_on": split,
            "splits": {"train": {"images": 60_000}, split: {"images": 10_000}},
        },
        "error_percent": len(wrong) / 10,
        "wrong": [10 * group + place for group in wrong for place in range(10)],
        "parameters": 1234,
        "seconds": 10.0 + seed,
    }


def test_the_table() -> None:
    records = [
        a_record("A3S", 1, list(range(86))),
        a_record("baseline", 0, list(range(100))),
        a_record("A3S", 0, list(range(90))),
        a_record("baseline", 1, list(range(104))),
        a_record("oracle", 0, list(range(70))),
        a_record("A2", 5, [1]),
        a_record("A3S", 0, [3], dataset="mine"),
    ]
    rows = summarise(records)
    assert [(r.dataset, r.model) for r in rows] == [
        *(("MNIST-III-10", model) for model in ("baseline", "oracle", "A2", "A3S")),
        ("mine", "A3S"),
    ]
    baseline, oracle, apart, ours, mine = rows
    assert (ours.error_percent, ours.runs, ours.seconds) == (pytest.approx(8.8), 2, 10.5)
    assert ours.std_percent == pytest.approx(np.std([9.0, 8.6], ddof=1))
    assert ours.difference == pytest.approx(-1.4)
    assert ours.gain_percent == pytest.approx(100 * 1.4 / 10.2)
    assert (ours.paper_percent, ours.paper_gain_percent) == (9.14, pytest.approx(100 * (10.12 - 9.14) / 10.12))
    assert oracle.difference == pytest.approx(-3.0)  # of the seed that both have
    assert baseline.difference is apart.difference is mine.difference is mine.paper_percent is None
    assert summarise([a_record("A2", 0, [], split="validation")])[0].paper_percent is None


def test_the_tables_formats() -> None:
    rows = summarise([a_record("baseline", 0, [1, 2]), a_record("A2", 0, [1])])
    assert [row["model"] for row in json.loads(as_json(rows))] == ["baseline", "A2"]
    header, first, _ = as_csv(rows).splitlines()
    assert header.startswith("dataset,model,error_percent,std_percent,runs,")
    assert first.startswith("MNIST-III-10,baseline,0.2,,1,10.12,0.25,")
    lines = as_markdown(rows).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}


def test_errors_by_position() -> None:
    targets = np.array([12, 34, 56, 78])
    predictions = np.array([12, 39, 86, 91])
    expected = [50.0, 50.0]
    assert error_by_position(predictions, targets, 10, 2) == expected
    digits = [np.stack([a // 10, a % 10], 1) for a in (predictions, targets)]
    assert error_by_position(digits[0], digits[1], 10, 2) == expected


# --- pictures -------------------------------------------------------------------------------------------------------


@given(length=st.integers(1, 200), seed=st.integers(0, 9))
def test_an_axis_is_averaged_by_area_or_interpolated(length: int, seed: int) -> None:
    values = np.random.default_rng(seed).random(length)
    borders = np.linspace(0, length, 29)
    if length >= 28:
        integral = np.interp(borders, np.arange(length + 1), np.append(0, values.cumsum()))
        expected = np.diff(integral) / (length / 28)
    else:
        expected = np.interp((borders[1:] + borders[:-1]) / 2 - 0.5, np.arange(length), values)
    np.testing.assert_allclose(resampling(length) @ values, expected)


@given(
    width=st.integers(30, 90),
    height=st.integers(30, 90),
    margin=st.integers(1, 20),
    inverted=st.booleans(),
    ground=st.integers(0, 60),
)
@settings(max_examples=40, deadline=None)
def test_a_picture_is_read_whatever_its_size_shade_and_margin(
    width: int, height: int, margin: int, inverted: bool, ground: int
) -> None:
    ink = np.zeros((height, width))
    ink[: height // 2] = 1
    ink[:, -3:] = 1
    picture = np.pad(ink, margin) * (255 - 2 * ground) + ground
    shown = np.rint(255 - picture if inverted else picture).astype(np.uint8)
    small, note = prepare(Image.fromarray(shown))
    expected = np.floor(resampling(height) @ (255 * ink) @ resampling(width).T + 0.5)
    assert np.abs(small.astype(int) - expected).max() <= 1
    assert note.startswith("dark on light" if inverted else "light on dark")
    assert f"{width} x {height}" in note


INK_OF_A_PICTURE = np.pad(np.ones((30, 40)), 12)
INK_OF_A_PICTURE[20:30, 20:30] = 0  # its shape tells sides apart


@given(paper=st.integers(0, 255), contrast=st.integers(INK, 255), lighter=st.booleans())
def test_ink_is_what_differs_from_the_ground(paper: int, contrast: int, lighter: bool) -> None:
    shade = paper + contrast if lighter else paper - contrast
    assume(0 <= shade <= 255)
    shown = (paper + (shade - paper) * INK_OF_A_PICTURE).astype(np.uint8)
    small, note = prepare(Image.fromarray(shown))
    assert note == f"{'light on dark' if lighter else 'dark on light'}, cut to 40 x 30 pixels of ink"
    expected = prepare(Image.fromarray((255 * INK_OF_A_PICTURE).astype(np.uint8)))[0]
    np.testing.assert_array_equal(small, expected)


@given(across=st.integers(-60, 60), down=st.integers(-60, 60), noise=st.integers(0, 10), seed=st.integers(0, 99))
@settings(deadline=None)
def test_shades_and_noise_of_the_ground_are_no_ink(across: int, down: int, noise: int, seed: int) -> None:
    assume(abs(across) + abs(down) <= 80)  # half of the ink's contrast
    height, width = INK_OF_A_PICTURE.shape
    shade = across * np.linspace(-0.5, 0.5, width) + down * np.linspace(-0.5, 0.5, height)[:, None]
    shade += np.random.default_rng(seed).integers(-noise, noise, shade.shape, endpoint=True)
    picture = Image.fromarray((190 - 140 * INK_OF_A_PICTURE + shade).clip(0, 255).astype(np.uint8))
    assert prepare(picture)[1] == "dark on light, cut to 40 x 30 pixels of ink"


@pytest.mark.parametrize(
    ("kind", "highest"), [("<u2", 65535), (">u2", 65535), ("<u2", 4080), ("<i4", 65535), ("<f4", 1)]
)
def test_a_picture_of_16_bits_or_of_fractions_reads_as_one_of_8(kind: str, highest: int, tmp_path: Path) -> None:
    """As scanners make them; Pillow cuts their values off at 255."""
    shown = (230 - 200 * INK_OF_A_PICTURE).astype(np.uint8)
    expected, note = prepare(Image.fromarray(shown))
    Image.fromarray((shown * (highest / 255)).round(0 if highest > 1 else 9).astype(kind)).save(tmp_path / "x.tif")
    small, told = read_picture(tmp_path / "x.tif")
    assert told == note
    assert np.abs(small.astype(int) - expected).max() <= 1


def test_grey_levels_that_mean_nothing_are_named(tmp_path: Path) -> None:
    for wrong in (-INK_OF_A_PICTURE, 1e9 * INK_OF_A_PICTURE, np.nan * INK_OF_A_PICTURE):
        Image.fromarray(wrong.astype(np.float32)).save(tmp_path / "x.tif")
        with pytest.raises(InputError, match=r"x.tif: grey levels from .*; allowed are 0 to 65535, or fractions"):
            read_picture(tmp_path / "x.tif")


@pytest.mark.parametrize("shade", [0, 255])
def test_a_transparent_ground_is_one_that_the_ink_stands_out_from(shade: int) -> None:
    picture = np.full((50, 40, 4), shade, np.uint8)
    picture[..., 3] = 0
    picture[10:40, 10:30, 3] = 255
    small, _ = prepare(Image.fromarray(picture))
    assert (small == 255).all()


def test_a_datasets_own_image_is_taken_as_it_is(data: Dataset) -> None:
    images, _ = data.load("test", "number", torch.device("cpu"))
    for image in images[:20, 0].numpy():
        small, note = prepare(Image.fromarray(image))
        np.testing.assert_array_equal(small, image)
        assert note.endswith("taken as it is")


def test_what_is_no_picture_or_blank_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    Image.new("L", (28, 28), 0).save(tmp_path / "black.png")
    for name, message in (
        ("text.png", "cannot be read"),
        ("blank.png", "nothing stands out"),
        ("black.png", "nothing stands out"),
        ("no.png", "No such file"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read_picture(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


# --- commands -------------------------------------------------------------------------------------------------------

FAST = ("--epochs", "1", "--batch-size", "32", "--lr", "0.05", "--device", "cpu")


@pytest.mark.parametrize("style", [(), ("--json",)])
def test_a_diverged_run_ends_with_one(style: tuple[str, ...], command, folder: Path) -> None:
    wild = ("--epochs", "1", "--batch-size", "32", "--lr", "1e30", "--warmup", "0", "--device", "cpu")
    for _ in range(2):  # the second one is stored
        code, out, err = command("train", folder, "--model", "baseline", *wild, *style)
        assert code == 1
        assert err.count("\n") == (0 if style else 1)
        assert json.loads(out)["status"] == "diverged" if style else out == ""


def test_train_evaluate_predict(command, folder: Path, data: Dataset, tmp_path: Path) -> None:
    code, out, err = command("train", folder, "--model", "A2", *FAST)
    assert (code, err) == (0, "")
    assert "MNIST-II-01 A2, 1 epoch: error" in out
    run = tmp_path / "runs/MNIST-II-01/A2-0"
    assert sorted(path.name for path in run.iterdir()) == ["run.json", "run.pt"]
    stored = read_record(run / "run.json")
    assert command("train", folder, "--model", "A2", *FAST)[1].endswith(", stored before\n")
    (run / "run.pt").unlink()  # it is trained again
    code, again, _ = command("train", folder, "--model", "A2", *FAST)
    assert (code, again.partition(" %")[0]) == (0, out.partition(" %")[0])
    assert "stored before" not in again

    code, out, _ = command("evaluate", run, folder, "--json")
    result = json.loads(out)
    assert (code, result["error_percent"], result["images"]) == (0, stored["error_percent"], 100)
    assert max(result["position_error_percent"]) <= result["error_percent"] <= sum(result["position_error_percent"])
    code, out, _ = command("evaluate", run, folder)
    assert f"error {stored['error_percent']:.2f} %" in out

    images, numbers = data.load("test", "number", torch.device("cpu"))
    wrong = stored["wrong"][0]
    for name, index in (("a.png", 0), ("b.png", wrong)):
        Image.fromarray(images[index, 0].numpy()).save(name)
    code, out, _ = command("predict", run, "a.png", "b.png", "--json")
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert second["guesses"][0]["number"] == f"{stored['predicted'][0]:02d}"
    if 0 not in stored["wrong"]:
        assert first["guesses"][0]["number"] == f"{int(numbers[0]):02d}"
    assert [g["probability"] for g in first["guesses"]] == sorted(
        (g["probability"] for g in first["guesses"]), reverse=True
    )
    code, out, _ = command("predict", run, "a.png")
    assert "28 x 28" in out


def test_predict_with_the_oracle(command, folder: Path, data: Dataset) -> None:
    command("train", folder, "--model", "oracle", "--out", "it", *FAST)
    images, _ = data.load("test", "number", torch.device("cpu"))
    Image.fromarray(images[0, 0].numpy()).save("a.png")
    code, out, _ = command("predict", "it", "a.png", "--json")
    (guess,) = json.loads(out)["guesses"]
    assert code == 0
    assert len(guess["number"]) == 2
    assert 0 < guess["probability"] <= 1


def test_compare(command, folder: Path) -> None:
    grid_ = ("compare", folder, "--models", "baseline,A2", "--seeds", "2", *FAST)
    code, out, err = command(*grid_)
    assert (code, err) == (0, "")
    assert "MNIST-II-01" in out
    assert "95 %" in out
    again = [command(*grid_, f"--{style}")[1] for style in ("json", "csv", "markdown")]
    assert [row["runs"] for row in json.loads(again[0])] == [2, 2]
    assert len(again[1].splitlines()) == 3
    assert again[2].startswith("| dataset | model")
    assert command("compare", "--csv")[1] == again[1]  # the table of what is stored
    code, _, err = command(*grid_[:-2], "--device", "cpu", "--lr", "0.01")
    assert (code, err.count("\n")) == (2, 1)
    assert "recipe.lr = 0.05, not 0.01" in err


def test_progress_in_plain_lines(command, folder: Path) -> None:
    code, _, err = command("train", folder, "--model", "baseline", *FAST, "--epochs", "2", "--progress")
    assert code == 0
    assert [line.split(",")[0] for line in err.splitlines()] == [
        "MNIST-II-01 baseline: epoch 1/2",
        "MNIST-II-01 baseline: epoch 2/2",
    ]
    assert all(" left, error " in line for line in err.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "MNIST-II-1"), "did you mean MNIST-II-01?"),
        (("train", "MNIST-II-01", "--model", "A3X"), "did you mean A3S?"),
        (("train", "MNIST-II-01", "--model", "C5@20-MQ2"), "MQ2"),
        (("train", "MNIST-II-01", "--lr", "-1"), "recipe: lr = -1.0"),
        (("train", "MNIST-II-01", "--seed", str(2**63)), "--seed"),
        (("train", "MNIST-II-01", "--data-seed", str(2**63)), "--data-seed"),
        (("compare", "MNIST-II-01", "--first-seed", str(2**63 - 1), "--seeds", "2", "--validate"), "seed = "),
        (("calibrate", "MNIST-II-02", "--knob", "digit.rotation", "--target", "nan"), "--target nan: should be"),
        (("calibrate", "MNIST-II-02", "--knob", "digit.rotation", "--target", "-3"), "--target -3: should be"),
        (("compare", "MNIST-II-01", "--models", "baseline,b"), "no model 'b'"),
        (("compare", "--out", "nothing"), "nothing: holds no runs"),
        (("evaluate", "nothing", "MNIST-II-01"), "no such checkpoint"),
        (("predict", "nothing", "a.png"), "no such checkpoint"),
    ],
)
def test_bad_input_ends_with_one_line(command, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = command(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not any(Path.cwd().iterdir())


@pytest.mark.parametrize("native", [True, False])
def test_a_model_reads_in_the_precision_that_it_was_trained_in(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcl.training.precision._has_bfloat16", lambda device: native)
    torch.manual_seed(0)
    net, cpu = make_network("A2", 10, 2).eval(), torch.device("cpu")
    images = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    read, weighed = {}, {}
    for precision in ("float32", "bfloat16"):
        identity = {"model": "A2", "classes": 10, "slots": 2, "precision": precision}
        trained = Trained(net, Normalisation((128.0,), (64.0,)), identity, 1)
        read[precision] = np.array(
            [[share for _, share in each] for each in read_numbers(trained, images[:, 0].numpy(), cpu)]
        )
        weighed[precision] = weigh(trained, images, np.arange(4), cpu)[1]
    for found in (read, weighed):
        assert np.allclose(found["bfloat16"], found["float32"], rtol=0.1)
        assert (found["bfloat16"] != found["float32"]).any() == native


@pytest.mark.parametrize("native", [True, False])
def test_a_model_is_measured_in_the_precision_that_it_was_trained_in(
    native: bool, folder: Path, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("train", folder, "--epochs", 1, "--device", "cpu", "--out", "run")[0] == 0
    state = torch.load("run/run.pt", weights_only=True)
    state["identity"]["precision"] = "bfloat16"
    torch.save(state, "run/run.pt")
    monkeypatch.setattr("dcl.training.precision._has_bfloat16", lambda device: native)
    measured = json.loads(command("evaluate", "run", folder, "--device", "cpu", "--json")[1])
    assert measured["precision"] == ("bfloat16" if native else "float32")
    assert (
        f"; in {measured['precision']}, trained in bfloat16" in command("evaluate", "run", folder, "--device", "cpu")[1]
    )


def test_a_digest_in_a_message_is_short_and_other_values_are_whole(tmp_path: Path) -> None:
    stored, wanted = {"spec": "0" * 63 + "a", "model": "A2" * 40}, {"spec": "1" * 64, "model": "A3S"}
    with pytest.raises(InputError, match=r"spec = 000000000000\.\.\., not 111111111111\.\.\.;"):
        refuse_other(tmp_path, stored, wanted, ["spec"])
    with pytest.raises(InputError, match=f"model = '{'A2' * 40}', not 'A3S';"):
        refuse_other(tmp_path, stored, wanted, ["model"])


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "compare"])
def test_without_torch_the_extra_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
    )
    arguments = {"train": ["x"], "evaluate": ["x", "y"], "predict": ["x", "y"], "compare": ["x"]}[name]
    code = f"import sitecustomize\nfrom mnistcompose.cli import main\nmain({[name, *arguments]!r})\nimport sys\n"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "mnistcompose: this command needs PyTorch: pip install torch torchvision\n"


def test_help_imports_no_torch() -> None:
    code = (
        "import sys\nfrom mnistcompose.cli import cli\n"
        "for name in ('train', 'evaluate', 'predict', 'compare'):\n"
        "    cli.main([name, '--help'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# --- damaged runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.pop("error_percent"), "error_percent: Field required"),
        (lambda r: r.update(error_percent=1e3), "error_percent"),
        (lambda r: r["wrong"].append(10**6), "rising indices"),
        (lambda r: r["wrong"].pop(), "do not agree"),
        (lambda r: r["determined_by"].update(measured_on="elsewhere"), "measured_on"),
        (lambda r: r["history"]["test_loss"].pop(), "history should have"),
        (lambda r: r["determined_by"]["splits"]["test"].update(images=10**12), "images"),
    ],
)
def test_a_run_that_contradicts_itself_is_named(tmp_path, change, words):
    """Found by mutation (tests/faults/test_fuzz.py)."""
    stored = Path(__file__).parents[3] / "results" / "first" / "MNIST-II-01" / "A2-0.json"
    record = json.loads(stored.read_text())
    change(record)
    path = tmp_path / "A2-0.json"
    path.write_text(json.dumps(record))
    with pytest.raises(BuildError, match=words) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


def test_a_run_of_the_largest_network_can_be_read(tmp_path):
    stored = Path(__file__).parents[3] / "results" / "first" / "MNIST-II-01" / "A2-0.json"
    record = json.loads(stored.read_text()) | {"parameters": MAX_PARAMETERS}
    path = tmp_path / "A2-0.json"
    path.write_text(json.dumps(record))
    assert read_record(path)["parameters"] == MAX_PARAMETERS


def test_runs_on_other_images_do_not_share_a_table(tmp_path):
    stored = Path(__file__).parents[3] / "results" / "first" / "MNIST-II-01"
    records = [json.loads((stored / f"{name}-0.json").read_text()) for name in ("baseline", "A2")]
    records[1]["determined_by"]["splits"]["test"]["sha256"] = "0" * 64
    with pytest.raises(InputError, match=r"differ in splits\.test\.sha256"):
        summarise(records)
