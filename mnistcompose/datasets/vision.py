"""A dataset in the shape of torchvision's: built on first use, PIL images, targets by name."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.datasets import VisionDataset

from ..arguments import flag, here, whole
from ..building.first_use import built_on_first_use
from ..digits.source import Digits
from ..errors import InputError
from ..layout.model import LayoutSpec
from ..layout.names import as_spec, bundled_names
from ..quantities import number_name
from ..rendering.draws import ABSENT, MAX_SEED
from ..storage.columns import arrays
from ..storage.manifest import has_manifest, read_manifest
from ..storage.schema import SplitName
from .base import Transform
from .targets import make_targets

TargetType = Literal["number", "digits", "multilabel", "boxes", "masks"]


class MNISTCompose(VisionDataset):  # type: ignore[misc]  # torchvision has no types
    """A split of a dataset, with the interface of `torchvision.datasets.MNIST`.

    Samples are PIL images, so that a script for torchvision's datasets works unchanged. The split is read into memory.
    `ShardedDigits` reads the same folder faster, as uint8 tensors and in batches, and larger datasets than fit into
    memory.

    Parameters
    ----------
    root
        Folder that holds datasets; this one is in `root / name`, where `mnistcompose build NAME` puts it with
        `root="data"`.
    name
        A layout, the name or path of one, or the name of a dataset in `root`, whatever layout it was built from.
    train
        The training split, else the test split.
    transform, target_transform, transforms
        As in torchvision: called with the PIL image, with the target, or with both.
    download
        Build the dataset if it is not there; nothing is downloaded. If another process is building it, wait for that.
    split
        Name of a split, instead of `train`: 'train', 'test' or, if the layout holds numbers out, 'test_unseen'.
    target_type
        'number' for the number as an int; 'digits' for the class of each digit, int64 (k,), where a place that a
        shorter number leaves empty has the extra class B, the number of classes of a digit; 'multilabel' for the digits
        that occur, int64 (B,) of zeros and ones; 'boxes' for the digits' ink, `tv_tensors.BoundingBoxes` (k, 4) in
        XYXY format; 'masks' for the pixels that each digit covers by half at least, `tv_tensors.Mask` (k, H, W), for
        datasets built with masks. Boxes and masks are of the digits that are present. Several in a list give a tuple.
    seed
        Data seed, 0 .. 2**63 - 1. Published digests are those of seed 0.
    digits
        The digit set it is made of, if not MNIST: a folder or a `DigitSource`; see `load_digits`. A dataset that is
        found by the name of its folder may be made of any.
    build
        Alias of `download`.

    Attributes
    ----------
    data : uint8 tensor (N, H, W), in colour (N, H, W, 3)
    targets : int64 tensor (N,)
        The numbers. Samples are read from `data` and, for the target 'number', from `targets`; both may be changed as
        torchvision's may. The other targets do not follow such a change: select samples with `torch.utils.data.Subset`.
    classes : list of str
        Names of the numbers, such as '007'.
    class_to_idx : dict
        Number by name.

    Raises
    ------
    InputError
        An argument cannot be used, the dataset is not there and `download` is false, or the folder holds a dataset of
        another layout, seed or digit set.
    BuildError
        The dataset could not be built, or a file is damaged.
    """

    def __init__(
        self,
        root: str | Path = "data",
        name: str | Path | LayoutSpec = "MNIST-III-10",
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
        *,
        transforms: Callable[[Any, Any], tuple[Any, Any]] | None = None,
        split: SplitName | None = None,
        target_type: TargetType | Sequence[TargetType] = "number",
        seed: int = 0,
        digits: Digits = None,
        build: bool = False,
    ) -> None:
        super().__init__(root, transforms, transform, target_transform)
        self._of_both = None if transforms is not None else self.transforms  # the base class makes it of the two
        if train not in (True, False):
            raise InputError(f"train = {train!r}; should be True or False; `split` takes a name")
        self.split: SplitName = split if split is not None else "train" if train else "test"
        self.train = self.split == "train"
        self.target_type = target_type
        self._target_types = _checked(target_type)
        self.folder, spec, by_folder = _find(here(root or "."), name)  # torchvision's root may be ""
        seed = whole("seed", seed, 0, MAX_SEED)
        if not (flag("download", download) or flag("build", build) or has_manifest(self.folder)):
            raise InputError(f"{self.folder}: no dataset; download=True builds it")
        manifest = built_on_first_use(self.folder, spec, seed, digits, any_digits=by_folder and digits is None)
        self._digit_classes = manifest.classes
        self._numbers = manifest.classes ** len(spec.slots)
        if self.split not in manifest.splits:
            raise InputError(f"split = {self.split!r}; should be {' or '.join(map(repr, manifest.splits))}")
        if "masks" in self._target_types and not manifest.masks:
            raise InputError(f"{self.folder}: has no masks; mnistcompose build {spec.name} --masks makes them")
        wanted = {column for column, kind in (("box", "boxes"), ("masks", "masks")) if kind in self._target_types}
        columns = arrays(self.folder, self.split)
        self._columns = {name: np.asarray(columns[name]) for name in ("images", "labels", "digits", *wanted)}
        self.data = torch.from_numpy(self._columns.pop("images"))
        self.targets = torch.from_numpy(self._columns.pop("labels"))

    @cached_property
    def classes(self) -> list[str]:
        """Names of all numbers, in order, with leading zeros."""
        return [number_name(number, self._numbers) for number in range(self._numbers)]

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Number by name."""
        return {name: number for number, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return an image, PIL in mode L or RGB, and its target, after the transforms."""
        image: Any = Image.fromarray(self.data[index].numpy())
        targets = tuple(self._target(kind, index) for kind in self._target_types)
        target: Any = targets[0] if isinstance(self.target_type, str) else targets
        if self.transforms not in (None, self._of_both):
            image, target = self.transforms(image, target)
            return image, target
        if self.transform is not None:  # perhaps set since, as scripts for MNIST do
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def _target(self, kind: TargetType, index: int) -> Any:
        if kind == "number":
            return int(self.targets[index])
        if len(self.data) != len(self._columns["digits"]):
            raise InputError(f"target_type {kind!r}: `data` was filtered; use torch.utils.data.Subset instead")
        digits = self._columns["digits"][index]
        present = digits != ABSENT
        match kind:
            case "digits":
                return torch.from_numpy(make_targets("digits", digits[None], self._digit_classes)[0])
            case "multilabel":
                return torch.from_numpy(make_targets("set", digits[None], self._digit_classes)[0])
            case "boxes":
                boxes = torch.from_numpy(self._columns["box"][index][present])
                return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(self.data.shape[1:3]))
            case "masks":
                covered = self._columns["masks"][index][present] >= 128
                return tv_tensors.Mask(torch.from_numpy(covered.astype(np.uint8)))

    def extra_repr(self) -> str:
        """Return what `repr` shows besides the number of samples and the folder."""
        return f"Split: {self.split}\nTarget: {self.target_type}\nClasses: {self._numbers:,}"


def _checked(target_type: TargetType | Sequence[TargetType]) -> tuple[TargetType, ...]:
    kinds = (target_type,) if isinstance(target_type, str) else tuple(target_type)
    for kind in kinds:
        if kind not in get_args(TargetType):
            allowed = ", ".join(map(repr, get_args(TargetType)))
            raise InputError(f"target_type = {kind!r}; should be one of {allowed}, or a list of them")
    if not kinds:
        raise InputError("target_type = []; should have at least one type")
    return kinds


def _find(root: Path, name: str | Path | LayoutSpec) -> tuple[Path, LayoutSpec, bool]:
    """Folder and layout of a dataset; whether its name, which no bundled layout has, is that of a folder in `root`."""
    if isinstance(name, str) and name not in bundled_names() and has_manifest(root / name):
        return root / name, read_manifest(root / name).layout, True
    spec = as_spec(name)
    return root / spec.name, spec, False
