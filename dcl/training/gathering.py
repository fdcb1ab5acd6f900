"""A torch dataset or DataLoader of (image, target), gathered once into two tensors."""

from collections.abc import Iterable, Sized
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mnistcompose.errors import InputError

_BATCH = 1000


def gather(data: Dataset[Any] | DataLoader[Any], name: str) -> tuple[Tensor, Tensor]:
    """Read all samples once, with a progress line on a terminal.

    A DataLoader decides which samples there are; its order, if random, is the same every time, and not the order of the
    training. Random transforms are applied once.

    Returns
    -------
    images : uint8 (N, C, H, W)
    targets : int64 (N,) or (N, k)

    Raises
    ------
    InputError
        The data has no length, no pairs, or images that are neither uint8 nor uint8 divided by 255.
    """
    source = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(source, IterableDataset) or not isinstance(source, Sized):
        raise InputError(f"{name}: {type(source).__name__} has no length; give a dataset with __len__ and __getitem__")
    batches = (
        data if isinstance(data, DataLoader) else DataLoader(data, _BATCH, collate_fn=partial(_stacked, name=name))
    )
    console = Console(stderr=True)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)  # orders a loader that shuffles
        shown: Iterable[Any] = track(
            batches, f"reading {name}", console=console, transient=True, disable=not console.is_terminal
        )
        parts = [_checked(batch, name) for batch in shown]
    if not parts:
        raise InputError(f"{name}: no images")
    try:
        images, targets = (torch.cat(part) for part in zip(*parts, strict=True))
    except RuntimeError:
        shapes = sorted({tuple(images.shape[1:]) for images, _ in parts})
        raise InputError(f"{name}: images of different shapes: {', '.join(map(str, shapes))}") from None
    return images, targets


def _stacked(samples: list[Any], name: str) -> Any:
    """A batch of samples: tensors, arrays or PIL images, each with its target."""
    if not all(isinstance(sample, tuple | list) and len(sample) == 2 for sample in samples):
        return samples[0]
    images, targets = zip(*samples, strict=True)
    arrays = [torch.as_tensor(np.array(image)) if not isinstance(image, Tensor) else image for image in images]
    if any(array.shape != arrays[0].shape for array in arrays):
        shapes = sorted({tuple(array.shape) for array in arrays})
        raise InputError(f"{name}: images of different shapes: {', '.join(map(str, shapes))}")
    batch = torch.stack(arrays)
    if not isinstance(images[0], Tensor) and batch.ndim == 4:  # PIL and NumPy have colours last
        batch = batch.permute(0, 3, 1, 2)
    return batch, torch.stack([torch.as_tensor(target) for target in targets])


def _checked(batch: Any, name: str) -> tuple[Tensor, Tensor]:
    if not (isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch)):
        raise InputError(f"{name}: a sample should be a pair (image, target); got {type(batch).__name__}")
    images, targets = batch
    if images.ndim == 3:
        images = images[:, None]
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise InputError(f"{name}: targets are {targets.dtype}; should be whole numbers, one or k of them")
    return _bytes(images, name), targets.to(torch.int64)


def _bytes(images: Tensor, name: str) -> Tensor:
    """The uint8 images that float images were made from."""
    if not images.is_floating_point():
        return images
    whole = (images * 255).round().clamp(0, 255)
    tolerance = 1e-3 if images.dtype.itemsize < 4 else 1e-6
    if not torch.allclose(whole / 255, images, rtol=0, atol=tolerance):
        raise InputError(
            f"{name}: images are {images.dtype} from {images.min():.3g} to {images.max():.3g}; should be uint8, or "
            "such values divided by 255, as ToTensor makes them. `fit` normalises them itself: leave Normalize out"
        )
    return whole.to(torch.uint8)
