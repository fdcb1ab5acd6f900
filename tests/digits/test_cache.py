"""The cache of digit sets: each set is read once, however many threads ask for it."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np

from mnistcompose import load_digits
from mnistcompose.digits import bank


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def test_threads_that_need_a_set_wait_until_one_has_read_it(tmp_path: Path, monkeypatch):
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(np.full((40, 8, 8), 200, np.uint8)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(40, dtype=np.uint8) % 10))
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
