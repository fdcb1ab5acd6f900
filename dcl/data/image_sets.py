"""Sets of images: SVHN, CIFAR10, CIFAR100, ILSVRC2012 as folders of JPEGs (section 4.2), and Fashion-MNIST's IDX files.

torchvision reads the first three. It unpickles CIFAR's files, after it has compared each with the MD5 sum of the
published one. Nothing else here is unpickled.
"""

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from mnistcompose.digits.bank import Split, load_digits
from mnistcompose.errors import BuildError, InputError
from mnistcompose.quantities import counted
from mnistcompose.storage.files import failing

from .augmentation import Augmentation
from .local_contrast_norm import local_contrast

CLASSES = {"svhn": 10, "cifar10": 10, "cifar100": 100, "ilsvrc2012": 1000, "fashion-mnist": 10}
IMAGES_HASH = "images_sha256"  # of a split's entry; runs of versions before it lack it
SETS = tuple(CLASSES)  # the first three in the order of the paper's Table 2
SVHN_HELD_OUT = (400, 200)  # of each class, from SVHN's train and extra images: the paper's validation set
CIFAR_HELD_OUT = 5000  # training images that become the validation set; the paper has none
_SAMPLE = 256  # files of a folder whose bytes identify it
FOLDER_SIDE = 256  # pixels to which ILSVRC2012's images are stretched, as in Caffe

Labels = NDArray[np.int64]


class Arrays(NamedTuple):
    """Images uint8 (N, C, H, W) and labels int64 (N,) of a split."""

    images: NDArray[np.uint8]
    labels: Labels


class _Identified(NamedTuple):
    """A split's arrays, and a SHA-256 that identifies its images."""

    images: NDArray[np.uint8]
    labels: Labels
    sha256: str


# --- splits ---------------------------------------------------------------------------------------------------------


def held_out(labels: Labels, each: int, seed: int = 0) -> NDArray[np.bool_]:
    """Choose the same number of samples of every class at random.

    Parameters
    ----------
    labels : int64 (N,)
        Classes from 0.
    each : int
        Number of samples per class.
    seed : int
        Determines the choice, which is the same on every machine and with every version of NumPy.

    Returns
    -------
    bool (N,)

    Raises
    ------
    InputError
        A class has too few samples.
    """
    chosen = np.zeros(len(labels), np.bool_)
    order = np.argsort(np.random.Philox(key=seed).random_raw(len(labels)), kind="stable")
    for label in range(int(labels.max()) + 1):
        members = order[labels[order] == label]
        if len(members) < each:
            raise InputError(
                f"class {label}: {counted(len(members), 'image')}; {each} of every class are to be held out"
            )
        chosen[members[:each]] = True
    return chosen


