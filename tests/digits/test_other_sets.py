"""Digit sets as people have them: names, types, labels, blank images, dark ink."""

import gzip
import lzma
import os
import pickle
import re
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from idx_files import PUBLISHED_MD5, digits, idx, mnist_like, write

from mnistcompose import BuildError, DigitBank, DigitSource, InputError, build, draw, load_digits, load_spec, verify
from mnistcompose.building.config import make_config
from mnistcompose.building.digests import make_digests
from mnistcompose.cli import cli
from mnistcompose.digits import bank as bank_module
from mnistcompose.digits.ink import INK, dark_on_light
from mnistcompose.rendering.crops import crops
from mnistcompose.rendering.render import cut_normals
from mnistcompose.storage.manifest import MANIFEST, manifest_bytes, read_manifest

TRAIN, TRAIN_LABELS, TEST, TEST_LABELS = PUBLISHED_MD5
SET = mnist_like(digits(40), digits(20, seed=1))
SPEC = load_spec("MNIST-II-01")


def refused(source: object, *words: str, split: str = "train") -> None:
    with pytest.raises(InputError) as caught:
        load_digits(split, source)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert re.search(word, text), text


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> DigitBank:
    return load_digits("train", write(tmp_path_factory.mktemp("usual"), SET))


# --- names ----------------------------------------------------------------------------------------------------------

NAMES = {
    "dots": lambda name: name.replace("-idx", ".idx"),
    "underscores": lambda name: name.replace("-", "_"),
    "upper case": str.upper,
    "one of them": lambda name: name.upper() if "labels" in name else name,
    "test": lambda name: name.replace("t10k", "test"),
    "folder in a folder": lambda name: f"{name}/{name}",
    "both of Kaggle's": lambda name: f"{name.replace('-idx', '.idx')}/{name.replace('-idx', '.idx')}",
    "a folder below": lambda name: f"archive/{name}",
    "raw": lambda name: f"archive/raw/{name}",
}


@pytest.mark.parametrize("rename", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("suffix", ["", ".gz", ".GZ", ".Xz", "gzip without suffix", "suffix without gzip"])
def test_a_set_is_found_by_the_names_that_people_have(tmp_path, usual, rename, suffix):
    for name, array in SET.items():
        own = f"{rename(name)}{suffix if suffix[:1] == '.' else '.gz' if suffix[:6] == 'suffix' else ''}"
        path = tmp_path / own
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = suffix.lower() == ".gz" or suffix[:4] == "gzip"
        pack = gzip.compress if packed else lzma.compress if suffix == ".Xz" else bytes
        path.write_bytes(pack(idx(array)))
    assert load_digits("train", tmp_path).digest == usual.digest
    assert len(load_digits("test", tmp_path).labels) == 20


def test_files_in_the_folder_itself_count_before_those_below(tmp_path, usual):
    write(tmp_path, SET)
    write(tmp_path / TRAIN.replace("-idx", ".idx"), {"unrelated": b""})
    write(tmp_path / "other" / "raw", mnist_like(digits(30), digits(30)))
    assert load_digits("train", tmp_path).digest == usual.digest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train-image-idx3-ubyte", "'train-image-idx3-ubyte' is there: unpack or rename it"),
        ("train-images-idx3-ubyte.zip", "'train-images-idx3-ubyte.zip' is there: unpack"),
        ("train-images-idx3-ubyte (1)", r"idx3-ubyte \(1\)' is there"),
        ("letters.png", "^(?!.*is there)"),
    ],
)
def test_a_near_miss_is_named(tmp_path, name, words):
    write(tmp_path, {name: idx(SET[TRAIN])})
    refused(tmp_path, "no digit files; looked for train-images-idx3-ubyte", words)
    write(tmp_path, {name: each for name, each in SET.items() if name != TRAIN})
    refused(tmp_path, f"{TRAIN}: missing", words)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_next_to_the_set_is_no_fault(tmp_path, usual):
    write(tmp_path / "set", SET)
    (tmp_path / "locked").mkdir(mode=0)
    assert load_digits("train", tmp_path).digest == usual.digest


# --- types and shapes -----------------------------------------------------------------------------------------------

