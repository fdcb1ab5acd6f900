import errno
import hashlib
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
from disk import file_limit
from idx_files import digits as digit_images
from idx_files import mnist_like, write

from mnistcompose import (
    BuildError,
    InputError,
    build,
    draw,
    load_digits,
    load_spec,
    verify,
)
from mnistcompose.building import folder
from mnistcompose.building import verify as verification
from mnistcompose.cli import main
from mnistcompose.digits.bank import MNIST_LICENSE, OTHER_LICENSE
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.reading import parse_spec
from mnistcompose.storage.digests import block_digests, split_digest
from mnistcompose.storage.hdf5 import encode, read_shard
from mnistcompose.storage.manifest import manifest_bytes, read_manifest
from mnistcompose.storage.schema import COLUMNS, Shard

SPEC = load_spec("MNIST-III-10")
COUNTS = {"train": 2300, "test": 1000}
CLI = (sys.executable, "-c", "from mnistcompose.cli import main; raise SystemExit(main())")


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


def temporary(root: Path) -> list[Path]:
    return [*root.glob("*.tmp"), *root.glob(folder.LOCK)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A small dataset of four shards; tests copy it."""
    root = tmp_path_factory.mktemp("finished") / "dataset"
    build(SPEC, root, shard_size=1000, **COUNTS)
    return root


@pytest.fixture
def dataset(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "dataset")


def digests(root: Path) -> dict[str, str]:
    return {split: entry.digest for split, entry in read_manifest(root).splits.items()}


# --- what is built --------------------------------------------------------------------------------------------------


def test_a_dataset_is_what_the_manifest_says(finished: Path):
    manifest = read_manifest(finished)
    assert set(contents(finished)) == {
        *(f"train-{index:05d}-of-00003.h5" for index in range(3)),
        *("test-00000-of-00001.h5", "train.h5", "test.h5", "manifest.json", "build.json"),
    }
    assert "CC BY-SA 3.0" in manifest.license
    assert "MNIST" in manifest.license
    assert manifest.spec["name"] == SPEC.name
    assert (manifest.spec_digest, manifest.seed, manifest.classes) == (SPEC.digest, 0, 10)
    for split, count in COUNTS.items():
        entry = manifest.splits[split]
        assert entry.count == count
        with h5py.File(finished / f"{split}.h5") as file:
            content = [
                file["images"][a : a + 1000].tobytes() + file["labels"][a : a + 1000].astype("<i8").tobytes()
                for a in range(0, count, 1000)
            ]
        assert entry.digest == split_digest(hashlib.sha256(block).hexdigest() for block in content)


@pytest.mark.parametrize("split", COUNTS)
def test_labels_and_factors_are_those_drawn(finished: Path, split: str):
    bank = load_digits(split)
    draws = draw(SPEC, split, 0, COUNTS[split], 0, bank)
    with h5py.File(finished / f"{split}.h5") as file:
        digits = bank.labels[file["source_index"][...]]
        assert np.array_equal(file["source_index"], draws.source)
        assert np.array_equal(file["digits"], digits)
        assert np.array_equal(file["labels"], digits.astype(int) @ [100, 10, 1])
        assert np.array_equal(file["center"][...] * 4096, draws.center)
        assert np.array_equal(file["scale"][...] * 4096, draws.scale)
        assert np.array_equal(file["rotation"][...] * 256, draws.rotation)
        assert np.array_equal(file["flip"], draws.flip)
        boxes = file["box"][...]
    assert (boxes[..., :2] < boxes[..., 2:]).all()
    assert boxes.min() >= 0
    assert boxes.max() <= 28


@pytest.mark.parametrize(
    ("shard_size", "workers", "compression"),
    [(1000, 3, "gzip"), (2000, 1, "none"), (2000, 2, "gzip"), (100_000, 2, "none")],
)
def test_images_do_not_depend_on_how_they_are_made(finished: Path, tmp_path: Path, shard_size, workers, compression):
    report = build(SPEC, tmp_path, shard_size=shard_size, workers=workers, compression=compression, **COUNTS)
    assert report.digests == digests(finished)
    assert verify(tmp_path, rerender=50).ok


def test_the_same_build_gives_the_same_files(finished: Path, tmp_path: Path):
    build(SPEC, tmp_path, shard_size=1000, workers=2, **COUNTS)
    assert contents(tmp_path) == contents(finished)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_make_the_same_files(finished: Path, tmp_path: Path, method: str):
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as executor:
        build(SPEC, tmp_path, shard_size=1000, executor=executor, **COUNTS)
    assert contents(tmp_path) == contents(finished)


def test_a_worker_that_dies_ends_the_build_which_resumes(finished: Path, tmp_path: Path):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        executor.submit(os._exit, 1)
        with pytest.raises(BuildError, match=r"a worker died .*; run the same command again to resume"):
            build(SPEC, tmp_path, shard_size=1000, executor=executor, **COUNTS)
    build(SPEC, tmp_path, shard_size=1000, **COUNTS)
    assert contents(tmp_path) == contents(finished)


def test_fewer_images_are_a_prefix(finished: Path, tmp_path: Path):
    build(SPEC, tmp_path, train=300, test=0)
    with h5py.File(tmp_path / "train.h5") as few, h5py.File(finished / "train.h5") as many:
        assert np.array_equal(few["images"], many["images"][:300])
    assert read_manifest(tmp_path).splits["test"].count == 0
    assert verify(tmp_path, rerender=-1).rendered == 300


def test_seeds_and_splits_differ(finished: Path, tmp_path: Path):
    report = build(SPEC, tmp_path, seed=2**63 - 1, **COUNTS)
    assert report.digests["train"] != digests(finished)["train"]
    assert report.digests["train"] != report.digests["test"]
    assert verify(tmp_path, rerender=200).ok


def test_a_layout_is_kept_whole(tmp_path: Path):
    spec = parse_spec(
        "name: x\ndigit: {flip: horizontal, scale: 2.0}\n"
        "slots: [{center: [0, 0], flip: none, scale: 1.0}, {center: [2, 0]}]"
    )
    build(spec, tmp_path, train=100, test=0)
    assert LayoutSpec.model_validate_json(json.dumps(read_manifest(tmp_path).spec)).canonical == spec.canonical
    assert verify(tmp_path, rerender=-1).ok


def test_progress_and_report_count_every_image(tmp_path: Path):
    done: list[int] = []
    first = build(SPEC, tmp_path, shard_size=1000, progress=done.append, **COUNTS)
    assert sorted(done) == [300, 1000, 1000, 1000]
    assert (first.made, first.kept) == (4, 0)
    assert first.bytes == sum(path.stat().st_size for path in tmp_path.glob("*-of-*.h5"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = build(SPEC, tmp_path, shard_size=1000, progress=done.append, **COUNTS)
    assert sum(done) == 2 * 3300
    assert (again.made, again.kept, again.digests) == (0, 4, first.digests)
    assert again.images_per_second == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


# --- other digits ---------------------------------------------------------------------------------------------------


def write_digits(folder: Path, classes: int, seed: int = 0, images: int = 50) -> Path:
    folder.mkdir(parents=True)
    for part, count in (("train", images), ("t10k", 30)):
        pixels = np.random.default_rng(seed).integers(40, 256, (count, 20, 16), np.uint8)
        labels = (np.arange(count) % classes).astype(np.uint8)
        header = bytes([0, 0, 8, 3]) + np.array(pixels.shape, ">u4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = bytes([0, 0, 8, 1]) + np.array(labels.shape, ">u4").tobytes()
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return folder


def test_a_set_of_other_classes_sets_the_label_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    digits = write_digits(tmp_path / "digits", 12)
    root = tmp_path / "dataset"
    build(SPEC, root, train=500, test=100, digits=digits)
    with h5py.File(root / "train.h5") as file:
        assert np.array_equal(file["labels"], file["digits"][...].astype(int) @ [144, 12, 1])
        assert file["labels"][...].max() > 999
    manifest = read_manifest(root)
    assert manifest.classes == 12
    assert "MNIST" not in manifest.license
    assert verify(root, digits=digits, rerender=-1).ok
    assert [verify(root, digits=each).drawn for each in (digits, None)] == [True, False]
    assert verify(root).ok
    main(["verify", str(root)])
    assert "random choices not compared: give the digit set (--digits)" in capsys.readouterr().out
    with pytest.raises(InputError, match="another digit set"):
        verify(root, rerender=1)
    other = write_digits(tmp_path / "other", 12, seed=1)
    with pytest.raises(InputError, match="digits_digest is"):
        build(SPEC, root, train=500, test=100, digits=other)


def test_labels_of_more_than_64_bits_are_refused(tmp_path: Path):
    slots = ", ".join(f"{{center: [{index}, 0]}}" for index in range(9))
    spec = parse_spec(f"name: x\nslots: [{slots}]")
    few = write_digits(tmp_path / "few", 128, images=128)
    build(spec, tmp_path / "fine", train=50, test=0, digits=few)
    with h5py.File(tmp_path / "fine" / "train.h5") as file:
        numbers = [sum(int(d) * 128 ** (8 - slot) for slot, d in enumerate(row)) for row in file["digits"]]
        assert file["labels"][...].tolist() == numbers
    many = write_digits(tmp_path / "many", 129, images=129)
    with pytest.raises(InputError, match="64 bits"):
        build(spec, tmp_path / "none", train=50, test=0, digits=many)
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="64 bits"):
        draw(spec, "train", 0, 1, 0, load_digits("train", many))


def test_each_splits_digits_are_checked_before_anything_is_written(tmp_path: Path):
    """Test images without a 9 cannot be balanced, although training images can."""
    digits = write_digits(tmp_path / "digits", 10)
    labels = digits / "t10k-labels-idx1-ubyte"
    content = bytearray(labels.read_bytes())
    content[8:] = bytes(label % 9 for label in content[8:])
    labels.write_bytes(content)
    spec = parse_spec("name: x\nslots: [{center: [0, 0]}]\nnumbers: {weights: balanced}")
    with pytest.raises(InputError, match="the digit 9 has no image in the test split"):
        build(spec, tmp_path / "x", train=50, test=20, digits=digits)
    assert not (tmp_path / "x").exists()
    assert build(spec, tmp_path / "x", train=50, test=0, digits=digits).made == 1


# --- what is refused ------------------------------------------------------------------------------------------------

REFUSED = {
    "seed": ({"seed": -1}, r"seed = -1: allowed are 0 to"),
    "large seed": ({"seed": 2**63}, r"seed = "),
    "train": ({"train": -1}, r"train = -1"),
    "nothing": ({"train": 0, "test": 0}, r"nothing to build"),
    "shard size": ({"shard_size": 1500}, r"shard_size = 1500: .* multiples of 1000"),
    "shard size 0": ({"shard_size": 0}, r"shard_size = 0"),
    "large shards": ({"shard_size": 101_000}, r"up to 100000"),
    "workers": ({"workers": 0}, r"workers = 0"),
    "compression": ({"compression": "zstd"}, r"compression = 'zstd': allowed are none and gzip"),
    "disk": ({"train": 10**12}, r"needs about 906 TB, the disk has .* free"),
    "compressed": ({"train": 10**12, "compression": "gzip"}, r"needs about 227 TB"),
    "digits": ({"digits": Path("/nowhere")}, r"/nowhere: not a folder"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_and_nothing_written(tmp_path: Path, options: dict, message: str):
    with pytest.raises(InputError, match=rf"\A[^\n]*{message}[^\n]*\Z"):
        build(SPEC, tmp_path / "below" / "dataset", **options)
    assert list(tmp_path.iterdir()) == []


LAYOUT = SPEC.model_dump(mode="json", exclude_unset=True)
CHANGES = {
    "seed": ({"seed": 1}, "seed is 0 there, and 1 in this build"),
    "train": ({"train": 2301}, "train is 2300 there, and 2301 in this build"),
    "shard size": ({"shard_size": 2000}, "shard_size is 1000 there, and 2000"),
    "compression": ({"compression": "gzip"}, 'compression is "none" there, and "gzip"'),
    "spec": ({"spec": load_spec("MNIST-III-09")}, 'spec.name is "MNIST-III-10" there, and "MNIST-III-09"'),
    "composite": (
        {"spec": parse_spec(json.dumps({**LAYOUT, "composite": "add"}))},
        'spec.composite is unset there, and "add"',
    ),
    "slots": (
        {"spec": parse_spec(json.dumps({**LAYOUT, "slots": LAYOUT["slots"][:2]}))},
        "spec.slots is [{",
    ),
    "one slot": (
        {"spec": parse_spec(json.dumps({**LAYOUT, "slots": [*LAYOUT["slots"][:2], {"center": [9.5, 0.0]}]}))},
        "spec.slots[2].center[0] is ",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_folder_of_another_build_is_refused_unless_forced(dataset: Path, change: dict, message: str):
    before = contents(dataset)
    options = {"spec": SPEC, "shard_size": 1000, **COUNTS, **change}
    spec = options.pop("spec")
    with pytest.raises(InputError) as caught:
        build(spec, dataset, **options)
    assert message in str(caught.value)
    assert "build.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(dataset) == before

    (dataset / "notes.txt").write_text("mine")
    (dataset / "train-images.h5").write_text("mine")
    build(spec, dataset, force=True, **options)
    assert (dataset / "notes.txt").read_text() == "mine"
    (dataset / "train-images.h5").unlink()
    report = verify(dataset, rerender=100)
    assert report.ok, report.problems
    assert len(list(dataset.glob("*-of-*.h5"))) == sum(len(s.shards) for s in read_manifest(dataset).splits.values())


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, force: bool):
    (tmp_path / "train.h5").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'train\.h5' and no dataset"):
        build(SPEC, tmp_path, force=force, **COUNTS)
    assert contents(tmp_path) == {"train.h5": b"mine"}


def test_an_empty_folder_and_an_interrupted_start_are_fine(tmp_path: Path):
    (tmp_path / ".lock").touch()
    (tmp_path / "build.json.0123abcd.tmp").write_text("{")
    build(SPEC, tmp_path, train=10, test=0)
    assert temporary(tmp_path) == []


def test_a_damaged_mark_needs_force(dataset: Path):
    (dataset / "build.json").write_text("{")
    with pytest.raises(InputError, match=r"build\.json: damaged"):
        build(SPEC, dataset, shard_size=1000, **COUNTS)
    assert build(SPEC, dataset, shard_size=1000, force=True, **COUNTS).made == 4
    (dataset / "build.json").unlink()
    (dataset / "build.json").mkdir()
    with pytest.raises(BuildError, match=r"build\.json: cannot read: Is a directory\Z"):
        build(SPEC, dataset, shard_size=1000, **COUNTS)


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(InputError, match="file: a file"):
        build(SPEC, path, **COUNTS)
    with pytest.raises(InputError, match=r"\A[^\n]*below: [^\n]*file is a file; give a folder[^\n]*\Z"):
        build(SPEC, path / "below", **COUNTS)
    assert path.read_text() == "mine"


# --- interruptions --------------------------------------------------------------------------------------------------


def test_a_full_disk_gives_one_line_and_the_build_goes_on_later(finished: Path, tmp_path: Path):
    size = (finished / "train-00002-of-00003.h5").stat().st_size
    with file_limit(size), pytest.raises(BuildError, match=r"\A[^\n]*\.h5: cannot write: File too large\Z"):
        build(SPEC, tmp_path, shard_size=1000, **COUNTS)
    assert temporary(tmp_path) == []
    assert not (tmp_path / "manifest.json").exists()
    build(SPEC, tmp_path, shard_size=1000, **COUNTS)
    assert contents(tmp_path) == contents(finished)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_was_made_before_an_error_is_kept(finished: Path, tmp_path: Path, error: type[BaseException]):
    def fail(_: int) -> None:
        raise error

    with pytest.raises(error):
        build(SPEC, tmp_path, shard_size=1000, workers=1, progress=fail, **COUNTS)
    assert temporary(tmp_path) == []
    made = len(list(tmp_path.glob("*-of-*.h5")))
    assert 1 <= made < 4
    report = build(SPEC, tmp_path, shard_size=1000, **COUNTS)
    assert report.kept == made
    assert contents(tmp_path) == contents(finished)


@pytest.mark.parametrize("loss", ["journal", "torn", "garbage", "shard", "flip", "no shard", "other place"])
def test_only_shards_that_are_noted_and_intact_are_kept(dataset: Path, finished: Path, loss: str):
    shards = [shard for split in read_manifest(dataset).splits.values() for shard in split.shards]
    lines = [shard.model_dump_json().encode() for shard in shards]
    (dataset / "manifest.json").unlink()
    journal = dataset / "journal.jsonl"
    match loss:
        case "journal":
            kept = 0
        case "torn":
            journal.write_bytes(b"\n".join(lines)[:-40])
            kept = 3
        case "garbage":
            journal.write_bytes(b"\xff\x00\n{}\n[]\n" + lines[1])
            kept = 1
        case "shard" | "flip":
            journal.write_bytes(b"\n".join(lines))
            path = dataset / shards[0].name
            content = bytearray(path.read_bytes())
            content[3000] ^= 1
            path.write_bytes(content) if loss == "flip" else path.unlink()
            kept = 3
        case "no shard" | "other place":
            change: dict[str, object] = {"first": 1000}
            if loss == "no shard":  # a file that agrees with its note, and that no reader takes
                (dataset / shards[0].name).write_bytes(b"no HDF5")
                change = {"sha256": hashlib.sha256(b"no HDF5").hexdigest(), "bytes": 7}
            lines[0] = shards[0].model_copy(update=change).model_dump_json().encode()
            journal.write_bytes(b"\n".join(lines))
            kept = 3
    assert build(SPEC, dataset, shard_size=1000, **COUNTS).kept == kept
    assert contents(dataset) == contents(finished)


def test_a_finished_dataset_is_repaired(dataset: Path, finished: Path):
    (dataset / "test-00000-of-00001.h5").write_bytes(b"")
    (dataset / "train.h5").unlink()
    (dataset / "train-00001-of-00003.h5.0123abcd.tmp").write_bytes(b"")
    assert build(SPEC, dataset, shard_size=1000, **COUNTS).made == 1
    assert contents(dataset) == contents(finished)


def start(root: Path, train: int) -> subprocess.Popen:
    size = ("--train", str(train), "--test", "0", "--shard-size", "1000", "--workers", "2")
    command = [*CLI, "build", SPEC.name, "--out", str(root), *size]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(ready: Callable[[], bool], process: subprocess.Popen) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)


def noted(root: Path) -> int:
    journal = root / "journal.jsonl"
    return journal.read_bytes().count(b'"blocks"') if journal.exists() else 0


def test_a_shard_is_noted_in_the_journal_before_it_is_reported(tmp_path: Path):
    """So that a process that is killed at any moment loses nothing that it has reported."""
    notes: list[int] = []
    build(SPEC, tmp_path, shard_size=1000, progress=lambda _: notes.append(noted(tmp_path)), **COUNTS)
    assert notes == [1, 2, 3, 4]


def test_a_killed_build_goes_on(tmp_path: Path):
    """SIGKILL at random moments, each time further on; the result is that of a build in one go."""
    root, random = tmp_path / "killed", np.random.default_rng()
    for wanted in (0, 1, 12):
        process = start(root, 200_000)
        wait_for(lambda: (root / "build.json").exists() and noted(root) >= wanted, process)  # noqa: B023
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert not (root / "manifest.json").exists()
    before = noted(root)
    report = build(SPEC, root, train=200_000, test=0, shard_size=1000)
    assert 12 <= before <= report.kept < 200
    assert temporary(root) == []
    assert report.digests == build(SPEC, tmp_path / "whole", train=200_000, test=0, shard_size=1000).digests
    assert contents(root) == contents(tmp_path / "whole")


def test_ctrl_c_ends_in_one_line_and_leaves_nothing_unfinished(tmp_path: Path):
    root = tmp_path / "dataset"
    process = start(root, 1_000_000)  # seconds, so that it cannot end before the signal
    wait_for(lambda: noted(root) >= 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert len(errors.strip().splitlines()) == 1, errors
    assert temporary(root) == []
    made = len(list(root.glob("*-of-*.h5")))
    assert 1 <= made == noted(root) < 1000
    assert not (root / "manifest.json").exists()
    assert "missing" in verify(root).problems[0]


def test_a_second_builder_is_refused(tmp_path: Path, finished: Path):
    root = tmp_path / "dataset"
    refusals = []

    def again(_: int) -> None:
        with pytest.raises(BuildError, match="another build is writing to it"):
            build(SPEC, root, shard_size=1000, **COUNTS)
        refusals.append(1)

    build(SPEC, root, shard_size=1000, progress=again, **COUNTS)
    assert len(refusals) == 4
    assert contents(root) == contents(finished)


def test_a_second_process_is_refused_until_the_first_dies(tmp_path: Path):
    root = tmp_path / "dataset"
    process = start(root, 200_000)
    wait_for(lambda: noted(root) >= 1, process)
    second = start(root, 200_000)
    _, errors = second.communicate(timeout=20)
    assert process.poll() is None
    assert second.returncode == 1
    assert "another build is writing to it" in errors
    assert len(errors.splitlines()) == 1
    process.kill()
    process.communicate()
    with folder.folder_lock(root):
        assert (root / folder.LOCK).exists()
    assert not (root / folder.LOCK).exists()


def test_a_forked_worker_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path):
    code = """
import os, sys, time
from pathlib import Path
from mnistcompose.building import folder
with folder.folder_lock(Path(sys.argv[1])):
    child = os.fork()
    if not child:
        os.close(1)
        time.sleep(60)
        os._exit(0)
    os.write(1, str(child).encode())
    time.sleep(0.2)
    os._exit(0)
"""
    process = subprocess.run([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, check=True, timeout=50)
    child = int(process.stdout)
    try:
        os.kill(child, 0)
        with folder.folder_lock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_lock_is_of_the_file_that_is_there(tmp_path: Path):
    """A builder that gets hold of a lock file which its owner has just removed must not believe in it."""
    with folder.folder_lock(tmp_path):
        (tmp_path / folder.LOCK).unlink()
        with folder.folder_lock(tmp_path):
            assert (tmp_path / folder.LOCK).exists()


# --- verify ---------------------------------------------------------------------------------------------------------


def flip(path: Path, position: int = 5000) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_suffix(".x"))
    other.rename(one)
    one.with_suffix(".x").rename(other)


def link(path: Path) -> None:
    target = path.rename(path.parent.parent / path.name)
    path.symlink_to(target)


SHARD = "train-00001-of-00003.h5"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit": (lambda root: flip(root / SHARD), f"{SHARD}: damaged"),
    "first bit": (lambda root: flip(root / SHARD, 0), f"{SHARD}: damaged"),
    "virtual bit": (lambda root: flip(root / "test.h5"), "test.h5: damaged"),
    "truncated": (lambda root: os.truncate(root / SHARD, 100_000), f"{SHARD}: damaged"),
    "longer": (lambda root: (root / SHARD).open("ab").write(b"\0"), f"{SHARD}: damaged"),
    "empty": (lambda root: os.truncate(root / SHARD, 0), f"{SHARD}: damaged"),
    "missing": (lambda root: (root / SHARD).unlink(), f"{SHARD}: missing"),
    "virtual missing": (lambda root: (root / "train.h5").unlink(), "train.h5: missing"),
    "folder": (lambda root: [(root / SHARD).unlink(), (root / SHARD).mkdir()], f"{SHARD}: missing"),
    "swapped": (lambda root: swap(root / SHARD, root / "train-00000-of-00003.h5"), f"{SHARD}: damaged"),
    "link": (lambda root: link(root / SHARD), f"{SHARD}: a symbolic link"),
    "stranger": (lambda root: shutil.copy(root / SHARD, root / "train-00001-of-00004.h5"), "not in the manifest"),
    "manifest bit": (lambda root: flip(root / "manifest.json", 700), "manifest.json: damaged"),
    "no manifest": (lambda root: (root / "manifest.json").unlink(), "manifest.json: missing"),
}


def test_a_dataset_of_one_image_is_sound(tmp_path: Path):
    build(parse_spec("name: x\nslots: [{center: [0, 0]}]"), tmp_path, train=1, test=0)
    assert verify(tmp_path, rerender=-1).ok


def test_a_sound_dataset_has_no_problems(finished: Path):
    checked: list[int] = []
    report = verify(finished, rerender=120, progress=checked.append)
    assert report.ok
    assert (report.images, report.rendered, sum(checked)) == (3300, 120, 3300)
    assert verify(finished).rendered == 0
    with pytest.raises(InputError, match="rerender = -2: allowed are -1 or more"):
        verify(finished, rerender=-2)
    assert verify(finished, rerender=-1).rendered == 3300
    assert verify(finished, rerender=10**6).rendered == 3300


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_the_file_named(dataset: Path, damage: Callable[[Path], object], message: str):
    damage(dataset)
    report = verify(dataset, rerender=10)
    assert not report.ok
    assert message in "".join(report.problems)
    assert all("\n" not in problem for problem in report.problems)
    if message.startswith("manifest.json"):
        assert (report.images, report.rendered, report.published, report.digests) == (0, 0, False, {})


def forge(root: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change a shard, and make everything that is recorded of it agree."""
    manifest = read_manifest(root)
    train = manifest.splits["train"]
    entry = train.shards[1]
    shard = read_shard(root / entry.name, entry.sha256)
    arrays = {name: getattr(shard, name).copy() for name in COLUMNS}
    change(arrays)
    forged = b"".join(encode(Shard(**{**vars(shard), **arrays})))
    (root / entry.name).write_bytes(forged)
    blocks = list(block_digests(arrays["images"], arrays["labels"]))
    changed = {"sha256": hashlib.sha256(forged).hexdigest(), "bytes": len(forged), "blocks": blocks}
    entries = [train.shards[0], entry.model_copy(update=changed), train.shards[2]]
    digest = split_digest(block for each in entries for block in each.blocks)
    splits = manifest.splits | {"train": train.model_copy(update={"shards": entries, "digest": digest})}
    (root / "manifest.json").write_bytes(manifest_bytes(manifest.model_copy(update={"splits": splits})))


def edit(name: str, position: tuple[int, ...], amount: int) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][position] += amount

    return change


