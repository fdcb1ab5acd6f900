"""What a grid survives: other processes on its folder, workers that die, errors of any kind, runs that diverge."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcl.data.numbers import Dataset
from dcl.experiments import run as experiment
from dcl.experiments.grid import grid, process_pool, run_grid
from dcl.experiments.inference import load_trained
from dcl.experiments.run import Run, run_one
from dcl.experiments.run_file import read_record, read_records, status_of
from dcl.reporting.table import check_alike, error_cell, summarise
from dcl.training.recipe import Recipe
from mnistcompose.cli import main
from mnistcompose.errors import BuildError, InputError
from mnistcompose.storage.locks import LockedError, locked

QUICK = Recipe(batch_size=32, lr=0.05)
WILD = Recipe(batch_size=32, lr=1e30, warmup=0.0)


def runs_of(data: Dataset, *models: str, **settings: object) -> list[Run]:
    return grid([data], models, range(1), **{"epochs": 1, "recipe": QUICK, "device": "cpu", **settings})


def test_two_processes_on_one_folder_share_the_work(folder: Path, tmp_path: Path) -> None:
    models = ("baseline", "A2", "A3S", "B2")
    options = ["--models", ",".join(models), "--epochs", "3", "--device", "cpu", "--progress", "--out", str(tmp_path)]
    command = [sys.executable, "-c", "from mnistcompose.cli import main; main()", "compare", str(folder), *options]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0][0] == outputs[1][0]
    epochs = Counter(re.findall(r"II-01 (\S+ 0: epoch \d)", "".join(error for _, error in outputs)))
    assert epochs == {f"{model} 0: epoch {epoch}": 1 for model in models for epoch in (1, 2, 3)}
    assert not list(tmp_path.rglob("*.lock"))


def test_two_datasets_of_one_name_are_refused_before_any_training(data: Dataset, tmp_path: Path) -> None:
    runs = [*runs_of(data, "baseline"), *runs_of(replace(data, seed=1), "baseline")]
    with pytest.raises(InputError, match=r"baseline-0\.json: two of the runs share this file, but differ in data_seed"):
        run_grid(runs, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_dataset_that_is_named_twice_is_one(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(folder.parent)
    names = [str(folder), f"./{folder.name}"]
    main(["compare", *names, "--models=baseline", "--epochs=1", "--device=cpu", f"--out={tmp_path}", "--json"])
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_where_nothing_can_be_stored_the_cause_is_told(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    (run,) = runs_of(data, "baseline")
    with pytest.raises(BuildError, match=r"cannot make the folder: Not a directory"):
        run_grid([run], tmp_path / "out" / "runs")


def test_what_another_process_does_comes_last(data: Dataset, tmp_path: Path) -> None:
    runs, ended = runs_of(data, "baseline", "A2", "B2"), []
    lock = (tmp_path / runs[0].file).with_suffix(".lock")
    lock.parent.mkdir()
    with locked(lock, "busy"):
        with pytest.raises(LockedError, match=r"baseline-0\.json: another process"):
            run_one(runs[0], tmp_path / runs[0].file, wait=False)
        released = Event()

        def on_end(run: Run, _: object) -> None:
            ended.append(run.model)
            if len(ended) == 2:
                released.set()

        results: list[list[dict]] = []
        thread = Thread(target=lambda: results.append(run_grid(runs, tmp_path, on_end=on_end)))
        thread.start()
        assert released.wait(120)
    thread.join(120)
    assert ended == ["A2", "B2", "baseline"]
    assert [record["determined_by"]["model"] for record in results[0]] == ["baseline", "A2", "B2"]


def killing(done: Event, times: int, checkpoints: Path) -> None:
    """Kill this process's children, so many times, whenever a run has begun."""
    for _ in range(times):
        deadline = time.monotonic() + 120
        while not done.is_set() and time.monotonic() < deadline and not list(checkpoints.rglob("*.lock")):
            time.sleep(0.02)
        time.sleep(0.2)
        for child in active_children():
            with suppress(ProcessLookupError):
                os.kill(child.pid or 0, signal.SIGKILL)
            child.join(10)
        for lock in checkpoints.rglob("*.lock"):
            lock.unlink(missing_ok=True)


