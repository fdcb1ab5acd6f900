"""HDF5 shards, encoded in memory and read back, and the virtual file that joins those of a split.

HDF5 holds one lock for the whole process, so a shard is made in memory and written in one go. When it is read whole,
it is hashed before HDF5 opens it, since HDF5 can crash on a damaged file.
"""

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import BuildError
from ..layout.model import MAX_SIDE, MAX_SLOTS
from ..quantities import counted, human_bytes
from .digests import check_digest
from .files import Pieces, failing
from .manifest import ShardEntry
from .schema import (
    BLOCK,
    COLUMN_TYPES,
    FORMAT,
    MAX_SHARD,
    MAX_SHARD_BYTES,
    Compression,
    Origin,
    Promise,
    SampleSchema,
    Shard,
    column_type,
)

_LEVEL = 4  # of gzip
_NOTE = (
    "Virtual: this file holds no images; they are in the files SPLIT-*-of-*.h5, which must be in the same folder. HDF5 "
    "does not report a missing one: its images read as 0, its labels as -1. `mnistcompose verify FOLDER` checks."
)


class _Sink:
    """A file object for HDF5 that does not copy large arrays, but records their offsets.

    HDF5's own in-memory files are copied twice before they reach the disk, which takes longer than drawing the digits.
    """

    def __init__(self, *arrays: NDArray[Any]) -> None:
        self._arrays = {array.ctypes.data: array for array in arrays}  # by address: those that need no copy
        self._written: dict[int, memoryview] = {}  # by offset in the file
        self._place = self._size = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset if whence == os.SEEK_SET else self._size + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, data: memoryview) -> int:
        view = np.frombuffer(data, np.uint8)
        array: NDArray[Any] = self._arrays.get(view.ctypes.data, view)
        kept = view.copy() if array is view or array.nbytes != view.size else array
        self._written[self._place] = kept.reshape(-1).view(np.uint8).data
        self._size = max(self._size, self._place + view.size)
        return view.size

    def truncate(self, size: int) -> int:
        self._size = size
        return size

    def flush(self) -> None:
        pass

    def pieces(self) -> Pieces:
        """The whole file, in order; bytes that were never written are zero."""
        pieces: Pieces = []
        end = 0
        for place, piece in sorted(self._written.items()):
            if place < end:
                raise RuntimeError(f"HDF5 wrote {len(piece)} bytes at {place}, over a part of an earlier write")
            pieces += [memoryview(bytes(place - end)), piece]
            end = place + len(piece)
        return [*pieces, memoryview(bytes(self._size - end))]


def _file(sink: _Sink, version: str) -> h5py.File:
    """Open an HDF5 file without a disk; its bytes depend only on its content."""
    name = uuid4().hex  # not stored; HDF5 refuses two open files of one name
    return h5py.File(name, "w", driver="fileobj", fileobj=sink, libver=(version, version))


def encode(shard: Shard, compression: Compression = "none") -> Pieces:
    """Make a shard's HDF5 file, as consecutive pieces; the bytes are the same every time.

    Without compression, the large pieces are the shard's own arrays, not copies.
    """
    arrays = {name: np.ascontiguousarray(getattr(shard, name), COLUMN_TYPES[name][0]) for name in shard.form.columns}
    chunks = {name: _deflate(array) for name, array in arrays.items()} if compression == "gzip" else {}
    sink = _Sink(*arrays.values())
    with _file(sink, "v108") as file:
        file.attrs["format"] = FORMAT
        file.attrs.update(vars(shard.origin))
        for name, array in arrays.items():
            if chunks:
                options = {
                    "chunks": (min(BLOCK, len(array)), *array.shape[1:]),
                    "compression": "gzip",
                    "compression_opts": _LEVEL,
                }
                dataset = file.create_dataset(name, array.shape, array.dtype, **options)
                for number, chunk in enumerate(chunks[name]):
                    dataset.id.write_direct_chunk((number * BLOCK, *[0] * (array.ndim - 1)), chunk)
            else:
                dataset = file.create_dataset(name, data=array)
            dataset.attrs["unit"] = COLUMN_TYPES[name][2]
    return sink.pieces()


def _deflate(array: NDArray[Any]) -> list[bytes]:
    """Compress block by block, outside HDF5's lock; HDF5 requires the last of several chunks to be padded."""
    rest = -len(array) % BLOCK if len(array) > BLOCK else 0
    full = np.concatenate([array, np.zeros((rest, *array.shape[1:]), array.dtype)]) if rest else array
    return [zlib.compress(full[start : start + BLOCK].data, _LEVEL) for start in range(0, len(full), BLOCK)]


def read_shard(path: Path, sha256: str, promise: Promise | None = None) -> Shard:
    """Read a shard whose hash is known.

    Parameters
    ----------
    sha256
        SHA-256 of the file, from the manifest; HDF5 does not open any other file.
    promise
        What it must hold; compared before an array is read.

    Raises
    ------
    BuildError
        The file is missing, damaged, not a shard of this format, or another shard than promised.
    """
    with failing("read", path):
        content = path.read_bytes()
    check_digest(path, hashlib.sha256(content).hexdigest(), sha256)
    with decoding(path), h5py.File(h5py.h5f.open_file_image(content), "r") as file:
        found = inspect(file, path, promise)
        arrays = {name: file[name][...] for name in found.form.columns}
    return Shard(found.origin, **arrays)