def svhn_split(train: Labels, extra: Labels) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of SVHN's train and extra images that belong to the paper's validation set (section 4.2.1).

    It has 400 train images and 200 extra images of each class; the remaining 598,388 images are the training set.
    """
    of_train, of_extra = SVHN_HELD_OUT
    return held_out(train, of_train), held_out(extra, of_extra)


# --- reading --------------------------------------------------------------------------------------------------------


def _torchvision(name: str, root: Path, part: str, download: bool = False) -> Any:
    """Read a part with torchvision; its errors are reported in one line."""
    from torchvision import datasets

    try:
        if name == "svhn":
            return datasets.SVHN(root, part, download=download)
        kinds = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100, "fashion-mnist": datasets.FashionMNIST}
        return kinds[name](root, train=part == "train", download=download)
    except (RuntimeError, OSError) as error:  # a missing file, another MD5 sum, or a failed download
        reason = str(error).partition("\n")[0].partition(" You can")[0]
        if download:
            raise BuildError(f"{root}: {name} cannot be downloaded ({reason})") from None
        raise InputError(f"{root}: {name} {part}: {reason} Give its folder (--root), or --download") from None


def _read_svhn(root: Path, split: Split) -> Arrays:
    def part(name: str) -> Arrays:
        read = _torchvision("svhn", root, name)
        return Arrays(read.data, read.labels)

    if split == "test":
        return part("test")
    train, extra = part("train"), part("extra")
    chosen = svhn_split(train.labels, extra.labels)
    masks = chosen if split == "validation" else [~mask for mask in chosen]
    parts = [(images[mask], labels[mask]) for (images, labels), mask in zip((train, extra), masks, strict=True)]
    return Arrays(*map(np.concatenate, zip(*parts, strict=True)))


def _read_cifar(name: str, root: Path, split: Split) -> Arrays:
    read = _torchvision(name, root, "test" if split == "test" else "train")
    arrays = Arrays(np.ascontiguousarray(read.data.transpose(0, 3, 1, 2)), np.array(read.targets, np.int64))
    if split in {"train", "test"}:
        return arrays
    chosen = held_out(arrays.labels, CIFAR_HELD_OUT // CLASSES[name])
    mask = chosen if split == "validation" else ~chosen
    return Arrays(arrays.images[mask], arrays.labels[mask])


def _read_fashion(root: Path, split: Split) -> Arrays:
    own = root / "FashionMNIST"  # as torchvision names it, next to MNIST
    bank = load_digits(split, own if own.is_dir() else root)
    if bank.digest == load_digits(split).digest:
        raise InputError(f"{root}: holds MNIST, not fashion-mnist; give its folder (--root)")
    return Arrays(bank.images[:, None].copy(), bank.labels.astype(np.int64))  # a bank's images cannot be written to


def _read_folder(root: Path, side: int = FOLDER_SIDE) -> _Identified:
    """Read a folder that holds one folder of images per class, stretched to `side` x `side` pixels.

    The images are decoded once, into a file next to the folder, and mapped into memory. The file's name contains a hash
    of the images' paths and sizes. For ILSVRC2012's training set the file takes 252 GB.

    Returns
    -------
    _Identified
        uint8 (N, 3, side, side), int64 (N,), and what `_folder_digest` returns.

    Raises
    ------
    InputError
        No such folder, no images in it, or one that cannot be read.
    BuildError
        The file cannot be written, or is damaged.
    """
    samples, listed = _listed(root)
    return _Identified(*_decoded_folder(root, side, samples, listed), _folder_digest(samples, listed))


def _listed(root: Path) -> tuple[list[tuple[Path, int]], str]:
    """Files of a folder and their labels, and a text of their names and sizes."""
    from torchvision.datasets import ImageFolder

    try:
        samples = [(Path(path), label) for path, label in ImageFolder(root).samples]
        return samples, "\n".join(f"{path.relative_to(root)} {path.stat().st_size}" for path, _ in samples)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{root}: {str(error).partition(chr(10))[0]}; it should hold one folder of images per class"
        ) from None


def _decoded_folder(root: Path, side: int, samples: list[tuple[Path, int]], listed: str) -> Arrays:
    digest = hashlib.sha256(f"{side}\n{listed}".encode()).hexdigest()[:12]
    file = root.parent / f"{root.name}-{side}-{digest}.npy"
    if not file.exists():
        _decode([path for path, _ in samples], side, file)
    try:
        images = np.load(file, mmap_mode="c")
    except (OSError, ValueError):
        raise BuildError(f"{file}: damaged; delete it to have the images decoded again") from None
    return Arrays(images, np.array([label for _, label in samples], np.int64))


def _folder_digest(samples: list[tuple[Path, int]], listed: str) -> str:
    """SHA-256 of the names and sizes of all files, and of the bytes of evenly spaced ones.

    The bytes are those of the files, since decoders differ in a pixel's last bit.
    """
    state = hashlib.sha256(listed.encode())
    for place in sorted({len(samples) * part // _SAMPLE for part in range(_SAMPLE)}):
        path = samples[place][0]
        with failing("read", path):
            state.update(path.read_bytes())
    return state.hexdigest()


def _decode(paths: list[Path], side: int, file: Path) -> None:
    unfinished = file.with_suffix(f".{os.getpid()}.tmp")
    with failing("write", file):
        try:
            images = open_memmap(unfinished, "w+", np.uint8, (len(paths), 3, side, side))
            if hasattr(os, "posix_fallocate"):  # a full disk raises here, instead of a signal later
                with unfinished.open("r+b") as whole:
                    os.posix_fallocate(whole.fileno(), 0, unfinished.stat().st_size)

            def put(place: int) -> None:
                images[place] = _decoded(paths[place], side)

            with ThreadPoolExecutor() as pool:
                for start in range(0, len(paths), 10_000):  # so that an error is raised early
                    list(pool.map(put, range(start, min(start + 10_000, len(paths)))))
            images.flush()
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


def _decoded(path: Path, side: int) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as an image ({str(error).partition(chr(10))[0]})") from None
    return pixels.transpose(2, 0, 1)


@lru_cache(maxsize=4)
def _read(name: str, root: Path, split: Split) -> _Identified:
    """Read a split. SVHN's held-out images are in no training split; other sets' are in `train`, not in `fit`."""
    if name == "ilsvrc2012":
        return _read_folder(root / ("train" if split == "train" else "val"))
    if name == "fashion-mnist":
        arrays = _read_fashion(root, split)
    else:
        arrays = _read_svhn(root, split) if name == "svhn" else _read_cifar(name, root, split)
    return _Identified(*arrays, hashlib.sha256(np.ascontiguousarray(arrays.images).data).hexdigest())


# --- what the grid trains on ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageSet:
    """One of `SETS` with its augmentation; has the interface of `dcl.data.numbers.Dataset`.

    Attributes
    ----------
    splits : mapping
        The training split first, then the one to measure on: number of images, SHA-256 of the labels and of the images.
        That of the images covers all pixels of a set that is read into memory. Of ILSVRC2012 it covers the
        names and sizes of all files and the bytes of 256 of them, at even distances, so that opening the set does not
        read all of it. Stored runs of versions without it are compared without it.
    input_shape : (int, int, int)
        Channels, height and width of the network's input.
    """

    name: str
    root: Path
    augmentation: Augmentation
    splits: Mapping[Split, Mapping[str, Any]]
    classes: int
    input_shape: tuple[int, int, int]
    slots: int = 1

    @property
    def data_on_device(self) -> bool:
        """Whether the images go onto the device as a whole; else they are sent batch by batch."""
        return self.name != "ilsvrc2012"

    def identity(self) -> dict[str, Any]:
        """Everything that determines the images, as a network sees them."""
        return {
            "dataset": self.name,
            "preparation": {**asdict(self.augmentation), "local_contrast": self.name == "svhn"},
            "input_shape": list(self.input_shape),
            "data_seed": 0,
            "splits": {name: dict(entry) for name, entry in self.splits.items()},
        }

    def load(self, split: Split, _target: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return images uint8 (N, C, H, W), central windows in the split to measure on, and labels int64 (N,).

        SVHN's images are normalised by their local contrast.
        """
        images, labels = map(torch.from_numpy, _read(self.name, self.root, split)[:2])
        if self.data_on_device:
            images = images.to(device)
        if self.name == "svhn":
            images = local_contrast(images)
        if split != next(iter(self.splits)):
            images = self.augmentation.central(images)
        return images, labels.to(device)


