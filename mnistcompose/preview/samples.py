"""The images that a contact sheet shows: a layout's, composed now, or a built dataset's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import load_digits
from ..digits.source import Digits
from ..layout.model import LayoutSpec
from ..quantities import counted, counted_by_name
from ..rendering.compose import compose
from ..rendering.number_choice import unseen_count
from ..storage.hdf5 import read_shard
from ..storage.manifest import read_manifest


@dataclass(frozen=True, eq=False)
class Samples:
    """Some images of one dataset.

    Attributes
    ----------
    note
        Number of images of each split, number of classes, and seed, as text.
    images : uint8 (n, H, W), in colour (n, H, W, 3)
    digits : uint8 (n, k)
    """

    spec: LayoutSpec
    note: str
    images: NDArray[np.uint8]
    digits: NDArray[np.uint8]


def compose_samples(spec: LayoutSpec, count: int, seed: int = 0, digits: Digits = None) -> Samples:
    """Make a layout's first training images."""
    bank = load_digits("train", digits)
    made = compose(bank, spec, "train", seed, 0, count)
    counts: dict[str, int] = {"train": spec.train, "test": spec.test}
    if spec.holds_out:
        counts["test_unseen"] = unseen_count(spec, "test_unseen", seed, bank.classes, spec.test)
    note = _note(counts, bank.classes ** len(spec.slots), seed)
    return Samples(spec, note, made.images, made.digits)


def read_samples(root: Path, count: int) -> Samples:
    """Read a built dataset's first training images, or its test images if it has no training images.

    Raises
    ------
    InputError
        The folder holds no finished dataset.
    BuildError
        A file is missing or damaged.
    """
    manifest = read_manifest(root)
    spec = manifest.layout
    counts = {str(name): split.count for name, split in manifest.splits.items()}
    shards = next(split.shards for split in manifest.splits.values() if split.count)
    wanted = [entry for entry in shards if entry.first < count]
    parts = [read_shard(root / entry.name, entry.sha256, manifest.promise(entry)) for entry in wanted]
    images, digits = (np.concatenate([getattr(part, name) for part in parts])[:count] for name in ("images", "digits"))
    return Samples(spec, _note(counts, manifest.classes ** len(spec.slots), manifest.seed), images, digits)


def _note(counts: dict[str, int], classes: int, seed: int) -> str:
    return f"{counted_by_name(counts, 'image')}\n{counted(classes, 'class')}, seed {seed}"