def put(name: str, position: tuple[int, ...], value: int) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: operator.setitem(arrays[name], position, value)


def redraw(arrays: dict[str, np.ndarray]) -> None:
    """Move all samples by one place: each is right, and none is where the seed puts it."""
    for array in arrays.values():
        array[:] = np.roll(array, 1, axis=0)


def relabel(arrays: dict[str, np.ndarray]) -> None:
    arrays["digits"][5, 2] = (arrays["digits"][5, 2] + 1) % 10
    arrays["labels"][5] = arrays["digits"][5].astype(int) @ [100, 10, 1]


FORGERIES = {
    "label": (edit("labels", (5,), 1), "label of sample 1005 is not the number that its digits make"),
    "digit": (relabel, "digits are not those of the source images"),
    "source": (put("source_index", (7, 1), 60_000), "source_index leaves 0..59999"),
    "no source": (put("source_index", (7, 1), -1), "source_index leaves 0..59999"),
    "center": (edit("center", (1, 2, 0), 1), "center of sample 1001 is not what the layout and the seed give"),
    "scale": (edit("scale", (999, 2), 1), "scale of sample 1999 is not what"),
    "rotation": (edit("rotation", (0, 0), 1), "rotation of sample 1000 is not what"),
    "flip": (edit("flip", (3, 1), 1), "flip of sample 1003 is not what"),
    "place": (redraw, "source_index of sample 1000 is not what"),
}


