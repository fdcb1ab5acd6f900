"""Kept arrays save time and nothing else: what is damaged, foreign or unwritable never changes a result."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from idx_files import digits, write

from mnistcompose import DigitSource, load_digits
from mnistcompose.digits import bank, disk_cache
from mnistcompose.rendering.crops import crops

A_FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that takes small entries."""
    monkeypatch.setenv("MNISTCOMPOSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(disk_cache, "_LEAST", 0)
    return tmp_path / "cache" / "digits"


def small_set(place: Path, seed: int = 0) -> Path:
    parts = {}
    for part, count in (("train", 48), ("t10k", 12)):
        parts[f"{part}-images-idx3-ubyte"], parts[f"{part}-labels-idx1-ubyte"] = digits(count, seed=seed, size=(9, 8))
    return write(place, parts)


def load(split: str, source: object) -> bank.DigitBank:
    """Load as another process would."""
    bank._read_set.cache_clear()
    return load_digits(split, source)


def all_arrays(of: bank.DigitBank) -> list[np.ndarray]:
    return [of.images, of.labels, of.boxes, *crops(of)]


def same(one: bank.DigitBank, other: bank.DigitBank) -> bool:
    read_only = not any(array.flags.writeable for array in all_arrays(one) + all_arrays(other))
    facts = (one.classes, one.digest) == (other.classes, other.digest)
    return read_only and facts and equal(all_arrays(one), all_arrays(other))


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


several = st.lists(
    st.sampled_from(["u1", "i2", "<i8", "<f4"]).flatmap(
        lambda kind: arrays(kind, array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
    ),
    min_size=1,
    max_size=4,
)


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return [(a.dtype, a.shape, a.tobytes()) for a in one] == [(a.dtype, a.shape, a.tobytes()) for a in other]


@A_FEW
@given(several)
def test_what_was_kept_is_recalled(own):
    disk_cache.store_cached(("a", "b"), own)
    found = disk_cache.load_cached(("a", "b"))
    assert found is not None
    assert equal(found, own)
    assert not any(array.flags.writeable for array in found)
    assert disk_cache.load_cached(("a b",)) is None


@A_FEW
@given(several, st.data())
def test_a_damaged_entry_never_gives_other_arrays(folder, own, data):
    disk_cache.store_cached(("x",), own)
    (path,) = files(folder)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "grow", "empty"])):
        case "flip":
            content[place] ^= data.draw(st.integers(1, 255))
        case "cut":
            del content[place:]
        case "grow":
            content += content[place:]
        case "empty":
            content.clear()
    path.write_bytes(content)
    found = disk_cache.load_cached(("x",))
    assert found is None or equal(found, own)
    disk_cache.store_cached(("x",), own)
    assert equal(disk_cache.load_cached(("x",)), own)


def test_entries_that_were_not_used_for_longest_are_removed(folder, monkeypatch):
    monkeypatch.setattr(disk_cache, "_TOTAL", 3500)
    for number in range(3):
        disk_cache.store_cached((str(number),), [np.full(900, number, np.uint8)])
        for path in files(folder):
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
    assert disk_cache.load_cached(("0",))  # now the newest
    disk_cache.store_cached(("3",), [np.full(900, 3, np.uint8)])
    assert [disk_cache.load_cached((str(number),)) is not None for number in range(4)] == [True, False, True, True]


@pytest.mark.parametrize("most", [("_LEAST", 1 << 10), ("MAX_ENTRY", 50)])
def test_what_is_too_small_or_too_large_is_not_kept(folder, monkeypatch, most):
    monkeypatch.setattr(disk_cache, *most)
    disk_cache.store_cached(("x",), [np.zeros(100, np.uint8)])
    assert not files(folder)


def test_where_nothing_can_be_written_digits_are_read_as_ever(tmp_path, monkeypatch):
    usual = load("train", small_set(tmp_path / "set"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNISTCOMPOSE_CACHE", str(tmp_path / "file"))
    assert same(usual, load("train", tmp_path / "set"))


def test_a_full_disk_leaves_no_part_of_an_entry(folder, monkeypatch):
    def fails(file, array, **_):
        file.write(array.tobytes()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fails)
    disk_cache.store_cached(("x",), [np.zeros(100, np.uint8)])
    assert not files(folder)


def test_writers_and_readers_of_one_entry_do_not_disturb_each_other():
    own = [np.arange(5000), np.zeros((3, 4), np.uint8)]

    def turn(number: int) -> bool:
        if number % 2:
            disk_cache.store_cached(("x",), own)
        found = disk_cache.load_cached(("x",))
        return found is None or equal(found, own)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(turn, range(200)))
    assert equal(disk_cache.load_cached(("x",)), own)


# --- digit sets -------------------------------------------------------------------------------------------------------


def test_a_recalled_set_is_the_one_that_was_read(tmp_path, monkeypatch):
    source = small_set(tmp_path / "set")
    read = {split: load(split, source) for split in ("train", "test", "fit", "validation")}
    for each in read.values():
        assert same(each, replace(each))  # which packs its own crops
    monkeypatch.setattr(bank, "_read_parts", None)
    monkeypatch.setattr("mnistcompose.rendering.crops._pack", None)
    for split, each in read.items():
        again = load(split, source)
        assert again is not each
        assert same(each, again)


@A_FEW
@given(st.data())
def test_a_damaged_cache_never_gives_other_digits(tmp_path, folder, data):
    source = small_set(tmp_path / "set")
    usual = load("train", source)
    assert crops(usual)
    path = data.draw(st.sampled_from(files(folder)))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert same(usual, load("train", source))


def test_what_determines_a_set_determines_the_entry(tmp_path):
    source = small_set(tmp_path / "set")
    usual = load("train", source)
    shifted = load("train", DigitSource(source, skip_blank=True))
    assert same(replace(usual, classes=10), shifted)
    small_set(tmp_path / "set", seed=1)
    other = load("train", source)
    assert usual.digest != other.digest
    assert not np.array_equal(usual.images, other.images)
    assert not np.array_equal(crops(usual)[0], crops(other)[0])
    small_set(tmp_path / "set", seed=0)
    assert same(usual, load("train", source))


def test_files_that_change_while_they_are_read_are_not_kept_as_what_they_were(tmp_path, monkeypatch):
    source = small_set(tmp_path / "set")
    usual, plain = load("train", small_set(tmp_path / "other")), bank._read_parts

    def changed(*arguments):
        small_set(source, seed=1)
        return plain(*arguments)

    monkeypatch.setenv("MNISTCOMPOSE_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(bank, "_read_parts", changed)
    assert load("train", source).digest != usual.digest
    monkeypatch.setattr(bank, "_read_parts", plain)
    assert same(usual, load("train", small_set(source)))


def test_a_bank_that_a_caller_changed_has_its_own_crops(tmp_path):
    usual = load("train", small_set(tmp_path / "set"))
    assert crops(usual)
    changed = replace(usual, images=255 - usual.images)
    assert not np.array_equal(crops(usual)[0], crops(changed)[0])


def test_reading_ahead_imports_no_compiler(tmp_path):
    code = (
        "import sys, mnistcompose.cli.build as b; b.read_ahead(None, 'train', 'test')\n"
        "import threading; [t.join() for t in threading.enumerate() if t.name == 'read_ahead']\n"
        "assert not {'numba', 'urllib.request', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