def open_images(
    name: str, root: Path, augmentation: Augmentation, *, download: bool = False, validation: bool = False
) -> ImageSet:
    """Find one of `SETS` in a folder.

    Parameters
    ----------
    root : Path
        Folder as torchvision expects it: it holds `train_32x32.mat` and so on, `cifar-10-batches-py`,
        `cifar-100-python`, or, for ILSVRC2012, `train` and `val` with one folder per class. For Fashion-MNIST, a folder
        as for `load_digits`.
    download : bool
        Let torchvision download missing files (not ILSVRC2012).
    validation : bool
        Measure on held-out training images instead of the test set: the paper's of SVHN, 5,000 of CIFAR, the last
        5,000 of Fashion-MNIST.

    Raises
    ------
    InputError
        There is no such set, or its files are missing.
    BuildError
        It cannot be downloaded.
    """
    if name not in SETS:
        close = get_close_matches(name.lower(), SETS, n=1, cutoff=0.4)
        raise InputError(f"no image set {name!r}; {f'did you mean {close[0]}?' if close else f'there are {SETS}'}")
    if name == "ilsvrc2012" and (download or validation):
        raise InputError("ilsvrc2012: can neither be downloaded nor split; its `val` is what the paper measures on")
    if download:
        for part in ("train", "test", "extra") if name == "svhn" else ("train",):
            _torchvision(name, root, part, download=True)
    names: tuple[Split, Split] = ("fit", "validation") if validation else ("train", "test")
    splits: dict[Split, dict[str, Any]] = {}
    for split in names:
        images, labels, of_images = _read(name, root, split)
        digest = hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()
        splits[split] = {"images": len(labels), "labels_sha256": digest, IMAGES_HASH: of_images}
        if labels.max() >= CLASSES[name]:
            raise InputError(f"{root}: {split} has {counted(labels.max() + 1, 'class')}; {name} has {CLASSES[name]}")
    side = augmentation.crop
    if side is not None and side > min(images.shape[2:]):
        raise InputError(
            f"{name}: its images are {images.shape[2]} x {images.shape[3]}; the network looks at {side} x {side}"
        )
    shape = images.shape[1:] if side is None else (images.shape[1], side, side)
    return ImageSet(name, root, augmentation, splits, CLASSES[name], shape)
