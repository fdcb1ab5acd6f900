"""The datasets as torch sees them: `ShardedDigits` reads a built one, `ComposedDigits` makes its samples on the fly.

A DataLoader fetches whole batches from both. The fastest way is to index with a whole batch, which needs no collation:
`DataLoader(data, batch_size=None, sampler=BlockShuffle(len(data), 512))`.
"""

import math
import mmap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ..building.build import cores
from ..digits.bank import DigitBank, Split, load_digits
from ..errors import BuildError, InputError
from ..layout.spec import LayoutSpec
from ..rendering.draws import ABSENT, Draws, draw, draw_at
from ..rendering.render import labels, render
from ..storage.location import locate
from ..storage.shards import (
    Form,
    ShardEntry,
    SplitName,
    check_digest,
    column_of,
    column_type,
    decoding,
    failing,
    file_digest,
    local_copy,
    read_manifest,
    read_shard,
)

Target = Literal["number", "digits", "set"]
Transform = Callable[[Any], Any]
Index = int | slice | Sequence[int] | NDArray[np.integer[Any]] | Tensor

_MAPPED = 512  # shards whose files are mapped at once; each holds a file descriptor, of which there are often 1024
_DECODED = 512 << 20  # bytes of decompressed shards that are kept
_RESIDENT = 256 << 20  # bytes of images: a split of no more is read into memory at first use
MAX_LENGTH = 10**15  # samples of a split made on the fly
_CHUNK = 5000  # samples that a thread renders at once


class _Columns(NamedTuple):
    """The pixels of some samples, and what they show."""

    images: NDArray[np.uint8]  # (n, H, W), in colour (n, H, W, 3)
    labels: NDArray[np.int64]  # (n,)
    digits: NDArray[np.uint8]  # (n, k)


def _joined(parts: list[_Columns]) -> _Columns:
    images, numbers, digits = zip(*parts, strict=True)
    return _Columns(np.concatenate(images), np.concatenate(numbers), np.concatenate(digits))