SHAPES = {
    "usual": lambda images: images,
    "channel last": lambda images: images[..., None],
    "channel first": lambda images: images[:, None],
    "flat": lambda images: images.reshape(len(images), -1),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4", "f8", "fractions f4", "fractions f8"])
def test_images_of_any_type_and_shape_are_the_same_images(tmp_path, usual, shape, kind):
    def converted(images):
        scaled = images / 255 if kind.startswith("fractions") else images
        return shape(scaled.astype(kind[-2:]))

    write(tmp_path, SET | {name: converted(SET[name]) for name in (TRAIN, TEST)})
    assert load_digits("train", tmp_path).digest == usual.digest


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_labels_of_any_type_are_the_same_labels(tmp_path, usual, kind, column):
    labels = {name: SET[name].astype(kind) for name in (TRAIN_LABELS, TEST_LABELS)}
    write(tmp_path, SET | {name: each[:, None] if column else each for name, each in labels.items()})
    assert load_digits("train", tmp_path).digest == usual.digest


IMAGES, LABELS = SET[TRAIN].astype("i2"), SET[TRAIN_LABELS].astype("i4")
WRONG = {
    "colour": (TRAIN, np.repeat(IMAGES[..., None], 3, 3).astype("u1"), "40 x 28 x 28 x 3; grey images are"),
    "no square": (TRAIN, IMAGES.reshape(40, -1)[:, :-1], "40 x 783; grey"),
    "labels for images": (TRAIN, SET[TRAIN_LABELS], "40 values; grey"),
    "negative": (TRAIN, IMAGES - 1, "int16 from -1 to 25[0-9]; allowed are 0 to 255"),
    "above": (TRAIN, IMAGES * 2, "int16 from 0 to 5[0-9]+; allowed are 0 to 255"),
    "NaN": (TRAIN, np.where(IMAGES == 0, np.nan, IMAGES), "float64 from nan to nan; allowed"),
    "infinite": (TRAIN, np.where(IMAGES == 0, np.inf, IMAGES).astype("f4"), "to inf; allowed"),
    "normalised": (TRAIN, (IMAGES / 255 - 0.13) / 0.3, "float64 from -0.4[0-9]* to 2.9; allowed|from -0.43"),
    "ones": (TRAIN, (IMAGES > 0).astype("u1"), "all images are blank: .* the highest value is 1"),
    "one-hot": (TRAIN_LABELS, np.eye(10, dtype="u1")[LABELS], "40 x 10; there should be one label per image"),
    "fraction": (TRAIN_LABELS, LABELS + np.float32(0.5), "label 0.5 at index 0 should be a whole number"),
    "no number": (TRAIN_LABELS, np.where(LABELS == 3, np.nan, LABELS), "label nan at index 3"),
    "negative label": (TRAIN_LABELS, LABELS - 1, "label -1 at index 0 is out of range 0..254"),
    "255": (
        TRAIN_LABELS,
        np.where(LABELS == 9, 255, LABELS),
        "label 255 at index 9 is out .* 255 stands for",
    ),
    "huge": (TRAIN_LABELS, np.where(LABELS == 9, 1e300, LABELS), r"label 1e\+300 at index 9"),
}


@pytest.mark.parametrize(("name", "array", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_refused_in_words(tmp_path, name, array, words):
    write(tmp_path, SET | {name: array})
    refused(tmp_path, f"^{tmp_path}/{name}: ", words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(30), "not an IDX file but a zip file; unpack it"),
        (b"\x93NUMPY\x01\x00" + bytes(30), "a NumPy file"),
        (b"\n\n<!DOCTYPE html>", "another kind of file"),
        (b"\0\0\x07\x03" + bytes(30), "another kind of file"),
        (b"\0\0\x08\x09" + bytes(90), "another kind of file"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path, content, words):
    write(tmp_path, SET | {TRAIN: content})
    refused(tmp_path, TRAIN, words)


# --- one split ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["train", "test"])
def test_a_set_of_one_split_builds_that_split(tmp_path, there):
    part = [TRAIN, TRAIN_LABELS] if there == "train" else [TEST, TEST_LABELS]
    folder = write(tmp_path / "digits", {name: SET[name] for name in part})
    other = "test" if there == "train" else "train"
    assert len(load_digits(there, folder).labels) == len(SET[part[1]])
    refused(folder, f"no {other} images", f"--{other} 0", split=other)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=f"no {other} images: {TEST if other == 'test' else TRAIN} is missing"):
        build(SPEC, out, digits=folder)
    assert not out.exists()
    build(SPEC, out, digits=folder, **{there: 1000, other: 0})
    report = verify(out, digits=folder, rerender=-1)
    assert report.ok
    assert report.rendered == 1000
    digests = make_digests(SPEC.model_copy(update={there: 1000, other: 0}), digits=folder)
    assert digests == {split: entry.digest for split, entry in read_manifest(out).splits.items()}
    run = CliRunner().invoke(
        cli, ["build", SPEC.name, "--digits", str(folder), f"--{there}", "1000", f"--{other}", "0", "--dry-run"]
    )
    assert run.exit_code == 0, run.output


# --- blank images, first label, dark ink ----------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(blank=st.sets(st.integers(0, 39), min_size=1, max_size=30), value=st.integers(0, INK - 1))
def test_blank_images_are_told_or_left_out(tmp_path_factory, blank, value):
    folder = tmp_path_factory.mktemp("blank")
    kept = sorted({*range(40)} - blank)
    images, labels = SET[TRAIN].copy(), SET[TRAIN_LABELS]
    images[sorted(blank)] = value
    write(folder / "all", SET | {TRAIN: images})
    told = ", ".join(map(str, sorted(blank)[:10])) + (f" and {len(blank) - 10} more" if len(blank) > 10 else "")
    refused(folder / "all", f"{len(blank)} blank images? of 40.*: {told};.*--skip-blank")
    write(folder / "kept", SET | {TRAIN: images[kept], TRAIN_LABELS: labels[kept]})
    try:
        wanted = load_digits("train", folder / "kept")
    except InputError as error:  # classes are gone with the blank images
        refused(DigitSource(folder / "all", skip_blank=True), re.escape(str(error).partition(": ")[2][:20]))
    else:
        found = load_digits("train", DigitSource(folder / "all", skip_blank=True))
        assert found.digest == wanted.digest
        assert np.array_equal(found.images, wanted.images)


def test_a_set_without_blank_images_stays_the_same_set(tmp_path, usual):
    assert load_digits("train", DigitSource(write(tmp_path, SET), skip_blank=True)).digest == usual.digest
    assert load_digits("train", DigitSource(skip_blank=True)).digest == load_digits("train").digest


@settings(max_examples=20, deadline=None)
@given(first=st.integers(0, 1000))
def test_labels_count_from_the_first(tmp_path_factory, usual, first):
    labels = {name: SET[name].astype("i4") + first for name in (TRAIN_LABELS, TEST_LABELS)}
    folder = write(tmp_path_factory.mktemp("labels"), SET | labels)
    assert load_digits("train", DigitSource(folder, labels_from=first)).digest == usual.digest
    refused(DigitSource(folder, labels_from=first + 1), f"label {first} at index 0 is out of range {first + 1}..")
    if first > 30:
        refused(folder, f"label {first + 9} at index 9 is out of range|--labels-from {first}|out of range 0..254")


def test_emnist_letters_make_26_classes_and_676_numbers(tmp_path):
    images = np.random.default_rng(0).integers(INK, 256, (520, 28, 28), np.uint8)
    images[:, :4], images[:, :, :4] = 0, 0
    labels = (np.arange(520) % 26 + 1).astype(np.uint8)
    parts = {"images-idx3": images, "labels-idx1": labels}
    folder = write(
        tmp_path / "letters",
        {f"emnist-letters-{part}-{name}-ubyte": each for part in ("train", "test") for name, each in parts.items()},
    )
    letters = DigitSource(folder, labels_from=1)
    assert load_digits("train", folder).classes == 27
    assert load_digits("train", letters).classes == 26
    out = tmp_path / "out"
    assert build(SPEC, out, digits=letters, train=20_000, test=1000).made == 3
    with h5py.File(out / "train.h5") as file:
        numbers, own = file["labels"][...], file["digits"][...].astype(int)
    assert set(numbers) == set(range(676))
    assert np.array_equal(numbers, own @ [26, 1])
    assert build(SPEC, out, digits=letters, train=20_000, test=1000).kept == 3
    with pytest.raises(InputError, match="digits_digest is"):
        build(SPEC, out, digits=folder, train=20_000, test=1000)
    assert verify(out, digits=letters, rerender=100).ok
    with pytest.raises(InputError, match=r"another digit set than .*--labels-from"):
        verify(out, digits=folder, rerender=100)


MNIST = load_digits("train").images


@settings(max_examples=30, deadline=None)
@given(
    indices=st.lists(st.integers(0, 59_999), min_size=1, max_size=50),
    paper=st.integers(2 * INK, 255),
    contrast=st.floats(0.3, 1),
)
def test_dark_ink_on_light_paper_is_always_seen_and_light_ink_never(indices, paper, contrast):
    shades = MNIST[indices] / 255
    assert dark_on_light((paper * (1 - contrast * shades)).astype(np.uint8)).all()
    assert not dark_on_light((INK + (paper - INK) * shades).astype(np.uint8)).any()


def test_all_of_mnist_is_light_ink():
    assert not dark_on_light(MNIST).any()
    assert dark_on_light(255 - MNIST).all()


@settings(max_examples=50, deadline=None)
@given(
    corner=st.tuples(st.integers(0, 14), st.integers(0, 14)),
    size=st.tuples(st.integers(8, 28), st.integers(8, 28)),
    light=st.integers(INK, 255),
    round_=st.booleans(),
)
@example(corner=(0, 0), size=(28, 28), light=200, round_=False)
def test_large_objects_that_touch_the_border_are_no_dark_ink(corner, size, light, round_):
    y, x = np.mgrid[:28, :28]
    inside = (y >= corner[0]) & (x >= corner[1]) & (y < corner[0] + size[0]) & (x < corner[1] + size[1])
    if round_:
        inside = ((y - 13.5) / size[0]) ** 2 + ((x - 13.5) / size[1]) ** 2 <= 0.25
    assert not dark_on_light(np.where(inside, light, 0).astype(np.uint8)[None]).any()


def test_dark_ink_is_refused_with_its_remedy(tmp_path, usual):
    dark = write(tmp_path / "dark", SET | {name: 255 - SET[name] for name in (TRAIN, TEST)})
    refused(dark, f"^{dark}: dark ink on light paper.*--invert")
    assert load_digits("train", DigitSource(dark, invert=True)).digest == usual.digest
    refused(DigitSource(write(tmp_path / "light", SET), invert=True), "leave out invert")


# --- classes --------------------------------------------------------------------------------------------------------


def test_at_most_255_classes(tmp_path):
    images = np.full((256, 8, 8), 200, np.uint8)
    images[:, 0] = images[:, :, 0] = 0
    labels = np.arange(256, dtype=np.uint8)
    write(tmp_path / "256", mnist_like((images, labels), (images, labels)))
    refused(tmp_path / "256", TRAIN_LABELS, "label 255 at index 255 .* at most 255 classes")
    folder = write(tmp_path / "255", mnist_like((images[:255], labels[:255]), (images[:255], labels[:255])))
    assert load_digits("train", folder).classes == 255
    build(SPEC, tmp_path / "out", train=2000, test=0, digits=folder)
    with h5py.File(tmp_path / "out" / "train.h5") as file:
        assert np.array_equal(file["labels"], file["digits"][...].astype(int) @ [255, 1])
        assert file["digits"][...].max() == 254


@pytest.mark.parametrize(("classes", "highest"), [(256, 9), (0, 0), (10, 10), (255, 255), (2.0, 1)])
def test_a_bank_of_other_classes_than_its_labels_is_refused(classes, highest):
    images, boxes = np.full((2, 8, 8), 200, np.uint8), np.tile(np.array([0, 0, 8, 8], np.int16), (2, 1))
    with pytest.raises(InputError, match=r"^classes = |^labels: "):
        DigitBank(images, np.array([0, highest], np.uint8), boxes, classes, "")


# --- shared arrays, threads and forks -------------------------------------------------------------------------------


def test_shared_arrays_cannot_be_written_to():
    for split in ("train", "test", "fit", "validation"):
        bank = load_digits(split)
        for array in (bank.images, bank.labels, bank.boxes, *crops(bank), cut_normals()):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_the_callers_own_arrays_stay_as_they_are():
    images, labels = np.full((2, 8, 8), 200, np.uint8), np.zeros(2, np.uint8)
    bank = DigitBank(images, labels, np.tile(np.array([0, 0, 8, 8], np.int16), (2, 1)), 1, "")
    images[0] = labels[0] = 0
    assert not bank.images.flags.writeable
    draw(SPEC, "train", 0, 3, 0, bank)


def test_threads_that_need_the_same_set_read_it_once(tmp_path, monkeypatch):
    folder, read = write(tmp_path, SET), bank_module.read_part
    calls = []

    def slow(*arguments, **options):
        calls.append(arguments)
        time.sleep(0.1)
        return read(*arguments, **options)

    monkeypatch.setattr(bank_module, "read_part", slow)
    threads = [threading.Thread(target=load_digits, args=("train", folder)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 2  # the training and the test part


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_a_set_is_read_does_not_hang(tmp_path, monkeypatch):
    folder, held, done = write(tmp_path, SET), threading.Event(), threading.Event()
    read = bank_module.read_part
    parent = os.getpid()

    def slow(*arguments, **options):
        if os.getpid() == parent:
            held.set()
            done.wait(60)
        return read(*arguments, **options)

    monkeypatch.setattr(bank_module, "read_part", slow)
    thread = threading.Thread(target=load_digits, args=("train", folder))
    thread.start()
    held.wait(60)
    child = os.fork()
    if not child:
        os._exit(0 if len(load_digits("train", folder).labels) == 40 else 1)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        status = -1
    done.set()
    thread.join()
    assert status == 0


# --- the value and the command --------------------------------------------------------------------------------------


def test_a_source_is_canonical(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    same = [DigitSource(place, labels_from=np.int64(1)) for place in ("x", "~/x", Path("x"), str(tmp_path / "x"))]
    assert len(set(same)) == 1
    for wrong in ({"labels_from": -1}, {"labels_from": 1.0}, {"skip_blank": 1}, {"invert": "yes"}):
        with pytest.raises(InputError, match=f"^{next(iter(wrong))} = "):
            DigitSource("x", **wrong)


def test_the_command_takes_what_the_function_takes(tmp_path):
    images = 255 - SET[TRAIN]
    images[7] = 255
    labels = {name: SET[name] + np.uint8(3) for name in (TRAIN_LABELS, TEST_LABELS)}
    folder = write(tmp_path / "digits", SET | {TRAIN: images, TEST: 255 - SET[TEST]} | labels)
    options = ["--digits", str(folder), "--skip-blank", "--labels-from", "3", "--invert"]
    source = DigitSource(folder, skip_blank=True, labels_from=3, invert=True)
    run = CliRunner().invoke(
        cli, ["build", SPEC.name, "--train", "1000", "--test", "0", "--out", str(tmp_path / "x"), *options]
    )
    assert run.exit_code == 0, run.output
    assert verify(tmp_path / "x", digits=source, rerender=-1).ok
    run = CliRunner().invoke(cli, ["verify", str(tmp_path / "x"), "--render", "all", *options])
    assert run.exit_code == 0, run.output
    assert make_config(SPEC, train=1000, test=0, digits=source).digits == source
    run = CliRunner().invoke(cli, ["build", SPEC.name, "--digits", str(folder), "--out", str(tmp_path / "y")])
    assert "dark ink" in str(run.exception)
    run = CliRunner().invoke(cli, ["preview", SPEC.name, "-o", str(tmp_path / "x.png"), *options])
    assert run.exit_code == 0, run.output


def test_a_stored_dataset_of_256_classes_is_refused(tmp_path):
    build(SPEC, tmp_path, train=1000, test=0)
    changed = read_manifest(tmp_path).model_copy(update={"classes": 256})
    (tmp_path / MANIFEST).write_bytes(manifest_bytes(changed))
    with pytest.raises(BuildError, match=r"manifest.json: classes: .* 255"):
        read_manifest(tmp_path)


def test_digit_files_that_are_written_again_are_read_again(tmp_path: Path):
    """In one process, as of a notebook: a set that is kept in memory must not outlive its files."""
    folder = write(tmp_path / "own", mnist_like(digits(120), digits(24, seed=1)))
    first = load_digits("train", folder)
    assert load_digits("train", folder) is first
    write(folder, mnist_like(digits(120, seed=5), digits(24, seed=1)))
    second = load_digits("train", folder)
    assert second.digest != first.digest
    assert build(SPEC, tmp_path / "x", train=10, test=0, digits=folder).digests == make_digests(
        SPEC, train=10, test=0, digits=folder
    )
    assert read_manifest(tmp_path / "x").digits_digest == second.digest


def test_a_composed_dataset_keeps_its_digits_while_files_change(tmp_path: Path):
    pytest.importorskip("torch")
    from mnistcompose import ComposedDigits

    folders = [write(tmp_path / str(n), mnist_like(digits(120, seed=n), digits(24))) for n in range(3)]
    data = [ComposedDigits(SPEC, "train", length=20, digits=folder) for folder in folders]
    before, pickled = [each[:][0] for each in data], pickle.dumps(data[0])
    assert len(pickled) < 10_000
    write(folders[0], mnist_like(digits(120, seed=9), digits(24)))
    for each, images in zip(data, before, strict=True):
        load_digits("train", folders[0])
        assert (each[:][0] == images).all()
    with pytest.raises(BuildError, match="0: the digit files have changed since this dataset was made"):
        pickle.loads(pickled)[0]
