import gzip
import hashlib
import re
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from idx_files import PUBLISHED_MD5, digits, idx, mnist_like, write

from mnistcompose import InputError, load_digits
from mnistcompose.digits.idx import read_idx
from mnistcompose.digits.ink import INK, dark_on_light, ink_boxes

_LEVELS = st.one_of(st.integers(0, 255), st.sampled_from([0, INK - 1, INK, 255]))
_CUTS = st.floats(0, 1)

DATA = Path(load_digits.__code__.co_filename).parents[1] / "data"


def test_the_bundled_files_are_mnist_as_published():
    for name, md5 in PUBLISHED_MD5.items():
        assert hashlib.md5(gzip.decompress((DATA / f"{name}.gz").read_bytes())).hexdigest() == md5
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 12e6
    assert "Attribution-Share Alike 3.0" in (DATA / "LICENSE.txt").read_text()


def test_splits_of_the_bundled_set():
    train, test, fit, validation = (load_digits(split) for split in ("train", "test", "fit", "validation"))
    assert train.images.shape == (60_000, 28, 28)
    assert test.images.shape == (10_000, 28, 28)
    for name in ("images", "labels", "boxes"):
        assert np.array_equal(np.concatenate([getattr(fit, name), getattr(validation, name)]), getattr(train, name))
    assert len(validation.labels) == 5_000
    assert {bank.digest for bank in (train, test, fit, validation)} == {train.digest}
    assert {bank.classes for bank in (train, test, fit, validation)} == {10}
    for bank in (train, test, fit, validation):
        assert bank.images.flags.c_contiguous
        assert (bank.images.dtype, bank.labels.dtype, bank.boxes.dtype) == (np.uint8, np.uint8, np.int16)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))))
def test_boxes_are_tight(images: np.ndarray):
    boxes, blank = ink_boxes(images)
    for index, (image, (x0, y0, x1, y1)) in enumerate(zip(images, boxes, strict=True)):
        ink = image >= INK
        assert (index in blank) == (not ink.any())
        if ink.any():
            rows, columns = np.nonzero(ink)
            assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)), elements=_LEVELS))
def test_dark_on_light_is_what_it_says(images: np.ndarray):
    """As written down once, without haste: most of the border would be ink, and it is lighter than the image."""
    sides = images[:, [0, -1]], images[:, 1:-1, [0, -1]]
    border = np.concatenate([side.reshape(len(images), -1) for side in sides], axis=1)
    expected = ((border >= INK).mean(1) > 0.5) & (border.mean(1) > images.mean((1, 2)))
    assert np.array_equal(dark_on_light(images), expected)


