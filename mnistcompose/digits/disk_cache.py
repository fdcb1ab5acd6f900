"""Arrays computed from digit files, cached in the user's cache folder, so that the next process need not compute them.

An entry is named by a hash of all that determines it, and begins with a hash of its arrays. A missing,
damaged or unreadable entry is computed again. If the folder cannot be written to, nothing is cached.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..caches import cache_folder
from ..sources import hash_sources, sources_of

MAX_ENTRY = 1 << 28  # bytes of an entry
_LEAST = 1 << 20  # bytes; to compute less takes hardly any time
_TOTAL = 1 << 29  # bytes of all entries; those that were used last stay

Identity = tuple[str, ...]
Arrays = Sequence[NDArray[Any]]


def load_cached(identity: Identity) -> list[NDArray[Any]] | None:
    """Return the arrays that were kept, which cannot be written to, or None.

    They are read into memory: a mapped file could be cut off by another process, which would end this one.
    """
    try:
        path = _entry(identity)
        with path.open("rb") as file:
            size, seal = os.fstat(file.fileno()).st_size, file.read(hashlib.sha256().digest_size)
            arrays = []
            while file.tell() < size <= 2 * MAX_ENTRY:
                arrays.append(np.load(file, allow_pickle=False))
        if _seal(arrays) != seal:
            return None
    except Exception:  # what is damaged can make numpy raise anything
        return None
    with suppress(OSError):
        os.utime(path)  # it was used
    for array in arrays:
        array.setflags(write=False)
    return arrays


def store_cached(identity: Identity, arrays: Arrays) -> None:
    """Keep arrays, if they are worth it and the folder can be written to; remove what was not used for long."""
    size = sum(array.nbytes for array in arrays)
    if not _LEAST <= size <= MAX_ENTRY:
        return
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        path = _entry(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, size)
        temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}")
        try:
            with temporary.open("xb") as file:
                file.write(_seal(arrays))
                for array in arrays:
                    np.save(file, array, allow_pickle=False)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _seal(arrays: Arrays) -> bytes:
    """SHA-256 of types, shapes and content; the arrays are C-contiguous."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.dtype.str} {array.shape}\n".encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.digest()


def _make_room(folder: Path, size: int) -> None:
    """Remove entries, and what writers that were killed have left, so that a new one fits next to those used last."""
    found = [(each.stat(), each) for each in folder.iterdir()]
    for status, path in sorted(found, key=lambda pair: pair[0].st_mtime, reverse=True):
        size += status.st_size
        if size > _TOTAL:
            path.unlink(missing_ok=True)


def _entry(identity: Identity) -> Path:
    """File of an entry."""
    return cache_folder("digits") / hashlib.sha256("\n".join((_code(), *identity)).encode()).hexdigest()


@cache
def _code() -> str:
    """Hash of the code that computes what is kept."""
    return hash_sources(sources_of("digits", "rendering"))