@pytest.mark.parametrize(("change", "message"), FORGERIES.values(), ids=FORGERIES)
def test_wrong_labels_and_factors_are_found_even_if_all_digests_agree(dataset: Path, change, message: str):
    forge(dataset, change)
    assert message in "".join(verify(dataset).problems)


@pytest.mark.parametrize(("name", "position"), [("images", (499, 14, 14)), ("box", (0, 0, 0))])
def test_rendering_again_finds_what_digests_cannot(dataset: Path, name: str, position: tuple[int, ...]):
    forge(dataset, edit(name, position, 1))
    assert verify(dataset).ok
    (problem,) = verify(dataset, rerender=-1).problems
    first = 1000 + position[0] // 50 * 50
    assert problem == (f"{dataset / SHARD}: {name} of samples {first}..{first + 49} differ from what the layout gives")


def test_a_part_that_is_rendered_again_is_spread_over_the_dataset(dataset: Path):
    """Every shard's first runs alone would miss what happened later."""
    manifest = read_manifest(dataset)
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    chosen = verification._chosen(shards, 600, manifest)
    assert set(chosen) == {shard.name for shard in shards}
    assert sum(stop - start for runs in chosen.values() for start, stop in runs) == 600
    assert verification._chosen(shards, 600, manifest) == chosen