@settings(deadline=None)
@given(content=arrays.arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))), cut=_CUTS)
def test_a_gzip_file_is_read_in_one_call_or_as_a_stream_with_one_result(content: np.ndarray, cut: float):
    """Several members, padding and damage are left to the stream; both give the same array, or the same words."""
    whole = idx(content)
    at = int(cut * len(whole))
    forms = (
        gzip.compress(whole),
        gzip.compress(whole[:at]) + gzip.compress(whole[at:]),
        gzip.compress(whole) + bytes(7),
        gzip.compress(whole[:at]),
        gzip.compress(whole + b"more"),
        gzip.compress(whole)[: 10 + at],
        gzip.compress(whole)[:-5] + b"wrong",
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file.gz"
        for form in forms:
            path.write_bytes(form)
            fast = _outcome(path)
            with mock.patch("mnistcompose.digits.idx._in_one_call", return_value=None):
                assert fast == _outcome(path)


def _outcome(path: Path) -> object:
    try:
        found = read_idx(path)
    except InputError as error:
        return str(error)
    return found.shape, found.dtype, found.tobytes()


def test_the_bundled_files_are_read_in_one_call(monkeypatch):
    monkeypatch.setattr("mnistcompose.digits.idx._open", None)
    for name in PUBLISHED_MD5:
        assert len(read_idx(DATA / f"{name}.gz"))


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("place", [".", "raw", "KMNIST/raw"])
def test_other_sets_in_every_form(tmp_path: Path, suffix: str, place: str):
    train, test = digits(40, classes=13), digits(20, classes=7, seed=1)
    write(tmp_path / place, mnist_like(train, test), suffix)
    bank, other = load_digits("train", tmp_path), load_digits("test", tmp_path)
    assert np.array_equal(bank.images, train[0])
    assert np.array_equal(bank.labels, train[1])
    assert np.array_equal(other.images, test[0])
    assert (bank.classes, other.classes) == (13, 13)
    assert (bank.boxes == [5, 3, 28, 28]).all()
    assert len(load_digits("fit", tmp_path).labels) == 37


def test_the_digest_is_of_the_content(tmp_path: Path):
    train, test = digits(20), digits(20, seed=1)
    plain = write(tmp_path / "plain", mnist_like(train, test))
    packed = write(tmp_path / "packed", mnist_like(train, test), ".gz")
    assert load_digits("train", plain).digest == load_digits("test", packed).digest
    test[0][0, 10, 10] ^= 1
    changed = write(tmp_path / "changed", mnist_like(train, test))
    assert load_digits("train", changed).digest != load_digits("train", plain).digest


def test_qmnist_takes_labels_from_the_first_column(tmp_path: Path):
    (train, labels), (test, test_labels) = digits(30), digits(12, seed=1)
    table = np.arange(30 * 8, dtype=np.int32).reshape(30, 8) * 1000
    table[:, 0] = labels
    test_table = np.stack([test_labels.astype(np.int32)] * 8, axis=1)
    parts = {
        "qmnist-train-images-idx3-ubyte": train,
        "qmnist-train-labels-idx2-int": table,
        "qmnist-test-images-idx3-ubyte": test,
        "qmnist-test-labels-idx2-int": test_table,
    }
    folder = write(tmp_path / "QMNIST" / "raw", parts, ".gz")
    assert np.array_equal(load_digits("train", tmp_path).labels, labels)
    assert np.array_equal(load_digits("test", tmp_path / "QMNIST").labels, test_labels)
    table[7, 0] = 256
    write(folder, {"qmnist-train-labels-idx2-int": table})
    with pytest.raises(InputError, match=r"qmnist-train-labels-idx2-int: label 256 at index 7 is out of range"):
        load_digits("train", folder)


def emnist(kind: str, classes: int, lowest: int = 0) -> dict[str, np.ndarray | bytes]:
    (train, labels), (test, test_labels) = digits(60, classes, size=(28, 20)), digits(12, classes, 1, (28, 20))
    names = (f"emnist-{kind}-{part}-{what}" for part in ("train", "test") for what in ("images-idx3", "labels-idx1"))
    return {
        f"{name}-ubyte": array.transpose(0, 2, 1) if array.ndim == 3 else array + np.uint8(lowest)
        for name, array in zip(names, (train, labels, test, test_labels), strict=True)
    }


def test_emnist_is_turned_upright_and_one_of_its_sets_is_named(tmp_path: Path):
    folder = tmp_path / "EMNIST" / "raw"
    write(folder, emnist("digits", 10))
    upright = digits(60, size=(28, 20))[0]
    assert np.array_equal(load_digits("train", tmp_path).images, upright)
    assert load_digits("train", tmp_path).images.flags.c_contiguous

    write(folder, emnist("letters", 26, lowest=1))
    with pytest.raises(InputError, match=r"raw/emnist-digits, .*raw/emnist-letters$"):
        load_digits("test", folder)
    assert load_digits("train", folder / "emnist-letters").classes == 27
    assert np.array_equal(load_digits("train", folder / "emnist-digits").images, upright)


def test_several_sets_are_told_by_folder(tmp_path: Path):
    parts = mnist_like(digits(20), digits(20))
    for name in ("MNIST", "KMNIST"):
        write(tmp_path / name / "raw", parts)
    with pytest.raises(InputError, match=r"several digit sets; give one of .*/KMNIST/raw, .*/MNIST/raw$"):
        load_digits("train", tmp_path)
    assert len(load_digits("train", tmp_path / "KMNIST").labels) == 20


TRAIN, TRAIN_LABELS, TEST, TEST_LABELS = PUBLISHED_MD5
IMAGES, LABELS = digits(30)
BLANK = IMAGES.copy()
BLANK[17] = INK - 1
FAR = np.where(np.arange(200) == 5, 200, np.arange(200) % 10).astype(np.uint8)
HUGE = struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 28, 28)

