"""Builds that are killed, starved and disturbed: the same bytes after the same command, or one line.

pytest tests/faults --faults full      # hundreds of trials a fault, some minutes each
"""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from clusters import Cluster
from disk import read_only
from waiting import until

from mnistcompose import BuildError, InputError, build, load_spec, verify
from mnistcompose.building import build as builder
from mnistcompose.building import folder
from mnistcompose.storage.locks import locked
from mnistcompose.storage.manifest import MANIFEST, ShardEntry, read_manifest

SPEC = load_spec("MNIST-III-10")
COUNTS = {"train": 60_000, "test": 2000}
CLI = (sys.executable, "-c", "from mnistcompose.cli import main; raise SystemExit(main())")
COMMAND = (*CLI, "build", SPEC.name, "--shard-size", "1000", *(f"--{k}={v}" for k, v in COUNTS.items()))


def hashes(root: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, str]:
    """Hashes of the files of the undisturbed dataset."""
    root = tmp_path_factory.mktemp("whole") / "x"
    build(SPEC, root, shard_size=1000, **COUNTS)
    return hashes(root)


def error_of_build(root: Path, **counts: int) -> str:
    """What a build says that fails; nothing if it does not."""
    try:
        build(SPEC, root, shard_size=1000, **counts)
    except (InputError, BuildError) as error:
        return str(error)
    return ""


def again(root: Path, whole: dict[str, str]) -> None:
    """The same build, undisturbed, must give the same bytes."""
    build(SPEC, root, shard_size=1000, **COUNTS)
    assert hashes(root) == whole
    shutil.rmtree(root)


def start(root: Path, *options: str, **keywords) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--out", str(root), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **keywords,
    )


def wait_until_begun(process: subprocess.Popen[str], root: Path, random: Random) -> None:
    """Until a random shard is there, and a random moment longer; a tenth of the trials end before anything is."""
    if random.random() < 0.1:
        time.sleep(random.uniform(0, 1))
        return
    wanted = random.randrange(60)
    until(lambda: process.poll() is not None or len(list(root.glob("*-of-*.h5"))) > wanted)
    time.sleep(random.uniform(0, 0.05))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_signals(trials, whole, tmp_path, number):
    for _, random in trials(f"{number.name} at a random moment", 2, 200 if number == signal.SIGKILL else 50):
        root = tmp_path / "x"
        process = start(root)
        wait_until_begun(process, root, random)
        sent = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        took = time.monotonic() - sent
        if process.returncode and number != signal.SIGKILL and "mnistcompose" in err:
            assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
            assert err.strip().count("\n") == 0, err
            assert took < 10  # under two seconds where the machine does nothing else; what it took is printed
            assert not list(root.glob("*.tmp"))
            print(f"{number.name}: ended after {took:.2f} s")
        again(root, whole)


def test_a_killed_client_of_a_cluster(trials, whole, tmp_path):
    found = Cluster(tmp_path)
    try:
        for _ in range(3):
            found.add_worker()
        found.ready(3)
        for _, random in trials("SIGKILL of a build on Dask", 1, 20):
            root = tmp_path / "x"
            process = start(root, "--scheduler", found.address)
            wait_until_begun(process, root, random)
            process.kill()
            process.communicate(timeout=20)
            build_when_free(root, whole)
    finally:
        found.stop()


def build_when_free(root: Path, whole: dict[str, str]) -> None:
    """Build; what the dead client's workers were still writing ends meanwhile, with the same bytes."""
    build(SPEC, root, shard_size=1000, **COUNTS)
    found = {name: digest for name, digest in hashes(root).items() if not name.endswith(".tmp")}
    assert found == whole
    until(lambda: not list(root.glob("*.tmp")))
    assert verify(root).ok
    shutil.rmtree(root)


# --- disks ----------------------------------------------------------------------------------------------------------