def test_shards_of_another_dataset_are_found(dataset: Path, tmp_path: Path):
    other = tmp_path / "other"
    build(SPEC, other, seed=1, shard_size=1000, **COUNTS)
    shutil.copy(other / SHARD, dataset / SHARD)
    assert "damaged" in "".join(verify(dataset).problems)
    manifest = read_manifest(other).model_copy(update={"seed": 0})
    (other / "manifest.json").write_bytes(manifest_bytes(manifest))
    problems = verify(other).problems
    assert len(problems) == 4
    assert all("seed is 1, in the manifest 0" in problem for problem in problems)


def test_shards_of_another_key_are_not_kept(dataset: Path, finished: Path, tmp_path: Path):
    """What the record says agrees with the files, and these say that they are of another seed."""
    other = tmp_path / "other"
    build(SPEC, other, seed=1, shard_size=1000, **COUNTS)
    records = [shard for split in read_manifest(other).splits.values() for shard in split.shards]
    for path in other.glob("*-of-*.h5"):
        shutil.copy(path, dataset)
    manifest = read_manifest(other).model_copy(update={"seed": 0})
    (dataset / "manifest.json").write_bytes(manifest_bytes(manifest))
    assert all("seed is 1, in the manifest 0" in problem for problem in verify(dataset).problems)
    (dataset / "manifest.json").unlink()
    (dataset / "journal.jsonl").write_text("\n".join(record.model_dump_json() for record in records))
    report = build(SPEC, dataset, shard_size=1000, **COUNTS)
    assert (report.made, report.kept) == (4, 0)
    assert contents(dataset) == contents(finished)


