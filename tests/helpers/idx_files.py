"""Digit sets in files, as tests need them."""

import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mnistcompose.digits.ink import INK

PUBLISHED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def idx(array: np.ndarray) -> bytes:
    code = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def digits(count: int, classes: int = 10, seed: int = 0, size: tuple[int, int] = (28, 28)) -> tuple:
    images = np.random.default_rng(seed).integers(INK, 256, (count, *size), np.uint8)
    images[:, :3] = images[:, :, :5] = 0  # boxes that tell rows from columns
    return images, np.arange(count, dtype=np.uint8) % classes


def write(folder: Path, parts: dict[str, np.ndarray | bytes], suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        (folder / f"{name}{suffix}").write_bytes(PACK[suffix](part if isinstance(part, bytes) else idx(part)))
    return folder


def mnist_like(train: tuple, test: tuple) -> dict[str, np.ndarray | bytes]:
    return dict(zip(PUBLISHED_MD5, (*train, *test), strict=True))
