"""Source digits: a digit set, bundled (MNIST) or the user's own, and the images that each split may use."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..arguments import whole
from ..errors import InputError
from ..forking import ThreadLock
from ..quantities import counted
from .disk_cache import MAX_ENTRY, Identity, load_cached, store_cached
from .finding import Part, SetFiles, find_set
from .ink import dark_on_light
from .reading import MAX_CLASSES, Columns, read_part
from .source import Digits, DigitSource, as_source

_DARK = 0.75  # a set of which more images show dark ink on light paper was made that way
HELD_OUT = 12  # one in this many training images is for validation: 5,000 of MNIST's 60,000

Split = Literal["train", "test", "fit", "validation", "test_unseen", "validation_unseen"]

MNIST_LICENSE = (
    "CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/); made from MNIST, copyright Yann LeCun and "
    "Corinna Cortes, a derivative work of the NIST datasets"
)
OTHER_LICENSE = "that of the digit set it was made from"

_BUNDLED = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, eq=False)
class DigitBank:
    """The digit images that one split may use. The arrays cannot be written to.

    Attributes
    ----------
    images : uint8 (M, H, W)
        White ink on black, C-contiguous.
    labels : uint8 (M,)
    boxes : int16 (M, 4)
        Tight box of each image's ink, x0, y0, x1, y1; x1 and y1 are exclusive.
    classes
        Number of classes of the whole digit set: the base of a composed label; at most 255.
    digest
        SHA-256 (hexadecimal) of the whole digit set, the same for each of its splits.

    Raises
    ------
    InputError
        There are too many classes, or a label is not below their number.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    boxes: NDArray[np.int16]
    classes: int
    digest: str

    def __post_init__(self) -> None:
        classes = whole("classes", self.classes, 1, MAX_CLASSES)
        if len(self.labels) and (highest := self.labels.max()) >= classes:
            raise InputError(
                f"labels: {highest} is there; with {counted(classes, 'class')} allowed are 0 to {classes - 1}"
            )
        for name in ("images", "labels", "boxes"):
            view = getattr(self, name).view()  # arrays are shared by all callers, under one digest
            view.setflags(write=False)
            object.__setattr__(self, name, view)


@dataclass(frozen=True)
class _Set:
    """The parts of a digit set, and the splits that are derived from them."""

    train: DigitBank | None
    test: DigitBank | None
    files: SetFiles

    @cached_property
    def fit(self) -> DigitBank | None:
        """All training images except those for validation."""
        return self.train and _part(self.train, slice(-_held_out(self.train)), "fit")

    @cached_property
    def validation(self) -> DigitBank | None:
        """The last training images."""
        return self.train and _part(self.train, slice(-_held_out(self.train), None), "validation")


def _held_out(bank: DigitBank) -> int:
    return len(bank.labels) // HELD_OUT


def _part(bank: DigitBank, part: slice, name: str) -> DigitBank:
    own = replace(bank, images=bank.images[part], labels=bank.labels[part], boxes=bank.boxes[part])
    if identity := identity_of(bank):
        _identities[own] = (*identity, name)
    return own


_identities: WeakKeyDictionary[DigitBank, Identity] = WeakKeyDictionary()


def identity_of(bank: DigitBank) -> Identity | None:
    """Key under which results computed from a bank are cached; None for a bank that was not read from files."""
    return _identities.get(bank)


def check_split_name(split: Any) -> None:
    """Check the name of a split.

    Raises
    ------
    InputError
        No dataset has such a split.
    """
    if split not in get_args(Split):
        *others, last = map(repr, get_args(Split))
        raise InputError(f"no split {split!r}; there are {', '.join(others)} and {last}")


def load_digits(split: Split, folder: Digits = None) -> DigitBank:
    """Load the digit images of a split.

    'train' and 'test' are the set's own splits. 'validation' is the last twelfth of the training images, 'fit' the
    others. 'test_unseen' and 'validation_unseen', of numbers that are held out, are made of the images of 'test' and
    'validation'. A process reads a set once, and again if its files have changed; arrays cannot be written to.

    Parameters
    ----------
    folder
        Folder of IDX files, plain, .gz or .xz, under the names of MNIST (Fashion-MNIST and KMNIST use the same), QMNIST
        or EMNIST; directly in it, in `raw/`, in `NAME/` or in `NAME/raw/`. If it holds several sets of EMNIST, append
        the set's name, as in `raw/emnist-digits`. A `DigitSource` also says how to read them. None means the bundled
        MNIST.

    Raises
    ------
    InputError
        There is no such split, or the files are missing, damaged, or inconsistent.
    """
    check_split_name(split)
    split = cast(Split, split.removesuffix("_unseen"))
    digits = _load(as_source(folder))
    part: Part = "test" if split == "test" else "train"
    if split in ("fit", "validation") and digits.train and not _held_out(digits.train):
        count = len(digits.train.labels)
        raise InputError(f"{digits.files.folder}: {count} training images are too few to hold some out for validation")
    bank: DigitBank | None = getattr(digits, split)
    if bank is None:
        raise InputError(
            f"{digits.files.folder}: no {part} images: {digits.files.missing[part]}; "
            f"a dataset can be made without that split (--{part} 0)"
        )
    return bank


