"""What all datasets share: indexing, targets, transforms, batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ..arguments import positions
from ..quantities import counted
from ..storage.schema import SampleSchema
from .targets import Target, check_target, make_targets, source_of

Transform = Callable[[Any], Any]
Index = int | slice | Sequence[int] | Sequence[bool] | NDArray[np.integer[Any] | np.bool_] | Tensor


class Columns(NamedTuple):
    """The pixels of some samples, and what they show."""

    images: NDArray[np.uint8]  # (n, H, W), in colour (n, H, W, 3)
    labels: NDArray[np.int64]  # (n,)
    digits: NDArray[np.uint8]  # (n, k)


def joined(parts: list[Columns]) -> Columns:
    """Concatenate pieces of a split."""
    images, numbers, digits = zip(*parts, strict=True)
    return Columns(np.concatenate(images), np.concatenate(numbers), np.concatenate(digits))


class DigitsDataset(Dataset[Any]):
    """What both datasets have in common: indices, targets and transforms."""

    def __init__(
        self,
        count: int,
        classes: int,
        form: SampleSchema,
        transform: Transform | None,
        target_transform: Transform | None,
        target: Target,
    ) -> None:
        self.classes = classes
        self.slots = form.slots
        self.transform = transform
        self.target_transform = target_transform
        self.target = target
        self._count = count
        self._image = form.image

    @property
    def target(self) -> Target:
        """What a sample's target is; it may be set."""
        return self._target

    @target.setter
    def target(self, target: Target) -> None:
        check_target(target)
        self._target = target

    @property
    def num_classes(self) -> int:
        """How many different numbers there can be."""
        return int(self.classes**self.slots)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image, in torch's order."""
        height, width, *colors = self._image
        return colors[0] if colors else 1, height, width

    @property
    def _image_bytes(self) -> int:
        return math.prod(self._image)

    @property
    def _size(self) -> str:
        return f"{counted(len(self), 'image')}, {counted(self.num_classes, 'class')}"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Index) -> tuple[Any, Any]:
        """Return a sample or, for a slice, several indices or a mask, a batch.

        Parameters
        ----------
        index
            As for an array of NumPy or torch: a whole number of any type, a slice, a list or array of whole numbers, or
            a mask with a boolean for each sample. A uint8 tensor is a mask, as in torch; a uint8 array of NumPy holds
            indices, as in NumPy. Negative numbers count from the end.

        Returns
        -------
        image
            uint8 tensor (C, H, W), usually (1, 28, 28); for a batch (n, C, H, W). With a `transform`, what it returns
            for each; an empty batch is not transformed.
        target
            The number, an int; other targets as `ShardedDigits` describes them, an int or a tensor. For a batch, a
            tensor whose first axis is n.

        Raises
        ------
        TypeError
            The index is none of these.
        IndexError
            The index is out of range, or the mask has another length.
        """
        places = positions(index, len(self))
        if places.ndim == 0:
            return self.__getitems__(places[None])[0]
        if len(places) and (self.transform or self.target_transform):
            images, targets = default_collate(self.__getitems__(places))
            return images, targets
        return self._batch(places)

    def __getitems__(self, indices: Index) -> list[tuple[Any, Any]]:
        """Return several samples, read at once; a DataLoader calls this for a batch."""
        images, targets = self._batch(positions(indices, len(self)))
        transform, target_transform = self.transform or _same, self.target_transform or _same
        each = targets.tolist() if targets.ndim == 1 and not targets.is_floating_point() else targets
        return [(transform(image), target_transform(target)) for image, target in zip(images, each, strict=True)]

    def _batch(self, places: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, targets = self._read(places)
        return as_batch(images), self._as_target(targets)

    def _targets(self, columns: Columns) -> NDArray[Any]:
        """The column that targets are made from."""
        return columns.labels if source_of(self.target) == "labels" else columns.digits

    def _as_target(self, stored: NDArray[Any]) -> Tensor:
        """Targets, their first axis n, of labels or digits."""
        return torch.from_numpy(np.ascontiguousarray(make_targets(self.target, stored, self.classes)))

    def _read(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Images and targets, as they are stored."""
        raise NotImplementedError

    def _pieces(self) -> Iterator[Columns]:
        """All samples in order, a few thousand at a time."""
        raise NotImplementedError

    def as_tensors(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Put the whole split on a device; transforms are not applied.

        Returns
        -------
        images : uint8 (N, C, H, W)
        targets : int64 (N,), (N, k) for `target="digits"` and `"sorted"`, (N, classes) for `target="set"`, or what a
            function makes
        """
        images = torch.empty((len(self), *self.image_shape), dtype=torch.uint8, device=device)
        nothing = Columns(np.empty(0, np.uint8), np.empty(0, np.int64), np.empty((0, self.slots), np.uint8))
        targets, start = [], 0
        for columns in self._pieces():
            stop = start + len(columns.labels)
            images[start:stop] = as_batch(columns.images).to(device)
            targets.append(self._as_target(self._targets(columns)).to(device))
            start = stop
        return images, torch.cat(targets or [self._as_target(self._targets(nothing)).to(device)])


def _same(value: Any) -> Any:
    return value


def as_batch(images: NDArray[np.uint8]) -> Tensor:
    """Convert uint8 images (n, H, W) or (n, H, W, 3) to a tensor (n, C, H, W)."""
    batch = torch.from_numpy(images)
    return batch.unsqueeze(1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2).contiguous()