BAD: dict[str, tuple[dict[str, np.ndarray | bytes], str, str]] = {
    "magic": ({TRAIN: b"\0\0\x08\x01" + idx(IMAGES)[4:]}, TRAIN, "promises 30 values, 30 bytes, it has more"),
    "text": ({TRAIN: b"<html>not found</html>"}, TRAIN, "not an IDX file but a web page"),
    "type": (
        {TEST_LABELS: b"\0\0\x0c\x01" + idx(LABELS)[4:]},
        TEST_LABELS,
        "truncated: .* promises 30 values, 120 bytes",
    ),
    "empty": ({TRAIN: b""}, TRAIN, "truncated"),
    "header": ({TRAIN: idx(IMAGES)[:10]}, TRAIN, "truncated"),
    "truncated": ({TEST: idx(IMAGES)[:-1]}, TEST, r"truncated: .* promises 30 x 28 x 28"),
    "longer": ({TEST: idx(IMAGES) + b"\0"}, TEST, "has more"),
    "huge": ({TRAIN: HUGE + bytes(100)}, TRAIN, "at most"),
    "no image": ({TRAIN: idx(IMAGES[:0]), TRAIN_LABELS: idx(LABELS[:0])}, TRAIN, "no image"),
    "flat": ({TRAIN: idx(IMAGES[:, :0])}, TRAIN, "28 x 0 pixels"),
    "counts": ({TRAIN_LABELS: idx(LABELS[:-1])}, TRAIN, "30 images, .* 29 labels"),
    "label": ({TRAIN: idx(np.repeat(IMAGES, 7, 0)[:200]), TRAIN_LABELS: idx(FAR)}, TRAIN_LABELS, "200 at index 5"),
    "test label": ({TEST_LABELS: idx(LABELS + (LABELS == 9))}, TEST_LABELS, "label 10 at index 9 .* range"),
    "blank": ({TRAIN: idx(BLANK)}, TRAIN, "1 blank image of 30, .*: 17; .*--skip-blank"),
    "sizes": ({TEST: idx(IMAGES[:, :20])}, "", "differ in size"),
}


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize(("change", "file", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_gives_one_line(tmp_path: Path, change: dict, file: str, message: str, suffix: str):
    parts = mnist_like((IMAGES, LABELS), (IMAGES, LABELS)) | change
    refused(write(tmp_path, parts, suffix), file, message)


def refused(folder: Path, file: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_digits("train", folder)
    text = str(caught.value)
    assert "\n" not in text
    assert file in text
    assert re.search(message, text), text


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "flip", "garbage", "tail"])
def test_damaged_compression_gives_one_line(tmp_path: Path, suffix: str, damage: str):
    write(tmp_path, mnist_like((IMAGES, LABELS), (IMAGES, LABELS)), suffix)
    path = tmp_path / f"{TRAIN}{suffix}"
    content = bytearray(path.read_bytes())
    match damage:
        case "cut":
            content = content[: len(content) // 2]
        case "flip":
            content[len(content) // 2] ^= 4
        case "garbage":
            content = bytearray(b"\1garbage" * 9)
        case "tail":
            content[-6] ^= 1  # a checksum or a length, after all of the data
    path.write_bytes(content)
    refused(tmp_path, TRAIN, "damaged|truncated|more|cannot be read|not an IDX file|blank")


def test_a_decompression_bomb_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parts = mnist_like((IMAGES, LABELS), (IMAGES, LABELS))
    parts[TRAIN] = idx(IMAGES) + bytes(200_000_000)
    write(tmp_path, parts, ".gz")
    taken = 0
    read = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int = -1) -> bytes:
        nonlocal taken
        content = read(self, size)
        taken += len(content)
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    refused(tmp_path, TRAIN, "promises 30 x 28 x 28 values, 23,520 bytes, it has more")
    assert taken <= 16 + 23_520 + 1


@pytest.mark.parametrize("missing", PUBLISHED_MD5)
def test_a_missing_file_is_named(tmp_path: Path, missing: str):
    parts = mnist_like((IMAGES, LABELS), (IMAGES, LABELS))
    del parts[missing]
    refused(write(tmp_path, parts), missing, "missing")


def test_folders_without_digits(tmp_path: Path):
    refused(tmp_path, str(tmp_path), "no digit files; looked for")
    refused(tmp_path / "nowhere", "nowhere", "not a folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "file", "not a folder")
    (tmp_path / "set" / TRAIN).mkdir(parents=True)
    refused(tmp_path / "set", "set", "no digit files")


def test_a_set_too_small_to_hold_images_out(tmp_path: Path):
    write(tmp_path, mnist_like(digits(11), digits(1)))
    with pytest.raises(InputError, match="too few to hold some out"):
        load_digits("validation", tmp_path)
    assert len(load_digits("train", tmp_path).labels) == 11
