"""A built dataset, read from its shards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import flag
from ..storage.location import locate
from ..storage.manifest import read_manifest
from ..storage.open_shards import OpenShards
from ..storage.schema import SplitName
from .base import Columns, DigitsDataset, Transform, joined
from .targets import Target, source_of

_NAMES = ("images", "labels", "digits")
_RESIDENT = 256 << 20  # bytes of images: a split up to this size is read into memory at first use


class ShardedDigits(DigitsDataset):
    """A split of a built dataset, read from its shards.

    Files are opened on first use and are not pickled, so the dataset can be used in DataLoader workers that are forked
    or spawned. A split of up to 256 MB of images is read whole, and stays in memory. A larger one is read from its
    files: uncompressed shards are mapped into memory, and together may exceed it; compressed ones are decompressed. All
    datasets of a process, as in a `ConcatDataset`, together keep at most half a gigabyte of decompressed shards, and at
    most 512 open files, or half of what the system allows.

    Parameters
    ----------
    root
        The dataset's folder, or a URL that fsspec knows.
    split
        'train' or 'test'; 'test_unseen', if the layout holds numbers out.
    transform, target_transform
        Called with each image, a uint8 tensor (C, H, W), and with each target.
    target
        - 'number': the number as one class, with any label noise; 'clean': without label noise.
        - 'digits': class of each digit, int64 (k,); a place that a shorter number leaves empty has the class `classes`.
        - 'set': the digits that occur at any place, for multi-label classifiers: int64 (classes,), a 1 for each.
        - 'sum', 'product', 'max' of the digits that are there; 'parity': 0 if their sum is even, 1 if it is odd.
        - 'sorted': as 'digits', the lowest first; empty places come last.
        - A function of digits uint8 (n, k), in which 255 is an empty place, that returns an array whose first axis is
          n. It is called with batches of any size, so each row of its result may depend only on the same row of the
          digits. Whole numbers become int64. Spawned workers need a function that can be pickled.
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
        The folder holds no finished dataset, or the target is none of these.
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
        self._shards = OpenShards(self.root, manifest, split, _NAMES)
        form = manifest.form
        super().__init__(self._shards.count, manifest.classes, form, transform, target_transform, target)
        self.shard_size = manifest.shard_size
        self._whole: Columns | None = None
        if flag("verify", verify):
            self._shards.verify()

    def __repr__(self) -> str:
        return f"ShardedDigits({str(self.root)!r}, {self.split!r}): {self._size}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_whole": None}

    def _read(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        if self._whole is None and 0 < len(self) * self._image_bytes <= _RESIDENT:
            self._whole = joined(list(self._pieces()))
        if self._whole is not None:
            return self._whole.images.take(positions, 0), self._targets(self._whole)[positions]
        target = source_of(self.target)
        columns = self._shards.gather(positions, ("images", target))
        return columns["images"], columns[target]

    def _pieces(self) -> Iterator[Columns]:
        for number in range(len(self._shards)):
            arrays = self._shards.load(number)
            yield Columns(*(np.array(arrays[name]) for name in _NAMES))
