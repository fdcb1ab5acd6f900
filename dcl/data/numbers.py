"""Datasets of numbers to train on: a built folder, or the splits for model selection, composed in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mnistcompose.arguments import here
from mnistcompose.building.first_use import built_on_first_use
from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.datasets.sharded import ShardedDigits
from mnistcompose.datasets.targets import TargetName
from mnistcompose.digits.bank import Split, load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.names import bundled_names, load_spec
from mnistcompose.storage.manifest import Manifest, read_manifest
from mnistcompose.storage.schema import SplitName

PUBLISHED: tuple[SplitName, SplitName] = ("train", "test")  # what is trained on, and what is measured
COMPOSED: tuple[Split, Split] = ("fit", "validation")
INPUT_SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class Dataset:
    """What to train on and what to measure on: a built folder, or the splits for model selection, made in memory."""

    spec: LayoutSpec
    seed: int
    digits: str  # digest of the digit set
    classes: int  # of one digit
    splits: Mapping[Split, Mapping[str, Any]]  # the training split first: number of images and, on disk, digest
    root: Path | None = None

    augmentation = None
    data_on_device = True

    def __post_init__(self) -> None:
        _check_length(self.spec)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.spec.output.channels, self.spec.output.height, self.spec.output.width

    @property
    def name(self) -> str:
        """Name of the layout."""
        return self.spec.name

    @property
    def slots(self) -> int:
        """Number of digits in a number."""
        return len(self.spec.slots)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the images."""
        return {
            "dataset": self.name,
            "spec": self.spec.digest,
            "digits": self.digits,
            "data_seed": self.seed,
            "splits": {name: dict(entry) for name, entry in self.splits.items()},
            **({"input_shape": list(self.input_shape)} if self.input_shape != INPUT_SHAPE else {}),
        }

    def load(self, split: Split, target: TargetName, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 (N, C, H, W), and numbers int64 (N,) or digits int64 (N, k). Files are verified."""
        if self.root is not None:
            return ShardedDigits(self.root, cast(SplitName, split), target=target).as_tensors(device)
        length = self.splits[split]["images"]
        return ComposedDigits(self.spec, split, self.seed, length=length, target=target).as_tensors(device)


def open_dataset(
    name: str,
    *,
    seed: int | None = None,
    validation: bool = False,
    folder: Path = Path("data"),
    building: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Find a dataset by the name of a bundled layout, its folder or a YAML file; build it if it is missing.

    If another process is building it, wait for that.

    Parameters
    ----------
    seed : int, optional
        Data seed; None means 0, and for a built folder its own.
    validation : bool
        Use `fit` and `validation`, for model selection, instead of `train` and `test`. Both are composed of training
        digits, which they do not share; the test digits stay unseen.
    folder : Path
        Holds the datasets that are found by name; a folder's name ends in the seed unless it is 0.
    building : callable
        Called with the folder's name before it is built.

    Raises
    ------
    InputError
        No such layout or folder, or a folder of another dataset or seed.
    BuildError
        The folder fails verification.
    """
    root = here(name)
    if name not in bundled_names() and root.is_dir():
        manifest = read_manifest(root)
        if seed is not None and seed != manifest.seed:
            raise InputError(f"{root}: a built dataset, of data seed {manifest.seed}, not {seed}")
        spec, seed = manifest.layout, manifest.seed
        if not validation:
            return _verified(spec, manifest, root)
        if manifest.digits_digest != load_digits("fit").digest:
            raise InputError(f"{root}: made of other digits than MNIST; splits for model selection exist of MNIST only")
    else:
        spec, seed = load_spec(name), 0 if seed is None else seed
        root = folder / (spec.name if seed == 0 else f"{spec.name}-seed{seed}")
    _check_length(spec)  # before anything is built
    return _composed(spec, seed) if validation else _built(spec, seed, root, building)


def _check_length(spec: LayoutSpec) -> None:
    if spec.length != "all":
        raise InputError(
            f"{spec.name}: numbers of varying length; the models here read a fixed number of digits (others get them "
            "from ShardedDigits)"
        )


def _composed(spec: LayoutSpec, seed: int) -> Dataset:
    bank = load_digits("fit")
    counts = zip(COMPOSED, (spec.train, spec.test), strict=True)
    return Dataset(spec, seed, bank.digest, bank.classes, {name: {"images": count} for name, count in counts})


def _built(spec: LayoutSpec, seed: int, root: Path, building: Callable[[str], None]) -> Dataset:
    manifest = built_on_first_use(root, spec, seed, begin=lambda: building(str(root)), whole=True)
    return _verified(spec, manifest, root)


def _verified(spec: LayoutSpec, manifest: Manifest, root: Path) -> Dataset:
    for split in PUBLISHED:
        ShardedDigits(root, split)  # verifies
    entries = manifest.splits
    splits: dict[Split, dict[str, Any]] = {
        name: {"images": entries[name].count, "sha256": entries[name].digest} for name in PUBLISHED
    }
    place = root.absolute()  # another process may have another working folder
    return Dataset(spec, manifest.seed, manifest.digits_digest, manifest.classes, splits, place)


def to_numbers(predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Convert predictions, numbers (N,) or digits (N, k), the most significant first, to numbers int64 (N,)."""
    if predictions.ndim == 1:
        return predictions
    numbers: NDArray[np.int64] = predictions @ classes ** np.arange(predictions.shape[1] - 1, -1, -1, dtype=np.int64)
    return numbers


def to_digits(numbers: NDArray[np.int64], classes: int, slots: int) -> NDArray[np.int64]:
    """Convert numbers (N,) to digits int64 (N, k), the most significant first; digits are returned as they are."""
    if numbers.ndim == 2:
        return numbers
    digits: NDArray[np.int64] = numbers[:, None] // classes ** np.arange(slots - 1, -1, -1, dtype=np.int64) % classes
    return digits
