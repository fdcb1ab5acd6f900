"""SHA-256 digests of samples, splits and files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import BuildError
from ..quantities import shown
from .files import Pieces, failing
from .schema import BLOCK


def block_digests(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[str, ...]:
    """SHA-256 of each block of 1000 samples: the images' bytes, then the labels as little-endian 64-bit integers.

    Parameters
    ----------
    images : uint8 (n, H, W), in colour (n, H, W, 3)
        Starting at a multiple of 1000 samples.
    labels : int64 (n,)
    """
    digests = []
    for start in range(0, len(labels), BLOCK):
        state = hashlib.sha256(np.ascontiguousarray(images[start : start + BLOCK]).data)
        state.update(labels[start : start + BLOCK].astype("<i8").data)
        digests.append(state.hexdigest())
    return tuple(digests)


def split_digest(blocks: Iterable[str]) -> str:
    """Digest of a split: SHA-256 of its blocks' digests (32 bytes each), in order."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, blocks))).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises
    ------
    BuildError
        The file cannot be read.
    """
    with failing("read", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path, found: str, expected: str) -> None:
    """Reject a file whose SHA-256 is not the one in the manifest.

    Raises
    ------
    BuildError
        The digests differ.
    """
    if found != expected:
        raise BuildError(f"{path}: damaged: its SHA-256 is {shown(found)}, in the manifest {shown(expected)}")


def pieces_digest(pieces: Pieces) -> str:
    """SHA-256 of the file that consists of the pieces."""
    state = hashlib.sha256()
    for piece in pieces:
        state.update(piece)
    return state.hexdigest()
