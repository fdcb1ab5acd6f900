import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mnistcompose import BuildError, build, load_spec, verify
from mnistcompose.exporting.export import export
from mnistcompose.storage import locks
from mnistcompose.storage.locks import LockedError, locked

SIZE = {"train": 1000, "test": 0}
CLI = (sys.executable, "-c", "from mnistcompose.cli import main; raise SystemExit(main())")


def test_who_holds_the_lock_is_told(tmp_path: Path):
    path = tmp_path / "x.lock"
    told = rf"\Abusy \(process {os.getpid()} on [^\n]+\)\Z"
    with locked(path, "busy"), pytest.raises(LockedError, match=told), locked(path, "busy"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(params=["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def no_locks(request, monkeypatch) -> str:
    """A file system without locks, as NFS without lockd and Lustre are."""
    fcntl = pytest.importorskip("fcntl")
    number = getattr(errno, request.param)

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "TRUE")
    return request.param


def test_without_locks_datasets_are_built_read_and_exported(no_locks, tmp_path: Path):
    root = tmp_path / "x"
    with pytest.warns(
        UserWarning, match=r"x: the file system has no locks; \.lock\.soft takes their place[^\n]+\Z"
    ) as told:
        build(load_spec("MNIST-II-01"), root, **SIZE)
    assert told[0].filename == __file__
    assert sorted(path.name for path in root.iterdir()) == [
        *("build.json", "manifest.json", "test.h5", "train-00000-of-00001.h5", "train.h5")
    ]
    assert verify(root).ok
    with pytest.warns(UserWarning, match="no locks") as told:
        export(root, tmp_path / "npz", "npz")
    assert told[0].filename == __file__
    assert sorted(path.name for path in tmp_path.iterdir()) == ["npz", "x"]


@pytest.mark.filterwarnings("ignore:.*no locks")
def test_without_locks_there_is_still_one_builder(no_locks, tmp_path: Path):
    told = []

    def again(_: int) -> None:
        with pytest.raises(BuildError) as caught:
            build(load_spec("MNIST-II-01"), tmp_path, **SIZE)
        told.append(str(caught.value))

    build(load_spec("MNIST-II-01"), tmp_path, progress=again, **SIZE)
    assert len(told) == 1
    assert "another build is writing to it (process" in told[0]
    assert f"remove {tmp_path / '.lock.soft'}" in told[0]


_HOLD = """
import fcntl, os, sys
from pathlib import Path
def flock(*_): raise OSError(37, "No locks available")
if sys.argv[2] == "soft": fcntl.flock = flock
from mnistcompose.storage.locks import locked
with locked(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    os._exit(9)
"""


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.filterwarnings("ignore:.*no locks")
def test_a_lock_ends_with_its_process(request, tmp_path: Path, kind):
    pytest.importorskip("fcntl")
    path = tmp_path / "x.lock"
    done = subprocess.run([sys.executable, "-c", _HOLD, path, kind], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (9, "held\n"), done.stderr
    if kind == "soft":
        assert (tmp_path / "x.lock.soft").exists()
        request.getfixturevalue("monkeypatch").setattr("fcntl.flock", _fails)
    with locked(path, "busy"):
        pass
    assert list(tmp_path.iterdir()) == []


def _fails(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.filterwarnings("error")
def test_other_errors_of_locking_are_not_hidden(tmp_path: Path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(BuildError, match=r"x\.lock: cannot write: Input/output"), locked(tmp_path / "x.lock", "busy"):
        pass


@pytest.fixture(params=["hard", "soft"])
def either(request, monkeypatch) -> str:
    """A file system with locks, and one without."""
    if request.param == "soft":
        pytest.importorskip("fcntl")
        monkeypatch.setattr("fcntl.flock", _fails)
    return request.param


@pytest.mark.filterwarnings("ignore:.*no locks")
def test_a_lock_that_is_held_is_refused_without_waiting(either, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(time, "sleep", None)
    with locked(tmp_path / "x", "busy"), pytest.raises(LockedError, match="busy"), locked(tmp_path / "x", "busy"):
        pass


@pytest.mark.filterwarnings("ignore:.*no locks")
def test_who_waits_has_the_lock_when_it_is_free_and_no_sooner(either, tmp_path: Path):
    events = []

    def wait() -> None:
        with locked(tmp_path / "x", "busy", wait=True):
            events.append("second")

    second = threading.Thread(target=wait)
    with locked(tmp_path / "x", "busy"):
        second.start()
        second.join(1.5)  # longer than any short timeout
        events.append("first")
    second.join(60)
    assert events == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*no locks")
@pytest.mark.parametrize("content", [b"", b"one line", b"\xff\xfe"])
def test_a_lock_that_does_not_say_who_holds_it_is_refused_all_the_same(either, tmp_path: Path, content):
    path = tmp_path / "x"
    with locked(path, "busy"):
        next(tmp_path.iterdir()).write_bytes(content)
        with (
            pytest.raises(LockedError, match=r"busy(; if that process has ended, remove [^\n]+)?\Z"),
            locked(path, "busy"),
        ):
            pass


def test_a_lock_whose_file_cannot_be_written_or_read_is_a_lock(tmp_path: Path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", fail)
    monkeypatch.setattr(Path, "read_text", fail)
    with locked(tmp_path / "x", "busy"), pytest.raises(LockedError, match=r"busy\Z"), locked(tmp_path / "x", "busy"):
        pass


@pytest.mark.filterwarnings("ignore:.*no locks")
def test_a_long_wait_is_told_once_and_names_who_is_waited_for(either, tmp_path: Path, monkeypatch, caplog):
    """Where a process on another machine has died, it would last for ever without a word."""
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    refused = []

    def wait() -> None:
        with locked(tmp_path / "x", "busy", wait=True):
            with pytest.raises(LockedError), locked(tmp_path / "x", "busy"):
                pass
            refused.append("a third")

    second = threading.Thread(target=wait)
    with locked(tmp_path / "x", "busy"):
        second.start()
        second.join(1.2)
        told = [record.getMessage() for record in caplog.records]
        assert second.is_alive()
        assert not refused
    second.join(60)
    assert refused == ["a third"]
    assert len(told) == 1
    assert told[0].startswith(f"busy (process {os.getpid()} on ")
    assert told[0].endswith("; waiting for it")
    assert ("remove" in told[0]) == (either == "soft")
    assert len(caplog.records) == 1