def test_a_layout_that_is_not_the_manifests_is_found(dataset: Path):
    manifest = read_manifest(dataset)
    changed = manifest.model_copy(update={"spec": manifest.spec | {"composite": "add"}})
    (dataset / "manifest.json").write_bytes(manifest_bytes(changed))
    assert verify(dataset).problems == (f"{dataset}/manifest.json: spec_digest is not that of the layout",)


def test_published_digests_are_compared(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The layout's own counts are made small, so that the dataset is a whole one."""
    table = {}
    monkeypatch.setattr(verification, "load_spec", lambda _: SPEC.model_copy(update=COUNTS))
    monkeypatch.setattr(verification, "published_digests", lambda: table)
    assert not verify(dataset).published
    table[SPEC.name] = digests(dataset)
    assert verify(dataset).published
    assert verify(dataset).ok
    table[SPEC.name]["test"] = "0" * 64
    assert "manifest.json: the test digest is" in "".join(verify(dataset).problems)


def test_a_virtual_file_that_cannot_be_read_is_a_problem(dataset: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(path: Path, *args: object, **options: object):
        if path.name == "train.h5":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return plain(path, *args, **options)

    plain = Path.open
    monkeypatch.setattr(Path, "open", fail)
    assert verify(dataset).problems == (f"{dataset / 'train.h5'}: cannot read: Input/output error",)


def test_folders_without_a_dataset(tmp_path: Path):
    with pytest.raises(InputError, match="not a dataset's folder"):
        verify(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no finished dataset"):
        verify(tmp_path)


# --- the commands ---------------------------------------------------------------------------------------------------


def run(*args: object) -> subprocess.CompletedProcess:
    return subprocess.run([*CLI, *map(str, args)], capture_output=True, text=True, check=False, timeout=60)


def test_the_commands_build_and_verify(tmp_path: Path, finished: Path):
    small = ("--train", 2300, "--test", 1000, "--shard-size", 1000)
    built = run("build", SPEC.name, "MNIST-II-01", "--out", tmp_path, *small, "--json")
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    reports = [json.loads(line) for line in built.stdout.splitlines()]
    assert [report["name"] for report in reports] == [SPEC.name, "MNIST-II-01"]
    assert reports[0]["digests"] == digests(finished)
    assert contents(tmp_path / SPEC.name) == contents(finished)

    good = run("verify", tmp_path / SPEC.name, tmp_path / "MNIST-II-01", "--render", "all")
    assert good.returncode == 0
    assert len(good.stdout.splitlines()) == 2
    flip(tmp_path / SPEC.name / SHARD)
    bad = run("verify", tmp_path / SPEC.name, "--json", "--render", 20)
    assert bad.returncode == 1
    assert SHARD in json.loads(bad.stdout)["problems"][0]


def test_nothing_is_written_if_one_layout_is_bad(tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\nslots: []")
    out = tmp_path / "out"
    for layouts in ((SPEC.name, bad), (SPEC.name, SPEC.name), (SPEC.name, "MNIST-IV-01")):
        result = run("build", *layouts, "--out", out)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1
        assert not out.exists()


def test_a_digit_without_ink_shows_as_its_image_is_made(tmp_path: Path):
    """And not before, so its error is the only one of bad input after which there are files."""
    spec = load_spec("MNIST-II-01")
    small = spec.model_copy(update={"slots": tuple(s.model_copy(update={"scale": 0.4}) for s in spec.slots)})
    images, labels = digit_images(3)
    images[:] = 0
    images[:, 14, 14] = 32  # a pixel of the darkest ink
    folder = write(tmp_path / "dots", mnist_like((images, labels), (images, labels)))
    with pytest.raises(InputError, match="leaves no ink; give the slot a larger scale"):
        build(small, tmp_path / "x", train=1000, test=0, digits=folder)
    assert {path.name for path in (tmp_path / "x").iterdir()} <= {"build.json", "journal.jsonl", ".lock"}
    build(spec, tmp_path / "x", train=1000, test=0, force=True)


def test_a_link_to_nowhere_is_named(tmp_path: Path):
    """As one to a disk that is not mounted: a folder there would be on another disk."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"link: a symbolic link to .*gone, which is not there"):
        build(SPEC, tmp_path / "link", train=10, test=0)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_mnists_licence_follows_its_digits(tmp_path: Path):
    raw = tmp_path / "MNIST" / "raw"  # as torchvision's download has it
    shutil.copytree(Path(verification.__file__).parents[1] / "data", raw)
    other = write_digits(tmp_path / "other", 12)
    for digits, licence in ((raw, MNIST_LICENSE), (other, OTHER_LICENSE)):
        build("MNIST-II-01", tmp_path / licence[:5], train=20, test=0, digits=digits)
        assert read_manifest(tmp_path / licence[:5]).license == licence


def test_a_folder_that_cannot_be_looked_into_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def locked(_: Path) -> bool:
        raise BuildError("locked: cannot read: Permission denied")

    monkeypatch.setattr(verification, "has_manifest", locked)
    assert verify(tmp_path).problems == ("locked: cannot read: Permission denied",)
