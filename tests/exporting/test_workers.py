"""Exports and checks by several workers: the same bytes and problems, and nothing left where one fails or dies."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from mnistcompose import BuildError, InputError, build, export, load_spec, verify
from mnistcompose.building.digests import make_digests
from mnistcompose.exporting import export as exporter

FORMATS = ("idx", "webdataset", "parquet", "png", "npz", "coco")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Shards of three splits; their samples have all that a format can hold."""
    root = tmp_path_factory.mktemp("dataset") / "x"
    spec = load_spec("MNIST-lengths").model_copy(update={"name": "mine"})
    build(spec, root, train=2300, test=1000, shard_size=1000, masks=True)
    return root


@pytest.fixture
def small_processes(monkeypatch):
    """Let also small exports use processes; the list gets their numbers."""
    used: list[int] = []
    pool = exporter.process_pool
    monkeypatch.setattr(exporter, "_PER_PROCESS", 1)
    monkeypatch.setattr(exporter, "process_pool", lambda workers: used.append(workers) or pool(workers))
    return used


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"out.export.lock"}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_bytes_whatever_the_number_of_workers(kind, dataset, tmp_path, monkeypatch, small_processes):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    told: dict[int, list[int]] = {}
    for workers in (1, 2, 3):
        told[workers] = []
        export(dataset, tmp_path / str(workers), kind, workers=workers, per_tar=700, progress=told[workers].append)
    alone = content(tmp_path / "1")
    assert content(tmp_path / "2") == content(tmp_path / "3") == alone
    assert told[1] == told[2] == told[3] == [1000, 1000, 300, 1000]
    assert small_processes == ([] if kind in ("idx", "npz") else [2, 3])


def test_a_process_has_enough_to_do(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "process_pool", lambda workers: pytest.fail(f"{workers} processes for 3,300 images"))
    export(dataset, tmp_path / "out", "png", workers=64)


@pytest.mark.parametrize("kind", ["npz", "png"])
def test_a_damaged_shard_leaves_nothing(kind, tmp_path, small_processes):
    build("MNIST-II-02", tmp_path / "x", train=4000, test=0, shard_size=1000)
    shard = tmp_path / "x" / "train-00001-of-00004.h5"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    shard.write_bytes(damaged)
    with pytest.raises(BuildError, match=r"train-00001-of-00004\.h5: damaged"):
        export(tmp_path / "x", tmp_path / "out", kind, workers=2)
    assert left(tmp_path) == {"x"}
    assert not active_children()


def test_a_worker_that_dies_ends_the_export(tmp_path, small_processes):
    build("MNIST-II-02", tmp_path / "x", train=12_000, test=0, shard_size=1000)

    def shoot(_images: int) -> None:
        for child in active_children():
            child.kill()

    with pytest.raises(BuildError, match=r"a worker died .*; run the same command again"):
        export(tmp_path / "x", tmp_path / "out", "png", workers=2, progress=shoot)
    assert left(tmp_path) == {"x"}
    assert not active_children()
    export(tmp_path / "x", tmp_path / "out", "png", workers=2)


def test_what_a_progress_bar_raises_is_raised(tmp_path, dataset, small_processes):
    def fail(_images: int) -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        export(dataset, tmp_path / "out", "png", workers=2, progress=fail)
    assert left(tmp_path) == set()
    assert not active_children()


def processes_of(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            found.append(path.parent.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc")
@pytest.mark.parametrize(
    ("number", "everyone", "code"),
    [
        (signal.SIGINT, True, 130),  # Ctrl-C
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, False, 143),
        (signal.SIGKILL, False, -9),
    ],
)
def test_an_interruption_leaves_no_process_and_no_export(tmp_path, number, everyone, code):
    build("MNIST-II-02", tmp_path / "x", train=40_000, test=0, shard_size=1000)
    process = subprocess.Popen(
        [sys.executable, "-m", "mnistcompose.cli", "export", "x", "--format", "coco", "-o", "out", "--workers", "2"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out.export.tmp" / "train").glob("*.png"))) < 1500:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (os.killpg if everyone else os.kill)(process.pid, number)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == code
    assert "Traceback" not in said
    while processes_of(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert left(tmp_path) == ({"x", "out.export.tmp"} if number == signal.SIGKILL else {"x"})


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_workers_are_checked_at_the_door(workers, dataset, tmp_path):
    calls = (
        lambda: export(dataset, tmp_path / "out", "npz", workers=workers),
        lambda: verify(dataset, workers=workers),
        lambda: make_digests(load_spec("MNIST-II-01"), workers=workers),
        lambda: build("MNIST-II-01", tmp_path / "built", workers=workers),
    )
    for call in calls:
        with pytest.raises(InputError, match="workers = "):
            call()
    assert not list(tmp_path.iterdir())


def test_workers_of_numpys_types_are_numbers(dataset, tmp_path):
    assert verify(dataset, workers=np.int64(2)).ok
    export(dataset, tmp_path / "out", "npz", workers=np.uint8(2))


def test_verify_finds_the_same_problems_in_the_same_order(tmp_path):
    root = tmp_path / "x"
    build("MNIST-II-02", root, train=6000, test=2000, shard_size=1000)
    for number in (4, 1):
        shard = root / f"train-0000{number}-of-00006.h5"
        shard.write_bytes(shard.read_bytes()[:-1] + bytes([number]))
    (root / "train-00002-of-00006.h5").unlink()
    (root / "test-00001-of-00002.h5").write_bytes(b"")
    reports = [verify(root, rerender=500, workers=workers) for workers in (1, 2, 3, None)]
    assert len(reports[0].problems) == 4
    assert [Path(problem.partition(":")[0]).name for problem in reports[0].problems] == [
        *(f"train-0000{number}-of-00006.h5" for number in (1, 2, 4)),
        "test-00001-of-00002.h5",
    ]
    assert reports == [reports[0]] * 4


def test_digests_are_the_same_whatever_the_number_of_workers():
    spec = load_spec("MNIST-II-02").model_copy(update={"train": 25_000, "test": 1000})
    assert make_digests(spec, workers=1) == make_digests(spec, workers=3)
