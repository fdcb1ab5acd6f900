"""Shards as arrays: mapped into memory or decompressed, and limited in number for the whole process.

A mapped file holds a descriptor, of which a process often has 1,024, and a program may read hundreds of datasets. The
shards that were used last stay open, whichever dataset they belong to.
"""

import hashlib
import mmap
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from ..caches import cache_folder
from ..errors import BuildError, InputError
from ..forking import ThreadLock
from .digests import check_digest, file_digest
from .files import failing, write_file
from .hdf5 import inspect, opened, read_shard
from .location import is_local
from .manifest import FileEntry, Manifest, ShardEntry
from .schema import Promise, SampleSchema, SplitName, column_type

_MAPPED = 512  # files that are mapped at once, or half of the process's descriptors if these are fewer
_DECODED = 512 << 20  # bytes of decompressed or copied arrays that are kept

Arrays = dict[str, NDArray[Any]]


class OpenShards:
    """A split's shards by number, each as arrays by name, which must not be changed.

    Attributes
    ----------
    form
        What the samples look like.
    starts : int64 (shards,)
        Index of each shard's first sample.
    count
        Number of samples.

    Raises
    ------
    InputError
        There is no such split.
    """

    def __init__(self, root: Path, manifest: Manifest, split: SplitName, names: Sequence[str]) -> None:
        if split not in manifest.splits:
            raise InputError(f"{root}: no split {split!r}; there are {', '.join(map(repr, manifest.splits))}")
        self._root, self._names = root, tuple(names)
        self._entries = manifest.splits[split].shards
        self._manifest = manifest.model_copy(update={"splits": {}})  # without the hashes of the other splits
        self._compressed = manifest.compression != "none"
        self.form: SampleSchema = manifest.form
        self.starts = np.array([entry.first for entry in self._entries], np.int64)
        self.count = manifest.splits[split].count
        self._open: dict[int, Arrays] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, number: int) -> Arrays:
        """Return a shard's arrays, and keep it open.

        Raises
        ------
        BuildError
            The file is missing, damaged, or not as the manifest says.
        """
        arrays = self._open.get(number)
        if arrays is None:
            arrays = self._open[number] = self.load(number)
            owned = sum(array.nbytes for array in arrays.values() if array.flags.owndata)
            with _lock:
                _used[id(self), number] = ref(self), 0 if self._compressed else 1, owned
                _close_some()
        else:
            with _lock, suppress(KeyError):  # another thread may just have closed it
                _used.move_to_end((id(self), number))
        return arrays

    def load(self, number: int) -> Arrays:
        """Return a shard's arrays without keeping it open.

        Raises
        ------
        BuildError
            As above.
        """
        entry = self._entries[number]
        path, promise = _local_copy(self._root, entry), self._manifest.promise(entry)
        if not self._compressed:
            return _map(path, promise, self._names)
        shard = read_shard(path, entry.sha256, promise)
        return {name: getattr(shard, name) for name in self._names}

    def verify(self) -> None:
        """Check the SHA-256 of all files, and that they hold what the manifest says.

        Raises
        ------
        BuildError
            A file is missing, damaged, or of another recipe.
        """
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self._check, self._entries):
                pass

    def _check(self, entry: ShardEntry) -> None:
        path = _local_copy(self._root, entry)
        if not is_local(self._root) and file_digest(path) != entry.sha256:
            path.unlink(missing_ok=True)  # the copy is damaged, not the file
            path = _local_copy(self._root, entry)
        check_digest(self._root / entry.name, file_digest(path), entry.sha256)
        with opened(path) as file:
            inspect(file, self._root / entry.name, self._manifest.promise(entry))

    def gather(self, positions: NDArray[np.int64], names: Sequence[str]) -> Arrays:
        """Copy samples, each shard's in one go, in the order of the positions, int64 (n,)."""
        order = np.argsort(positions)
        numbers = np.searchsorted(self.starts, positions[order], side="right") - 1
        rows = positions[order] - self.starts[numbers]
        types = {name: column_type(name, self.form) for name in names}
        found = {name: np.empty((len(order), *shape), kind) for name, (kind, shape) in types.items()}
        ends = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)).tolist()
        for first, end in pairwise(ends):
            arrays = self[int(numbers[first])]
            for name, into in found.items():
                arrays[name].take(rows[first:end], 0, into[first:end], "clip")  # other modes buffer the output
        if (positions[1:] >= positions[:-1]).all():
            return found  # in order already
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return {name: array.take(back, 0) for name, array in found.items()}

    def close(self, number: int) -> None:
        """Forget a shard's arrays; its file is closed when nobody uses them any more."""
        self._open.pop(number, None)


_used: OrderedDict[tuple[int, int], tuple["ref[OpenShards]", int, int]] = OrderedDict()  # files and bytes; oldest first
_lock = ThreadLock()


def _most_files() -> int:
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # Windows, where a mapped file holds no descriptor
        return _MAPPED
    soft, _ = getrlimit(RLIMIT_NOFILE)
    return _MAPPED if soft < 0 else min(_MAPPED, soft // 2)


def _close_some() -> None:
    """Close the shards that were used longest ago, as far as the limits demand; the newest stays open."""
    files = size = 0
    most = _most_files()
    for place, (key, (owner, file, owned)) in enumerate(reversed(list(_used.items()))):
        shards = owner()
        if shards is not None and (place == 0 or (files + file <= most and size + owned <= _DECODED)):
            files, size = files + file, size + owned
            continue
        _used.pop(key, None)
        if shards is not None:
            shards.close(key[1])


def _map(path: Path, promise: Promise, names: Sequence[str]) -> Arrays:
    """The arrays of an uncompressed shard, read-only: mapped into memory, or copied where that reads faster."""
    with failing("read", path):
        binary = path.open("rb")
    with binary, opened(path) as file:
        inspect(file, path, promise)
        memory = mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ)
        arrays: Arrays = {}
        for name in names:
            column = file[name]
            offset = column.id.get_offset()
            if offset is None:
                raise BuildError(f"{path}: {name} is compressed, in the manifest it is not")
            mapped: NDArray[Any] = np.ndarray(column.shape, column.dtype, buffer=memory, offset=offset)
            arrays[name] = mapped if mapped.flags.aligned else mapped.copy()  # each `take` would copy all of it
    return arrays


def _local_copy(root: Path, entry: FileEntry) -> Path:
    """A dataset's file on this machine: the file itself, or a copy that is fetched once and named by its hash.

    Raises
    ------
    BuildError
        The file cannot be fetched, or does not have the SHA-256 in the manifest.
    """
    path = root / entry.name
    if is_local(root):
        return path
    copy = cache_folder("shards") / f"{entry.sha256}.h5"
    if not copy.is_file() or copy.stat().st_size != entry.bytes:
        with failing("read", path):
            content = path.read_bytes()
        check_digest(path, hashlib.sha256(content).hexdigest(), entry.sha256)
        with failing("write", copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
        write_file(copy, content)
    return copy
