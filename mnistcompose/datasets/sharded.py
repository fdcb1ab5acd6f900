"""A built dataset, read from its shards."""

import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BuildError, InputError
from ..storage.digests import check_digest, file_digest
from ..storage.files import failing
from ..storage.hdf5 import inspect, opened, read_shard
from ..storage.location import locate
from ..storage.manifest import ShardEntry, local_copy, read_manifest
from ..storage.schema import Promise, SplitName
from .base import Columns, DigitsDataset, Target, Transform, joined

_MAPPED = 512  # shards whose files are mapped at once; each holds a file descriptor, of which there are often 1024
_DECODED = 512 << 20  # bytes of decompressed shards that are kept
_RESIDENT = 256 << 20  # bytes of images: a split up to this size is read into memory at first use


class ShardedDigits(DigitsDataset):
    """A split of a built dataset, read from its shards.

    Files are opened on first use and are not pickled, so the dataset can be used in DataLoader workers that are forked
    or spawned. A split of up to 256 MB of images is read whole. In a larger one, uncompressed shards are mapped into
    memory, and together may exceed it; of compressed shards, half a gigabyte is kept decompressed.

    Parameters
    ----------
    root
        The dataset's folder, or a URL that fsspec knows.
    split
        'train' or 'test'.
    transform, target_transform
        Called with each image, a uint8 tensor (C, H, W), and with each target.
    target
        'number' for the number as one class, 'digits' for the class of each digit, 'set' for the digits that occur at
        any place: a 1 for each, for multi-label classifiers.
    verify
        Check the SHA-256 of all files first.

    Attributes
    ----------
    classes, slots, num_classes
        Number of classes of a digit; digits of a number; number of different numbers.
    shard_size
        Number of samples in a file.

    Raises
    ------
    InputError
        The folder holds no finished dataset.
    BuildError
        A file is missing or damaged.
    """

    def __init__(
        self,
        root: str | Path,
        split: SplitName,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        target: Target = "number",
        verify: bool = True,
    ) -> None:
        self.root = locate(root).absolute()
        self.split = split
        manifest = read_manifest(self.root)
        if split not in manifest.splits:
            raise InputError(f"{root}: no split {split!r}; there are {', '.join(map(repr, manifest.splits))}")
        self._shards = manifest.splits[split].shards
        self._starts = np.array([shard.first for shard in self._shards], np.int64)
        self._manifest = manifest.model_copy(update={"splits": {}})  # without the hashes of the other split
        count = manifest.splits[split].count
        super().__init__(count, manifest.classes, manifest.form, transform, target_transform, target)
        self.shard_size = manifest.shard_size
        self._compressed = manifest.compression != "none"
        self._most = max(1, _DECODED // (self.shard_size * self._image_bytes)) if self._compressed else _MAPPED
        self._open: dict[int, Columns] = {}
        self._whole: Columns | None = None
        if verify:
            self._verify()

    def __repr__(self) -> str:
        return f"ShardedDigits({str(self.root)!r}, {self.split!r}): {self._size}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_whole": None}

    def _verify(self) -> None:
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(self._check, self._shards):
                pass

    def _check(self, shard: ShardEntry) -> None:
        """Check a shard's hash, and that it holds what the manifest says."""
        path = local_copy(self.root, shard)
        check_digest(self.root / shard.name, file_digest(path), shard.sha256)
        with opened(path) as file:
            inspect(file, self.root / shard.name, self._manifest.promise(shard))

    def _read(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        if self._whole is None and 0 < len(self) * self._image_bytes <= _RESIDENT:
            self._whole = joined(list(self._pieces()))
        if self._whole is not None:
            return self._whole.images.take(positions, 0), self._targets(self._whole)[positions]
        order = np.argsort(positions)
        shards = np.searchsorted(self._starts, positions[order], side="right") - 1
        rows = positions[order] - self._starts[shards]
        images = np.empty((len(order), *self._image), np.uint8)
        number = self.target == "number"
        targets = np.empty(len(order), np.int64) if number else np.empty((len(order), self.slots), np.uint8)
        ends = np.flatnonzero(np.diff(shards, prepend=-1, append=-1)).tolist()
        for first, end in pairwise(ends):
            columns = self._columns(int(shards[first]))
            columns.images.take(rows[first:end], 0, images[first:end], "clip")  # other modes buffer the output
            self._targets(columns).take(rows[first:end], 0, targets[first:end], "clip")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return images.take(back, 0), targets.take(back, 0)

    def _pieces(self) -> Iterator[Columns]:
        for shard in self._shards:
            yield Columns(*map(np.array, self._load(shard)))

    def _columns(self, index: int) -> Columns:
        """A shard's arrays; the most recently used shards stay open."""
        columns = self._open.pop(index, None) or self._load(self._shards[index])
        self._open[index] = columns
        if len(self._open) > self._most:
            self._open.pop(next(iter(self._open)), None)
        return columns

    def _load(self, shard: ShardEntry) -> Columns:
        path, promise = local_copy(self.root, shard), self._manifest.promise(shard)
        if self._compressed:
            whole = read_shard(path, shard.sha256, promise)
            return Columns(whole.images, whole.labels, whole.digits)
        return _map_columns(path, promise)


def _map_columns(path: Path, promise: Promise) -> Columns:
    """The arrays of an uncompressed shard: the images mapped into memory, read-only, labels and digits copied."""
    with failing("read", path):
        binary = path.open("rb")
    with binary, opened(path) as file:
        inspect(file, path, promise)
        memory = mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = []
        for name in ("images", "labels", "digits"):
            column = file[name]
            offset = column.id.get_offset()
            if offset is None:
                raise BuildError(f"{path}: {name} is compressed, in the manifest it is not")
            arrays.append(np.ndarray(column.shape, column.dtype, buffer=memory, offset=offset))
    images, numbers, digits = arrays
    return Columns(images, numbers.copy(), digits.copy())  # they may be unaligned in the file, which is slow
