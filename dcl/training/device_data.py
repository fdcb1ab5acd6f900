"""Data on the device: uint8 images, their normalisation, and the choice of the device."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mnistcompose.errors import InputError
from mnistcompose.quantities import counted

from .gathering import gather


@runtime_checkable
class TensorSource(Protocol):
    """What `ShardedDigits` and `ComposedDigits` offer, and anything else that holds a whole split."""

    def as_tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images uint8 (N, C, H, W) and targets int64, (N,) or (N, k), on the device."""
        ...


Data = TensorSource | tuple[Tensor, Tensor] | Dataset[Any] | DataLoader[Any]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of the training images' grey levels (0 to 255), one value per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def measured(cls, images: Tensor) -> "Normalisation":
        """Measure uint8 images (N, C, H, W), with exact integer sums that are the same on every device."""
        total = torch.zeros(images.shape[1], dtype=torch.int64, device=images.device)
        squares = torch.zeros_like(total)
        for chunk in torch.split(images, 4096):
            wide = chunk.to(torch.int32)
            total += wide.sum((0, 2, 3))
            squares += wide.square_().sum((0, 2, 3))
        count = images.numel() // images.shape[1]
        mean = [value / count for value in total.tolist()]
        variance = [value / count - m * m for value, m in zip(squares.tolist(), mean, strict=True)]
        return cls(tuple(mean), tuple(math.sqrt(v) if v > 0 else 1.0 for v in variance))

    def on(self, device: torch.device) -> "Normaliser":
        """Make the function that turns a batch of uint8 images on that device into a network's input."""
        shift, scale = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (self.mean, [1 / s for s in self.std])
        )

        def normalise(images: Tensor) -> Tensor:
            floats = images.to(torch.float32, memory_format=torch.channels_last)
            return floats.sub_(shift).mul_(scale)

        return normalise


Normaliser = Callable[[Tensor], Tensor]


def resolve_device(name: str) -> torch.device:
    """Return a device by name; `auto` is cuda if available, else mps, else cpu.

    Raises
    ------
    InputError
        The device is not available, or its name is not understood.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    kind = name.partition(":")[0]
    if not available.get(kind, False):
        here = ", ".join(kind for kind, present in available.items() if present)
        raise InputError(f"device {name!r} is not available; available are auto, {here}")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device {name!r} is not understood; write {kind} or {kind}:0") from None
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if (device.index or 0) >= count:
        raise InputError(f"device {name!r} is not available; the last one is {kind}:{count - 1}")
    return device


def to_tensors(
    data: Data, device: torch.device, name: str = "data", *, data_on_device: bool = True
) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, C, H, W) and targets int64 (N,) or (N, k) on the device, checked.

    Unless `data_on_device`, the images stay where they are. A torch dataset or DataLoader is read once.

    Raises
    ------
    InputError
        No such data, wrong shape or dtype, different numbers of images and targets, or no images.
    """
    if isinstance(data, TensorSource):
        images, targets = data.as_tensors(device if data_on_device else torch.device("cpu"))
    elif isinstance(data, Dataset | DataLoader):
        images, targets = gather(data, name)
    elif isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        images, targets = data
    else:
        raise InputError(
            f"{name} = {type(data).__name__}: should be two tensors, images and targets; or a dataset or DataLoader of "
            "such pairs"
        )
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise InputError(f"{name}: images are {images.dtype} {tuple(images.shape)}; should be uint8 (N, C, H, W)")
    if targets.dtype != torch.int64 or targets.ndim not in {1, 2}:
        raise InputError(f"{name}: targets are {targets.dtype} {tuple(targets.shape)}; should be int64 (N,) or (N, k)")
    if len(images) != len(targets) or len(images) == 0:
        raise InputError(
            f"{name}: {counted(len(images), 'image')} and {counted(len(targets), 'target')}; "
            "should be as many, and at least 1"
        )
    return images.to(device) if data_on_device else images, targets.to(device)


def fingerprint(images: Tensor, targets: Tensor) -> str:
    """SHA-256 of a split's shapes, pixels and targets, in hexadecimal."""
    digest = hashlib.sha256(f"{tuple(images.shape)} {tuple(targets.shape)}".encode())
    for tensor in (images, targets):
        digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()