def test_a_file_that_may_not_grow(trials, whole, tmp_path):
    """A disk that is full, as far as one file can tell: EFBIG."""
    for _, random in trials("file size limit at random", 2, 50):
        root, size = tmp_path / "x", random.randrange(1, 1_000_000)

        def limit(size=size) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        process = start(root, preexec_fn=limit)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 1), err
        if process.returncode:
            assert err.count("\n") == 1, err
            assert str(root) in err or "numba" in err
        if root.exists():
            assert not list(root.glob("*.tmp"))
        again(root, whole)


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO"])
def test_a_write_that_fails(trials, whole, tmp_path, monkeypatch, name):
    """The system refuses a random one of the calls that write."""
    import errno

    number = getattr(errno, name)
    for _, random in trials(f"{name} at a random write", 2, 50):
        root, fatal, calls = tmp_path / "x", random.randrange(130), iter(range(10**6))
        plain = os.fsync

        def fsync(descriptor: int, plain=plain, fatal=fatal, calls=calls) -> None:
            if next(calls) >= fatal:
                raise OSError(number, os.strerror(number))
            plain(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            told = error_of_build(root, **COUNTS)
        assert not told or (os.strerror(number) in told and str(root) in told and "\n" not in told)
        assert not list(root.glob("*.tmp"))
        again(root, whole)


def test_a_small_disk(trials, tmp_path):
    """A file system that is really full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    counts = {"train": 10_000, "test": 1000}
    try:
        for _, random in trials("full tmpfs at random", 2, 30):
            root, ballast = disk / "x", disk / "ballast"
            ballast.write_bytes(bytes(random.randrange(10_500_000, 20_500_000)))
            told = error_of_build(root, **counts)
            assert not told or (str(root) in told and "\n" not in told)
            ballast.unlink()
            assert not list(root.glob("*.tmp")) if root.exists() else True
            build(SPEC, root, shard_size=1000, **counts)
            assert verify(root).ok
            shutil.rmtree(root)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_a_folder_that_cannot_be_written(tmp_path):
    place = tmp_path / "locked"
    place.mkdir()
    place.chmod(0o500)
    try:
        if os.access(place, os.W_OK):
            pytest.skip("permissions do not bind this user")
        with pytest.raises(BuildError, match="cannot write: Permission denied"):
            build(SPEC, place / "x", train=1000, test=0)
    finally:
        place.chmod(0o700)


def test_a_read_only_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        with pytest.raises(BuildError, match=f"{disk}.*Read-only file system"):
            build(SPEC, disk / "x", train=1000, test=0)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_what_is_whole_can_be_built_again_where_nothing_can_be_written(tmp_path):
    root, size = tmp_path / "x", {"train": 2000, "test": 1000}
    made = build(SPEC, root, shard_size=1000, **size)
    seen: list[int] = []
    with read_only(root):
        again = build(SPEC, root, shard_size=1000, progress=seen.append, **size)
        assert (again.made, again.kept, again.digests, again.bytes) == (0, 3, made.digests, made.bytes)
        assert seen == [1000] * 3
        with pytest.raises(InputError, match="train is 2000 there, and 3000"):
            build(SPEC, root, shard_size=1000, train=3000, test=1000)
        with pytest.raises(BuildError, match="cannot write"):
            build(SPEC, root, shard_size=1000, train=3000, test=1000, force=True)
    for lost in ("train-00001-of-00002.h5", "test.h5", MANIFEST):
        content = (root / lost).read_bytes()
        (root / lost).write_bytes(content[:-1] + b"?")
        with read_only(root), pytest.raises(BuildError, match="cannot write"):
            build(SPEC, root, shard_size=1000, **size)
        (root / lost).write_bytes(content)


def test_a_lock_that_cannot_be_made_is_told_in_one_line(tmp_path):
    tmp_path.joinpath("x").mkdir()
    told = r"\A[^\n]+x.lock: cannot write: [^\n]+\Z"
    with read_only(tmp_path / "x"), pytest.raises(BuildError, match=told), locked(tmp_path / "x" / "x.lock", "busy"):
        pass


def test_a_folder_that_is_deleted_meanwhile(trials, whole, tmp_path):
    for _, random in trials("folder deleted under the build", 2, 50):
        root = tmp_path / "x"
        process = start(root)
        wait_until_begun(process, root, random)
        shutil.rmtree(root, ignore_errors=True)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 1), err
        if process.returncode:
            assert err.count("\n") == 1, err
            assert str(root) in err
        if told := error_of_build(root, **COUNTS):  # some of the files are gone, and the mark among them
            assert f"{root}: holds" in told
            shutil.rmtree(root)
        again(root, whole)


# --- others ---------------------------------------------------------------------------------------------------------


def test_two_builders_at_once(trials, whole, tmp_path):
    for _, random in trials("two builders on one folder", 2, 20):
        root = tmp_path / "x"
        first = start(root)
        time.sleep(random.uniform(0, 2))
        second = start(root)
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in (first, second)]
        assert 0 in {code for _, code in ends}, ends
        for err, code in ends:
            assert code == 0 or (code == 1 and "another build is writing to it" in err), ends
        again(root, whole)


def test_the_lock_of_a_dead_process(trials, whole, tmp_path):
    for _, random in trials("stale lock", 2, 20):
        root = tmp_path / "x"
        root.mkdir()
        (root / folder.LOCK).write_bytes(random.randbytes(random.randrange(20)))
        again(root, whole)


def test_a_clock_that_jumps(trials, whole, tmp_path, monkeypatch):
    """The clock that a build reads, and the times of its files, from before 1970 until 2096."""
    for _, random in trials("clock jumps", 2, 20):
        root, read = tmp_path / "x", []

        def clock(random=random, read=read) -> float:
            read.append(random.uniform(-1e9, 4e9))
            return read[-1]

        size = {"train": random.randrange(1, 3) * 1000, "test": 0, "shard_size": 1000}
        with monkeypatch.context() as patch:
            patch.setattr(builder, "perf_counter", clock)
            report = build(SPEC, root, **size)
            assert len(read) >= 4  # or the test would patch a clock that nobody reads
            (root / MANIFEST).unlink()
            notes = [shard.model_dump_json() for shard in report_shards(tmp_path / "sound", size)]
            (root / "journal.jsonl").write_text("\n".join(notes))
            for path in root.iterdir():
                os.utime(path, (random.uniform(-1e9, 4e9),) * 2)
            again_there = build(SPEC, root, **size)
        assert (again_there.made, again_there.kept) == (0, report.made)
        assert again_there.digests == report.digests
        assert verify(root).ok
        shutil.rmtree(root)
        if random.random() < 0.2:
            again(root, whole)


def report_shards(root: Path, size: dict[str, int]) -> list[ShardEntry]:
    """What the manifest of an undisturbed dataset of this size says of its shards."""
    build(SPEC, root, **size)
    shards = read_manifest(root).splits["train"].shards
    shutil.rmtree(root)
    return shards


def test_nothing_is_kept_that_was_not_written(trials, tmp_path, monkeypatch):
    """A shard that a crash left half written, under its own name and noted, is made again."""
    size = {"train": 5000, "test": 1000, "shard_size": 1000}
    build(SPEC, tmp_path / "whole", **size)
    expected = hashes(tmp_path / "whole")
    for _, random in trials("half-written shard under its own name", 5, 200):
        root = shutil.copytree(tmp_path / "whole", tmp_path / "x")
        shard = root / random.choice([name for name in expected if "-of-" in name])
        content = shard.read_bytes()
        shard.write_bytes(content[: random.randrange(len(content))])
        if random.random() < 0.5:
            (root / MANIFEST).unlink()
        build(SPEC, root, **size)
        assert hashes(root) == expected
        shutil.rmtree(root)