class _Digits(Dataset[Any]):
    """What both datasets have in common: indices, targets and transforms."""

    def __init__(
        self,
        count: int,
        classes: int,
        form: Form,
        transform: Transform | None,
        target_transform: Transform | None,
        target: Target,
    ) -> None:
        if target not in get_args(Target):
            raise InputError(f"target = {target!r}; should be 'number', 'digits' or 'set'")
        self.classes = classes
        self.slots = form.slots
        self.transform = transform
        self.target_transform = target_transform
        self.target = target
        self._count = count
        self._image = form.image

    @property
    def num_classes(self) -> int:
        """How many different numbers there can be."""
        return int(self.classes**self.slots)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image, as torch has it."""
        height, width, *colors = self._image
        return colors[0] if colors else 1, height, width

    @property
    def _image_bytes(self) -> int:
        return math.prod(self._image)

    @property
    def _size(self) -> str:
        return f"{len(self):,} images, {self.num_classes:,} classes"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Index) -> tuple[Any, Any]:
        """Give a sample, or, for a slice or several indices, a ready batch.

        Returns
        -------
        image
            uint8 tensor (C, H, W), as a rule (1, 28, 28); a batch (n, C, H, W). With a `transform`, what that makes of
            each.
        target
            The number, an int; with `target="digits"` an int64 tensor (k,), with `target="set"` one of zeros and ones
            (classes,). A batch: int64 tensor (n,), (n, k) or (n, classes). In `digits`, a place that a shorter number
            leaves empty is of one class more, `classes`.
        """
        positions = self._positions(index)
        if positions.ndim == 0:
            return self.__getitems__(positions[None])[0]
        if self.transform or self.target_transform:
            images, targets = default_collate(self.__getitems__(positions))
            return images, targets
        return self._batch(positions)

    def __getitems__(self, indices: Index) -> list[tuple[Any, Any]]:
        """Give several samples, read at once; a DataLoader calls this for a batch."""
        images, targets = self._batch(self._positions(indices))
        transform, target_transform = self.transform or _same, self.target_transform or _same
        each = targets.tolist() if targets.ndim == 1 else targets
        return [(transform(image), target_transform(target)) for image, target in zip(images, each, strict=True)]

    def _positions(self, index: Index) -> NDArray[np.int64]:
        """Indices as an array of none or one dimension, negative ones counted from the end."""
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)), dtype=np.int64)
        array = np.asarray(index)
        if array.ndim > 1 or (array.dtype.kind not in "iu" and array.size):
            raise TypeError(f"an index is a whole number, a slice or a list of whole numbers; got {index!r}")
        wrong = (array < -len(self)) | (array >= len(self))
        if wrong.any():
            raise IndexError(f"index {array[wrong].flat[0]} is out of range: there are {len(self)} images")
        positions: NDArray[np.int64] = np.where(array < 0, array + len(self), array).astype(np.int64)
        return positions

    def _batch(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, targets = self._read(positions)
        return _as_batch(images), self._as_target(targets)

    def _targets(self, columns: _Columns) -> NDArray[Any]:
        """What targets are made of."""
        return columns.labels if self.target == "number" else columns.digits

    def _as_target(self, stored: NDArray[Any]) -> Tensor:
        """Targets int64 (n,), (n, k) or (n, classes), of labels or digits."""
        if self.target == "number":
            return torch.from_numpy(stored)
        digits = torch.from_numpy(np.where(stored == ABSENT, self.classes, stored.astype(np.int64)))
        if self.target == "digits":
            return digits
        return torch.zeros(len(digits), self.classes + 1, dtype=torch.int64).scatter_(1, digits, 1)[:, :-1]

    def _read(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Images and targets, as they are stored."""
        raise NotImplementedError

    def _pieces(self) -> Iterator[_Columns]:
        """All samples in order, some thousand at a time."""
        raise NotImplementedError

    def as_tensors(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Put the whole split on a device; transforms are not applied.

        Returns
        -------
        images : uint8 (N, C, H, W)
        targets : int64 (N,), (N, k) for `target="digits"`, or (N, classes) for `target="set"`
        """
        shape = {"number": (len(self),), "digits": (len(self), self.slots), "set": (len(self), self.classes)}
        images = torch.empty((len(self), *self.image_shape), dtype=torch.uint8, device=device)
        targets = torch.empty(shape[self.target], dtype=torch.int64, device=device)
        start = 0
        for columns in self._pieces():
            stop = start + len(columns.labels)
            images[start:stop] = _as_batch(columns.images).to(device)
            targets[start:stop] = self._as_target(self._targets(columns)).to(device)
            start = stop
        return images, targets


def _same(value: Any) -> Any:
    return value


def _as_batch(images: NDArray[np.uint8]) -> Tensor:
    """Images (n, H, W) or (n, H, W, 3) as torch has them, (n, C, H, W)."""
    batch = torch.from_numpy(images)
    return batch.unsqueeze(1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2).contiguous()


# --- from disk ------------------------------------------------------------------------------------------------------


class ShardedDigits(_Digits):
    """A split of a built dataset, read from its shards.

    Files are opened on first use and never travel: the dataset can be pickled, and used in DataLoader workers that are
    forked or spawned. A split of up to 256 MB of images is read whole. Of a larger one, shards without compression are
    mapped into memory, and may be larger than it together; of compressed ones, half a gigabyte is kept decompressed.

    Parameters
    ----------
    root
        The dataset's folder.
    split
        'train' or 'test'.
    transform, target_transform
        Called with each image, a uint8 tensor (C, H, W), and with each target.
    target
        'number' for the number as one class, 'digits' for the class of each digit, 'set' for the digits that occur,
        whatever their places: a 1 for each, for classifiers with several labels.
    verify
        Hash the files first.

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
        self._form = manifest.form
        count = manifest.splits[split].count
        super().__init__(count, manifest.classes, self._form, transform, target_transform, target)
        self.shard_size = manifest.shard_size
        self._compressed = manifest.compression != "none"
        self._most = max(1, _DECODED // (self.shard_size * self._image_bytes)) if self._compressed else _MAPPED
        self._open: dict[int, _Columns] = {}
        self._whole: _Columns | None = None
        if verify:
            self._verify()

    def __repr__(self) -> str:
        return f"ShardedDigits({str(self.root)!r}, {self.split!r}): {self._size}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_whole": None}

    def _verify(self) -> None:
        with ThreadPoolExecutor() as pool:
            digests = pool.map(file_digest, [local_copy(self.root, shard) for shard in self._shards])
            for shard, digest in zip(self._shards, digests, strict=True):
                check_digest(self.root / shard.name, digest, shard.sha256)

    def _read(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        if self._whole is None and 0 < len(self) * self._image_bytes <= _RESIDENT:
            self._whole = _joined(list(self._pieces()))
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
            columns.images.take(rows[first:end], 0, images[first:end], "clip")  # other modes take a detour to `out`
            self._targets(columns).take(rows[first:end], 0, targets[first:end], "clip")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return images.take(back, 0), targets.take(back, 0)

    def _pieces(self) -> Iterator[_Columns]:
        for shard in self._shards:
            yield _Columns(*map(np.array, self._load(shard)))

    def _columns(self, index: int) -> _Columns:
        """A shard's arrays; the shards that were used last stay open."""
        columns = self._open.pop(index, None) or self._load(self._shards[index])
        self._open[index] = columns
        if len(self._open) > self._most:
            self._open.pop(next(iter(self._open)), None)
        return columns

    def _load(self, shard: ShardEntry) -> _Columns:
        path = local_copy(self.root, shard)
        if self._compressed:
            whole = read_shard(path, shard.sha256)
            return _Columns(whole.images, whole.labels, whole.digits)
        return _map_columns(path, shard.count, self._form)


def _map_columns(path: Path, count: int, form: Form) -> _Columns:
    """The arrays of an uncompressed shard where they lie in the file, mapped into memory, read-only."""
    types = {name: column_type(name, form) for name in ("images", "labels", "digits")}
    wanted = {name: (kind, (count, *shape)) for name, (kind, shape) in types.items()}
    with failing("read", path):
        binary = path.open("rb")
    with binary, decoding(path), h5py.File(path, "r") as file:
        memory = mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = []
        for name, (kind, shape) in wanted.items():
            column = column_of(file, name, path)
            offset = column.id.get_offset()
            if column.shape != shape or column.dtype != np.dtype(kind) or offset is None:
                raise BuildError(f"{path}: {name} is not as the manifest says")
            arrays.append(np.ndarray(shape, kind, buffer=memory, offset=offset))
    images, numbers, digits = arrays
    return _Columns(images, numbers.copy(), digits.copy())  # in the file they need not be aligned, which is slow


# --- on the fly -----------------------------------------------------------------------------------------------------


class ComposedDigits(_Digits):
    """The samples of a split, made when they are asked for; sample i has the same bytes as in a built dataset.

    Samples are independent of each other, so there is nothing to gain from shuffling. Besides 'train' and 'test' there
    are 'fit' and 'validation', for model selection: both are composed of training digits, of disjoint ones.

    Parameters
    ----------
    spec
        The layout.
    split
        'train', 'test', 'fit' or 'validation'.
    seed
        0 .. 2**63 - 1.
    length
        Number of samples; without it the layout's, for 'fit' as for 'train', for 'validation' as for 'test'.
    transform, target_transform, target
        As for `ShardedDigits`.
    digits
        Folder of another digit set than MNIST; see `load_digits`.

    Raises
    ------
    InputError
        An argument is out of its range, or the digit set cannot be read.
    """

    def __init__(
        self,
        spec: LayoutSpec,
        split: Split,
        seed: int = 0,
        length: int | None = None,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        target: Target = "number",
        digits: str | Path | None = None,
    ) -> None:
        if not 0 <= seed < 2**63:
            raise InputError(f"seed = {seed}; should be 0 .. 2**63 - 1")
        if length is None:
            length = spec.train if split in ("train", "fit") else spec.test
        if not 0 <= length <= MAX_LENGTH:
            raise InputError(f"length = {length}; should be 0 .. {MAX_LENGTH}")
        self.spec = spec
        self.split = split
        self.seed = seed
        self._folder = Path(digits).absolute() if digits is not None else None
        form = Form(len(spec.slots), spec.output.shape)
        super().__init__(length, self._bank.classes, form, transform, target_transform, target)

    def __repr__(self) -> str:
        return f"ComposedDigits({self.spec.name!r}, {self.split!r}, seed={self.seed}): {self._size}"

    @property
    def _bank(self) -> DigitBank:
        """The source digits, read once in a process; they are not pickled."""
        return load_digits(self.split, self._folder)

    def _read(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        if (np.diff(positions) == 1).all() and len(positions):
            columns = self._run(int(positions[0]), int(positions[-1]) + 1)
        else:
            columns = self._make(draw_at(self.spec, self.split, positions, self.seed, self._bank))
        return columns.images, self._targets(columns)

    def _run(self, start: int, stop: int) -> _Columns:
        return self._make(draw(self.spec, self.split, start, stop, self.seed, self._bank))

    def _make(self, draws: Draws) -> _Columns:
        return _Columns(render(self._bank, self.spec, draws)[0], *labels(self._bank, draws))

    def batches(self, batch_size: int, threads: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Go through the split in order, in batches that threads make ahead: the fastest way to fresh samples.

        Transforms are not applied.

        Parameters
        ----------
        batch_size
            At least 1; the last batch may be smaller.
        threads
            How many render at once; without it, one a core.

        Yields
        ------
        images : uint8 (batch_size, C, H, W)
        targets : int64 (batch_size,), (batch_size, k) for `target="digits"`, (batch_size, classes) for `target="set"`

        Raises
        ------
        InputError
            An argument is less than 1.
        """
        if batch_size < 1 or (threads is not None and threads < 1):
            raise InputError(f"batch_size = {batch_size}, threads = {threads}; both should be at least 1")
        for columns in self._ahead(batch_size * max(1, _CHUNK // batch_size), threads or cores()):
            images = _as_batch(columns.images)
            targets = self._as_target(self._targets(columns))
            yield from zip(torch.split(images, batch_size), torch.split(targets, batch_size), strict=True)

    def _pieces(self) -> Iterator[_Columns]:
        return self._ahead(_CHUNK, cores())

    def _ahead(self, chunk: int, threads: int) -> Iterator[_Columns]:
        """All samples in order, some thousand at a time, each thread at most one piece ahead."""
        starts = iter(range(0, len(self), chunk))
        with ThreadPoolExecutor(threads) as pool:

            def more(count: int) -> Iterator[Future[_Columns]]:
                for start in islice(starts, count):
                    yield pool.submit(self._run, start, min(start + chunk, len(self)))

            waiting = deque(more(2 * threads))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(more(1))