@pytest.mark.parametrize(("times", "epochs"), [(1, 40), (4, 4000)])
def test_a_dead_worker_is_replaced_and_its_run_done_once_more(
    data: Dataset, tmp_path: Path, times: int, epochs: int
) -> None:
    runs = runs_of(data, "baseline", "A2", epochs=epochs)
    done = Event()
    killer = Thread(target=killing, args=(done, times, tmp_path))
    killer.start()
    try:
        if times == 1:
            records = run_grid(runs, tmp_path, pool=partial(process_pool, 1))
            assert [status_of(record) for record in records] == ["finished", "finished"]
        else:  # each run loses its process twice
            with pytest.raises(BuildError, match=r"its process has died, twice \(and 1 more failed\)"):
                run_grid(runs, tmp_path, pool=partial(process_pool, 1))
            assert [status_of(record) for record in read_records(tmp_path).values()] == ["failed", "failed"]
            assert error_cell(summarise(read_records(tmp_path).values())[0]) == "1 failed"
    finally:
        done.set()
        killer.join()


class Elsewhere(Executor):
    """Workers on other machines, on which every run ends with an error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, *_: object, **__: object) -> Future[object]:
        future: Future[object] = Future()
        future.set_exception(self.error)
        return future


def test_a_run_that_fails_on_another_machine_needs_no_device_here(data: Dataset, tmp_path: Path) -> None:
    runs = runs_of(data, "baseline", "A2", device="cuda:77")
    with pytest.raises(BuildError, match=r"-0\.json: MemoryError: full \(and 1 more failed\)"):
        run_grid(runs, tmp_path, pool=partial(Elsewhere, MemoryError("full")))
    stored = read_records(tmp_path)
    assert len(stored) == 2
    for record in stored.values():
        assert (status_of(record), record["reason"]) == ("failed", "MemoryError: full")
        assert "environment" not in record  # that of the other machine is not known


def test_a_lost_scheduler_is_no_failure_of_its_runs(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        run_grid(runs_of(data, "baseline", "A2"), tmp_path, pool=partial(Elsewhere, CancelledError("lost")))
    assert not read_records(tmp_path)


@pytest.mark.parametrize("error", [MemoryError("out of memory"), RuntimeError("CUDA error\nmore"), OSError("no disk")])
def test_no_error_of_one_run_ends_the_grid(
    error: Exception, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = experiment.fit

    def fit(net, *arguments, **options):
        if options["metadata"]["model"] == "baseline":
            raise error
        return real(net, *arguments, **options)

    monkeypatch.setattr(experiment, "fit", fit)
    runs = runs_of(data, "baseline", "A2")
    first_line = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    with pytest.raises(BuildError, match=f"baseline-0.json: {first_line}; the same command"):
        run_grid(runs, tmp_path)
    stored = read_records(tmp_path)
    assert [(status_of(record), record.get("reason")) for record in stored.values()] == [
        ("finished", None),
        ("failed", first_line),
    ]


def test_a_diverged_run_is_stored_once_and_shown(
    data: Dataset, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(runs_of(data, "A2")[0], recipe=WILD, epochs=4)
    record = run_one(run, tmp_path / run.file, keep=True)
    assert status_of(record) == "diverged"
    assert re.match(r"training diverged in epoch 1: (train|test) loss (nan|inf)", record["reason"])
    assert record["history"]["train_loss"] == []
    assert sorted(path.name for path in (tmp_path / run.file).parent.iterdir()) == ["A2-0.json"]
    monkeypatch.setattr(experiment, "fit", None)  # whoever trains again fails
    assert run_one(run, tmp_path / run.file, keep=True) == record
    (row,) = summarise(run_grid([run], tmp_path))
    assert (row.error_percent, row.runs, row.diverged, error_cell(row)) == (None, 0, 1, "1 diverged")
    main(["compare", "--out", str(tmp_path), "--markdown"])
    assert "| MNIST-II-01 | A2 | 1 diverged |" in capsys.readouterr().out


def test_weights_of_another_epoch_than_the_stored_run_are_refused(data: Dataset, tmp_path: Path) -> None:
    run = runs_of(data, "A2", epochs=2)[0]
    with pytest.raises(KeyboardInterrupt):
        run_one(run, tmp_path / "run.json", keep=True, progress=lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    shutil.copy(tmp_path / "run.pt", tmp_path / "early.pt")
    assert load_trained(tmp_path).epochs == 1
    run_one(run, tmp_path / "run.json", keep=True)
    assert load_trained(tmp_path).epochs == 2
    shutil.copy(tmp_path / "early.pt", tmp_path / "run.pt")
    with pytest.raises(BuildError, match=r"run\.pt: weights after epoch 1, but .* 2 epochs"):
        load_trained(tmp_path)
    run_one(run, tmp_path / "run.json", keep=True)  # makes the weights that are missing
    assert load_trained(tmp_path).epochs == 2


def test_a_run_names_its_code_and_its_fusion(data: Dataset, tmp_path: Path) -> None:
    baseline, module = (run_one(run, tmp_path / run.file) for run in runs_of(data, "baseline", "A2"))
    assert re.fullmatch("[0-9a-f]{16}", baseline["environment"]["code"])
    assert "fusion" not in baseline["determined_by"]
    assert module["determined_by"]["fusion"]["max_slope"] == 1.0
    older = json.loads((tmp_path / "MNIST-II-01/A2-0.json").read_text())
    del older["determined_by"]["fusion"]
    (tmp_path / "MNIST-II-01/A2-0.json").write_text(json.dumps(older))
    assert read_record(tmp_path / "MNIST-II-01/A2-0.json") == older
    with pytest.raises(InputError, match="was made with fusion"):
        run_grid(runs_of(data, "A2"), tmp_path)


# --- what may be averaged -------------------------------------------------------------------------------------------

IDENTITY = {
    "dataset": "MNIST-III-10",
    "model": "A2",
    "spec": "aa",
    "digits": "bb",
    "data_seed": 0,
    "splits": {"test": {"images": 100}},
    "measured_on": "test",
    "notation": "FC500[2x100]-OUT",
    "epochs": 20,
    "recipe": {"lr": 0.1},
    "precision": "float32",
    "fusion": {"max_slope": 1.0},
}


def a_record(seed: int, **changes: object) -> dict:
    return {"determined_by": {**IDENTITY, "seed": seed, **changes}, "error_percent": 1.0, "wrong": [3]}


@given(st.sampled_from(sorted(IDENTITY.keys() - {"dataset", "model", "measured_on"})))
def test_runs_that_differ_in_anything_but_the_seed_are_not_averaged(field: str) -> None:
    check_alike([a_record(0), a_record(1), a_record(0, model="B2", notation="other")])
    with pytest.raises(InputError, match=f"MNIST-III-10 A2 seed 0 and MNIST-III-10 A2 seed 1 differ in {field} "):
        check_alike([a_record(0), a_record(1, **{field: "another"})])


def test_one_run_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="the same dataset, model and seed"):
        check_alike([a_record(0), a_record(0)])


def test_a_folder_of_datasets_is_not_taken_for_runs(folder: Path, data: Dataset) -> None:
    for place in (folder, folder.parent):
        with pytest.raises(InputError, match=r"holds a dataset \(.*MNIST-II-01\), not runs"):
            read_records(place)


def test_a_run_that_is_not_there_is_named_as_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope: there is no such checkpoint; mnistcompose train DATASET --out .*nope"):
        load_trained(tmp_path / "nope")
    (tmp_path / "A2-0.json").write_text("{}")
    with pytest.raises(InputError, match=r"A2-0\.json: its weights were not kept; repeat its command with --keep"):
        load_trained(tmp_path / "A2-0.json")


def test_report_and_figures_leave_out_runs_without_a_result(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_grid(runs_of(data, "baseline"), tmp_path / "runs")
    (wild,) = runs_of(data, "A2", recipe=WILD)
    run_one(wild, tmp_path / "runs" / wild.file)
    main(["report", "runs"])
    assert "1 diverged" in (tmp_path / "report.html").read_text()
    main(["report", "runs", "--markdown"])
    assert "1 diverged" in capsys.readouterr().out
    main(["figure", "4", "--runs", "runs", "--dataset", "MNIST-II-01", "-o", "four"])
    assert "A2" not in (tmp_path / "four.csv").read_text()
    (tmp_path / "runs/MNIST-II-01/baseline-0.json").unlink()
    with pytest.raises(SystemExit):
        main(["report", "runs"])
    assert "none of its runs has a result; 1 diverged" in capsys.readouterr().err