_lock = ThreadLock()  # threads that need the same set wait until one of them has read it


def _load(source: DigitSource) -> _Set:
    with _lock:
        return _read_set(source, _state(source) if source.folder else ())


def _state(source: DigitSource) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when somebody writes the files of a set again."""
    found = [path for pair in _find(source).parts.values() for path in pair]
    try:
        states = [(str(path), path.stat()) for path in found]
    except OSError:  # reading reports it
        return ()
    return tuple((name, state.st_size, state.st_mtime_ns, state.st_ino) for name, state in states)


def _find(source: DigitSource) -> SetFiles:
    return find_set(Path(source.folder) if source.folder else _BUNDLED)


@lru_cache(maxsize=2)
def _read_set(source: DigitSource, _state: object) -> _Set:
    """Read the files of a set, or load what the cache holds of them."""
    files = _find(source)
    identity = _identity(files, source)
    kept = load_cached(identity) if identity else None
    if kept:
        parts, digest = _unpacked(files, kept)
    else:
        parts = _read_parts(files, source)
        digest = _digest(parts)
        if identity and identity == _identity(files, source):  # the files did not change meanwhile
            store_cached(identity, [np.frombuffer(bytes.fromhex(digest), np.uint8), *_columns(parts)])
    classes = _classes(files, {part: labels for part, (_, labels, _) in parts.items()}, source)
    banks = {part: DigitBank(*columns, classes, digest) for part, columns in parts.items()}
    if identity:
        _identities.update({bank: (*identity, part) for part, bank in banks.items()})
    return _Set(banks.get("train"), banks.get("test"), files)


def _identity(files: SetFiles, source: DigitSource) -> Identity | None:
    """All that determines what is read; None for files that are too large to be kept, or cannot be read."""
    how = source.skip_blank, source.labels_from, source.invert, files.transposed, files.table
    try:
        if sum(path.stat().st_size for pair in files.parts.values() for path in pair) > MAX_ENTRY:
            return None
        content = [f"{part} {_file_digest(path)}" for part, pair in files.parts.items() for path in pair]
    except OSError:
        return None
    return str(how), *content


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(parts: dict[Part, Columns]) -> Iterator[NDArray[Any]]:
    for columns in parts.values():
        yield from columns


def _unpacked(files: SetFiles, kept: list[NDArray[Any]]) -> tuple[dict[Part, Columns], str]:
    """Parts and digest of a set that was kept."""
    digest, *columns = kept
    return dict(zip(files.parts, zip(*[iter(columns)] * 3, strict=True), strict=True)), digest.tobytes().hex()


def _read_parts(files: SetFiles, source: DigitSource) -> dict[Part, Columns]:
    """Read the files of a set, and check that they belong together."""
    parts = {
        part: read_part(pair, source, transposed=files.transposed, table=files.table)
        for part, pair in files.parts.items()
    }
    if np.concatenate([dark_on_light(images) for images, _, _ in parts.values()]).mean() > _DARK:
        remedy = "leave out invert (--invert)" if source.invert else "invert the images (--invert)"
        raise InputError(f"{files.folder}: dark ink on light paper, but ink is the light part of an image: {remedy}")
    sizes = {part: images.shape[1:] for part, (images, _, _) in parts.items()}
    if len(set(sizes.values())) > 1:
        told = " and ".join(f"{width} x {height}" for height, width in sizes.values())
        raise InputError(f"{files.folder}: training and test images differ in size, {told} pixels")
    return parts


def _classes(files: SetFiles, labels: dict[Part, NDArray[np.uint8]], source: DigitSource) -> int:
    """Number of classes: one more than the highest training label, or test label where there is no training part."""
    first: Part = "train" if "train" in labels else "test"
    own, offset = labels[first], source.labels_from
    classes, present = int(own.max()) + 1, np.count_nonzero(np.bincount(own))
    if classes > 2 * present + 10:  # some gaps are fine: EMNIST's letters start at 1, a small set may lack a few
        remedy = f"--labels-from {own.min() + offset} may help" if own.min() else "number them from 0"
        raise InputError(
            f"{files.parts[first].labels}: label {classes - 1 + offset} at index {own.argmax()} is out of range: there "
            f"are only {present} different labels; {remedy}"
        )
    for part, others in labels.items():
        if (highest := int(others.max())) >= classes:
            raise InputError(
                f"{files.parts[part].labels}: label {highest + offset} at index {others.argmax()} is out of range: "
                f"training labels end at {classes - 1 + offset}"
            )
    return classes


def _digest(parts: dict[Part, Columns]) -> str:
    """SHA-256 over shapes and content of images and labels; a missing part has empty arrays."""
    state = hashlib.sha256()
    height, width = next(iter(parts.values()))[0].shape[1:]
    empty = np.empty((0, height, width), np.uint8), np.empty(0, np.uint8)
    for part in ("train", "test"):
        for array in parts.get(part, empty)[:2]:
            state.update(np.array(array.shape, "<i8").tobytes())
            state.update(array.data)
    return state.hexdigest()
