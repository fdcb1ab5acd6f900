"""The cache of digit sets: each set is read once, however many threads ask for it."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from threading import enumerate as enumerate_threads

import numpy as np
import pytest

from mnistcompose import InputError, load_digits
from mnistcompose.digits import bank
from mnistcompose.rendering.crops import read_ahead


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def small_set(folder: Path) -> Path:
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(np.full((40, 8, 8), 200, np.uint8)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(40, dtype=np.uint8) % 10))
    return folder


def joined() -> None:
    for thread in enumerate_threads():
        if thread.name == "read_ahead":
            thread.join(timeout=60)


def test_a_set_that_was_read_ahead_is_not_read_again(tmp_path: Path, monkeypatch):
    read_ahead(small_set(tmp_path), "train")
    joined()
    monkeypatch.setattr(bank, "read_part", None)
    assert len(load_digits("train", tmp_path).labels) == 40


def test_what_fails_ahead_is_told_to_the_one_who_needs_it(tmp_path: Path, recwarn):
    small_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"no IDX file")
    read_ahead(tmp_path, "train")
    joined()
    with pytest.raises(InputError, match="train-labels"):
        load_digits("train", tmp_path)
    assert not recwarn.list


def test_threads_that_need_a_set_wait_until_one_has_read_it(tmp_path: Path, monkeypatch):
    small_set(tmp_path)
    read, plain, together = [], bank.read_part, Barrier(8, timeout=60)

    def slow(*arguments: object, **options: object) -> object:
        read.append(arguments)
        time.sleep(0.1)
        return plain(*arguments, **options)

    def load(_: int) -> bank.DigitBank:
        together.wait()
        return load_digits("train", tmp_path)

    monkeypatch.setattr(bank, "read_part", slow)
    with ThreadPoolExecutor(8) as pool:
        banks = list(pool.map(load, range(8)))
    assert len(read) == 2  # the training and the test images, once each
    assert all(each is banks[0] for each in banks)
