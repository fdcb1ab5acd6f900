"""What one task promises, and the order in which a build puts things on the disk."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import pytest

from mnistcompose import BuildError, InputError, build, load_spec
from mnistcompose.building.build import build_config
from mnistcompose.building.config import make_config
from mnistcompose.building.executors import cores
from mnistcompose.building.folder import check_folder, check_space, prepare
from mnistcompose.building.worker import Task, make_shard
from mnistcompose.storage import files
from mnistcompose.storage.hdf5 import read_promise

SPEC = load_spec("MNIST-II-01")


def test_a_config_is_of_data_seed_0_unless_told():
    assert make_config(SPEC).seed == 0


def task(folder: Path) -> Task:
    config = make_config(SPEC, train=1000, test=0)
    prepare(folder, config.identity, force=False)
    return Task(config, "train", 0, 1000, folder, "train-00000-of-00001.h5")


def test_a_worker_with_other_digits_writes_nothing(tmp_path: Path):
    sound = task(tmp_path)
    other = replace(sound, config=replace(sound.config, digits_digest="0" * 64))
    with pytest.raises(BuildError, match="bundled MNIST: the digit files here are not those of the build"):
        make_shard(other)
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]


def test_a_late_task_does_not_write_into_another_build(tmp_path: Path):
    """A worker of a cluster may finish its task after Ctrl-C, when the folder is another dataset's."""
    late = task(tmp_path)
    prepare(tmp_path, make_config(SPEC, seed=1, train=1000, test=0).identity, force=True)
    with pytest.raises(BuildError, match="another build has begun there meanwhile: seed is 1 there, and 0"):
        make_shard(late)
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]


def test_a_shard_is_what_its_task_promises(tmp_path: Path):
    made = task(tmp_path)
    entry = make_shard(made)
    assert (entry.split, entry.first, entry.count) == ("train", 0, 1000)
    assert read_promise(tmp_path / entry.name) == made.promise


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be flushed here")
def test_a_finished_build_flushes_the_folder_last(tmp_path: Path, monkeypatch):
    """Otherwise a power cut could take the names of files that the report says are there."""
    events: list[str] = []
    fsync, rename, unlink = os.fsync, files.rename, Path.unlink

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        events.append("folder" if os.path.samestat(os.fstat(descriptor), tmp_path.stat()) else "file")

    def name(source: Path, target: Path) -> None:
        rename(source, target)
        events.append(target.name)

    def remove(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok)
        events.append(f"-{self.name}")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(files, "rename", name)
    monkeypatch.setattr(Path, "unlink", remove)
    build(SPEC, tmp_path, train=1000, test=0)
    last = events.index("folder")
    assert {"manifest.json", "train.h5", "-journal.jsonl"} <= set(events[:last])
    assert [event for event in events[last + 1 :] if event != "-.lock"] == []


def test_what_a_killed_build_left_is_removed_before_there_is_more(tmp_path: Path):
    """Its space may be needed."""
    left = tmp_path / "train-00000-of-00001.h5.01234567.tmp"
    left.touch()
    seen = []
    build(SPEC, tmp_path, train=1000, test=0, progress=lambda _: seen.append(left.exists()))
    assert seen == [False]


def test_another_dataset_is_removed_by_force_only(tmp_path: Path):
    """Also if it has come since the folder was checked, as it can in a store."""
    build(SPEC, tmp_path, train=1000, test=0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = make_config(SPEC, seed=1, train=1000, test=0).identity
    with pytest.raises(InputError, match=r"build\.json: seed is 0 there, and 1 in this build"):
        prepare(tmp_path, other, force=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    prepare(tmp_path, other, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]


def test_a_folder_is_marked_until_all_else_of_the_old_dataset_is_removed(tmp_path: Path, monkeypatch):
    """A folder without build.json that holds shards would be taken for somebody's own."""
    build(SPEC, tmp_path, train=1000, test=0)
    unlink = Path.unlink

    def remove(self: Path, missing_ok: bool = False) -> None:
        if self.name == "train.h5":
            fail(self)
        unlink(self, missing_ok)

    other = make_config(SPEC, seed=1, train=1000, test=0).identity
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", remove)
        with pytest.raises(OSError, match="Input/output error"):
            prepare(tmp_path, other, force=True)
    assert {"build.json", "train.h5"} <= {path.name for path in tmp_path.iterdir()} - {"manifest.json"}
    prepare(tmp_path, other, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]


@pytest.mark.parametrize(("compression", "packed"), [("none", 1), ("gzip", 4)])
def test_a_build_needs_the_space_of_its_images(tmp_path: Path, monkeypatch, compression, packed):
    config = make_config(SPEC, train=1000, test=0, compression=compression)
    needed = 1000 * config.form.sample_bytes // packed
    for free in (needed, needed - 1):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if free < needed:
            with pytest.raises(InputError, match=r"MNIST-II-01 needs about [^\n]+ free\Z"):
                check_space(tmp_path / "x", config)
        else:
            check_space(tmp_path / "x", config)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "train-00000-of-00001.h5").write_bytes(b"1")  # the byte that was missing is there already
    check_space(tmp_path / "x", config)


def fail(_: Path) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_disk_that_says_nothing_is_told_in_one_line(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", fail)
    with pytest.raises(BuildError, match=r"cannot use: Input/output error\Z"):
        check_space(tmp_path / "x", make_config(SPEC, train=1000, test=0))


def test_a_folder_that_says_nothing_is_told_in_one_line(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(BuildError, match=r"cannot use: Input/output error\Z"):
        check_folder(tmp_path, {}, force=False)


def test_a_config_does_not_replace_another_dataset_unless_told_to(tmp_path: Path):
    build(SPEC, tmp_path, train=1000, test=0)
    other = make_config(SPEC, seed=1, train=1000, test=0)
    with pytest.raises(InputError, match=r"build\.json: seed is 0 there, and 1 in this build"):
        build_config(other, tmp_path)
    assert build_config(other, tmp_path, force=True).made == 1


def test_as_many_cores_as_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", {0: {1, 4, 5}}.get, raising=False)  # 0 is this process
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_the_times_of_a_report_are_parts_of_the_whole(tmp_path: Path):
    begun = perf_counter()
    report = build(SPEC, tmp_path, train=1000, test=0)
    assert report.startup_seconds > 0
    assert report.render_seconds > 0
    assert report.startup_seconds + report.render_seconds <= report.seconds <= perf_counter() - begun