def read_promise(path: Path) -> Promise:
    """Read what a local shard's file says it holds, without its arrays.

    Raises
    ------
    BuildError
        The file is missing, or not a shard of this format.
    """
    with opened(path) as file:
        return inspect(file, path)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a local file for reading; through Python, so that HDF5 takes no lock, which not every file system has."""
    with failing("read", path):
        binary = path.open("rb")
    with binary, decoding(path), h5py.File(binary, "r") as file:
        yield file


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn HDF5's error for a damaged file into a BuildError of one line that names it."""
    try:
        yield
    except BuildError:
        raise
    except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise BuildError(f"{path}: not a shard: {' '.join(str(error).split())}") from None


def inspect(file: h5py.File, path: Path, promise: Promise | None = None) -> Promise:
    """Check what a shard's file says it holds, before an array is read.

    Raises
    ------
    BuildError
        It is not a shard of this format, or another one than promised, or its arrays are larger than allowed or not
        all in the file.
    """
    attributes = dict(file.attrs)
    if attributes.pop("format", None) != FORMAT:
        raise BuildError(f"{path}: not a shard of format {FORMAT}")
    whole = {name: index(attributes[name]) for name in ("seed", "first", "classes")}
    words = {name: str(attributes[name]) for name in ("split", "spec_digest", "digits_digest")}
    image = _column(file, "images", path).shape[1:]
    form = SampleSchema(_column(file, "digits", path).shape[-1], image, "masks" in file, "labels_clean" in file)
    found = Promise(len(_column(file, "labels", path)), form, Origin(**whole, **words))  # type: ignore[arg-type]
    if promise and (difference := next(promise.differences(found), None)):
        raise BuildError(f"{path}: {difference}")
    if found.count > MAX_SHARD or not 1 <= form.slots <= MAX_SLOTS:
        raise BuildError(
            f"{path}: promises {counted(found.count, 'sample')} of {counted(form.slots, 'digit')}; "
            f"allowed are {MAX_SHARD:,} of {MAX_SLOTS}"
        )
    if max(image[:2], default=0) > MAX_SIDE or len(image) not in (2, 3) or image[2:] not in ((), (3,)):
        raise BuildError(f"{path}: images of {' x '.join(map(str, image))}; at most {MAX_SIDE} x {MAX_SIDE} x 3")
    if (size := found.count * form.sample_bytes) > MAX_SHARD_BYTES:
        raise BuildError(f"{path}: promises {human_bytes(size)}; at most {human_bytes(MAX_SHARD_BYTES)} are allowed")
    for name in form.columns:
        kind, shape = column_type(name, form)
        dataset, expected = _column(file, name, path), (found.count, *shape)
        if dataset.shape != expected or dataset.dtype != np.dtype(kind):
            raise BuildError(
                f"{path}: {name} is {dataset.dtype} {dataset.shape}, should be {np.dtype(kind)} {expected}"
            )
        if not _is_stored(dataset):
            raise BuildError(f"{path}: {name} is not wholly in the file; what is missing would read as zeros")
    return found


def _column(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """One of the shard's arrays, which must be stored in the file itself, with no other filter than gzip."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise BuildError(f"{path}: {name} is missing, or stored elsewhere")
    dataset = file[name]
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(number)[0] for number in range(plan.get_nfilters())}
    # a chunk is decompressed whole, and may be larger than what it holds
    bounded = dataset.chunks is None or (dataset.chunks[0] <= BLOCK and dataset.chunks[1:] == dataset.shape[1:])
    if dataset.is_virtual or dataset.external or filters - {h5py.h5z.FILTER_DEFLATE} or not bounded:
        raise BuildError(f"{path}: {name} is not stored in the file, or in a way that is not allowed")
    return dataset


def _is_stored(dataset: h5py.Dataset) -> bool:
    """Whether every element is in the file; HDF5 reads what is not as zeros."""
    if dataset.chunks:
        return bool(dataset.id.get_num_chunks() == -(-len(dataset) // dataset.chunks[0]))
    return bool(dataset.id.get_storage_size() == dataset.nbytes)


def virtual_bytes(shards: Sequence[ShardEntry], form: SampleSchema) -> bytes:
    """Make the virtual HDF5 file that joins all of a split's shards, which are next to it.

    A shard that is missing reads as fill values: -1 in labels, 0 elsewhere. HDF5 has no option that makes it an
    error, so the file's attributes say it.
    """
    total = sum(shard.count for shard in shards)
    sink = _Sink()
    with _file(sink, "v110") as file:
        file.attrs["note"] = _NOTE
        for name in form.columns:
            kind, _, unit = COLUMN_TYPES[name]
            shape = form.shape(name)
            whole = h5py.h5s.create_simple((total, *shape))
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_obj_track_times(False)  # which h5py's own virtual datasets leave on
            plan.set_fill_value(np.array(-1 if name.startswith("labels") else 0, kind))
            for shard in shards:
                whole.select_hyperslab((shard.first, *[0] * len(shape)), (shard.count, *shape))
                part = h5py.h5s.create_simple((shard.count, *shape))
                plan.set_virtual(whole, shard.name.encode(), name.encode(), part)
            whole.select_all()
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(kind)), whole, plan)
            file[name].attrs["unit"] = unit
    return b"".join(sink.pieces())
