"""Source digits: IDX files, bundled (MNIST) or the user's own, as arrays with the ink box of each image."""

import gzip
import hashlib
import lzma
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ..arguments import here
from ..errors import InputError

INK = 32  # a pixel of at least this value is ink, in a source digit and in a composed number
MAX_SIDE = 1024  # pixels
MAX_BYTES = 4 << 30  # bytes that a header may declare
HELD_OUT = 12  # one in this many training images is for validation: 5,000 of MNIST's 60,000

Split = Literal["train", "test", "fit", "validation"]


@dataclass(frozen=True, eq=False)
class DigitBank:
    """The digit images that one split may use.

    Attributes
    ----------
    images : uint8 (M, H, W)
        White ink on black, C-contiguous.
    labels : uint8 (M,)
    boxes : int16 (M, 4)
        Tight box of each image's ink, x0, y0, x1, y1; x1 and y1 are exclusive.
    classes
        Number of classes of the whole digit set: the base of a composed label.
    digest
        SHA-256 (hexadecimal) of the whole digit set, the same for each of its splits.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    boxes: NDArray[np.int16]
    classes: int
    digest: str


@dataclass(frozen=True)
class _Family:
    """Names of the files of a digit set; `{part}` is one of `parts`, training first."""

    images: str
    labels: str
    parts: tuple[str, str]
    transposed: bool = False


_FAMILIES = {
    "MNIST": _Family("{part}-images-idx3-ubyte", "{part}-labels-idx1-ubyte", ("train", "t10k")),
    "qmnist": _Family("qmnist-{part}-images-idx3-ubyte", "qmnist-{part}-labels-idx2-int", ("train", "test")),
} | {
    name: _Family(f"{name}-{{part}}-images-idx3-ubyte", f"{name}-{{part}}-labels-idx1-ubyte", ("train", "test"), True)
    for name in (f"emnist-{kind}" for kind in ("balanced", "byclass", "bymerge", "digits", "letters", "mnist"))
}
_SUFFIXES = ("", ".gz", ".xz")
MNIST_LICENSE = (
    "CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/); made from MNIST, copyright Yann LeCun and "
    "Corinna Cortes, a derivative work of the NIST datasets"
)
OTHER_LICENSE = "that of the digit set it was made from"

_BUNDLED = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class _Set:
    """The two parts of a digit set, and the splits that are derived from them."""

    train: DigitBank
    test: DigitBank

    @cached_property
    def fit(self) -> DigitBank:
        """All training images except those for validation."""
        return _part(self.train, slice(-self._held_out))

    @cached_property
    def validation(self) -> DigitBank:
        """The last training images."""
        return _part(self.train, slice(-self._held_out, None))

    @property
    def _held_out(self) -> int:
        return len(self.train.labels) // HELD_OUT


def _part(bank: DigitBank, part: slice) -> DigitBank:
    return replace(bank, images=bank.images[part], labels=bank.labels[part], boxes=bank.boxes[part])


def load_digits(split: Split, folder: Path | None = None) -> DigitBank:
    """Load the digit images of a split.

    'train' and 'test' are the set's own splits. 'validation' is the last twelfth of the training images, 'fit' the
    others. A set is read once per process.

    Parameters
    ----------
    folder
        Folder of IDX files, plain, .gz or .xz, under the names of MNIST (Fashion-MNIST and KMNIST use the same), QMNIST
        or EMNIST; directly in it, in `raw/` or in `NAME/raw/`. If it holds several sets of EMNIST, append the set's
        name, as in `raw/emnist-digits`. None means the bundled MNIST.

    Raises
    ------
    InputError
        There is no such split, or the files are missing, damaged, or inconsistent.
    """
    if split not in get_args(Split):
        raise InputError(f"no split {split!r}; there are 'train', 'test', 'fit' and 'validation'")
    digits = _load(folder)
    if split in ("fit", "validation") and len(digits.train.labels) < HELD_OUT:
        raise InputError(
            f"{folder}: {len(digits.train.labels)} training images are too few to hold some out for validation"
        )
    return cast(DigitBank, getattr(digits, split))


_lock = Lock()  # threads that need the same set wait until one of them has read it


def _load(folder: Path | None) -> _Set:
    with _lock:
        return _read_set(folder and here(folder).absolute())


@lru_cache(maxsize=2)
def _read_set(folder: Path | None) -> _Set:
    return _combine(*(_find(folder) if folder else (_BUNDLED, "MNIST")))


# --- finding the files ----------------------------------------------------------------------------------------------


def _path(folder: Path, stem: str) -> Path | None:
    """The file of that name; the least compressed one if there are several."""
    return next((path for suffix in _SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)


def _sets_in(folder: Path) -> Iterator[tuple[Path, str]]:
    """Folder and family of every digit set with at least one file in the folder."""
    for name, family in _FAMILIES.items():
        stems = [stem.format(part=part) for stem in (family.images, family.labels) for part in family.parts]
        if any(_path(folder, stem) for stem in stems):
            yield folder, name


def _find(folder: Path) -> tuple[Path, str]:
    """Folder and family of the digit set that the user's path refers to."""
    try:
        if not folder.exists() and folder.name in _FAMILIES and folder.parent.is_dir():
            found = [(place, name) for place, name in _places(folder.parent) if name == folder.name]
        elif folder.is_dir():
            found = list(_places(folder))
        else:
            raise InputError(f"{folder}: not a folder of digit files")
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from None
    if not found:
        raise InputError(
            f"{folder}: no digit files; looked for train-images-idx3-ubyte, qmnist-train-images-idx3-ubyte and "
            "emnist-digits-train-images-idx3-ubyte (plain, .gz or .xz) in it, in raw/ and in NAME/raw/"
        )
    if len(found) > 1:
        choices = (
            str(place if [other for other, _ in found].count(place) == 1 else place / name) for place, name in found
        )
        raise InputError(f"{folder}: several digit sets; give one of {', '.join(sorted(choices))}")
    return found[0]


def _places(folder: Path) -> list[tuple[Path, str]]:
    """Every digit set in a folder, in its raw/, and in the NAME/raw/ below it."""
    return [each for place in (folder, folder / "raw", *sorted(folder.glob("*/raw"))) for each in _sets_in(place)]


# --- reading a set --------------------------------------------------------------------------------------------------


def _combine(folder: Path, name: str) -> _Set:
    """Read the four files and check that they belong together."""
    family = _FAMILIES[name]
    (train, train_labels, train_boxes), (test, test_labels, test_boxes) = (
        _read_part(folder, family, part) for part in family.parts
    )
    if train.shape[1:] != test.shape[1:]:
        sizes = " and ".join(f"{width} x {height}" for _, height, width in (train.shape, test.shape))
        raise InputError(f"{folder}: training and test images differ in size, {sizes} pixels")
    classes, present = int(train_labels.max()) + 1, len(np.unique(train_labels))
    if classes > 2 * present + 10:  # some gaps are fine: EMNIST's letters start at 1, a small set may lack a few
        raise InputError(
            f"{_stem(folder, family.labels, family.parts[0])}: label {classes - 1} at index {train_labels.argmax()} is "
            f"out of range: there are only {present} different labels; number them from 0"
        )
    if (highest := int(test_labels.max())) >= classes:
        raise InputError(
            f"{_stem(folder, family.labels, family.parts[1])}: label {highest} at index {test_labels.argmax()} is out "
            f"of range: training labels end at {classes - 1}"
        )
    digest = _digest(train, train_labels, test, test_labels)
    return _Set(
        DigitBank(train, train_labels, train_boxes, classes, digest),
        DigitBank(test, test_labels, test_boxes, classes, digest),
    )


def _stem(folder: Path, stem: str, part: str) -> Path:
    """Path of a file that must exist, with its suffix."""
    name = stem.format(part=part)
    path = _path(folder, name)
    if path is None:
        raise InputError(f"{folder / name}: missing (also as .gz and .xz); a digit set has four files")
    return path


def _read_part(
    folder: Path, family: _Family, part: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int16]]:
    """Images, labels and ink boxes of the training or the test part."""
    images_path, labels_path = (_stem(folder, stem, part) for stem in (family.images, family.labels))
    images, labels = _read_idx(images_path, 3, "u1"), _read_labels(labels_path)
    count, height, width = images.shape
    if not count:
        raise InputError(f"{images_path}: holds no image")
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise InputError(f"{images_path}: images of {width} x {height} pixels; each side must have 1 to {MAX_SIDE}")
    if count != len(labels):
        raise InputError(f"{images_path}: {count} images, but {labels_path.name} holds {len(labels)} labels")
    if family.transposed:
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    boxes, blank = ink_boxes(images)
    if len(blank):
        raise InputError(f"{images_path}: image {blank[0]} is blank: no pixel reaches {INK} of 255")
    return images, labels, boxes


def _read_labels(path: Path) -> NDArray[np.uint8]:
    """Labels, one byte each; QMNIST's are tables of integers, with the label first."""
    if "idx1" in path.name:
        return _read_idx(path, 1, "u1").astype(np.uint8, copy=False)
    table = _read_idx(path, 2, ">i4")
    if not table.shape[1]:
        raise InputError(f"{path}: the table has no columns; the first should be the label")
    labels = table[:, 0]
    wrong = np.flatnonzero((labels < 0) | (labels > 255))
    if len(wrong):
        raise InputError(f"{path}: label {labels[wrong[0]]} at index {wrong[0]} is out of range 0..255")
    return labels.astype(np.uint8)


def _read_idx(path: Path, dimensions: int, kind: Literal["u1", ">i4"]) -> NDArray[Any]:
    """Read one IDX array; at most one byte more than its header declares is decompressed."""
    code = 0x0C if kind == ">i4" else 0x08
    try:
        with _open(path) as file:
            header = file.read(4 + 4 * dimensions)
            magic = bytes([0, 0, code, dimensions])
            if len(header) >= 4 and header[:4] != magic:
                raise InputError(
                    f"{path}: starts with 0x{header[:4].hex()}; an IDX file of its kind with 0x{magic.hex()}"
                )
            if len(header) < 4 + 4 * dimensions:
                raise InputError(f"{path}: truncated: {len(header)} bytes are fewer than its header needs")
            shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
            promised = math.prod(shape) * np.dtype(kind).itemsize
            claim = f"the header promises {' x '.join(map(str, shape))} values, {promised:,} bytes"
            if promised > MAX_BYTES:
                raise InputError(f"{path}: {claim}; at most {MAX_BYTES:,} are allowed")
            content = bytearray()
            while len(content) <= promised and (chunk := file.read(min(1 << 20, promised + 1 - len(content)))):
                content += chunk
    except EOFError:
        raise InputError(f"{path}: truncated: its compressed data ends too early") from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{path}: damaged: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) != promised:
        found = (
            f"truncated: {claim}, there are {len(content):,}" if len(content) < promised else f"{claim}, it has more"
        )
        raise InputError(f"{path}: {found}")
    return np.frombuffer(content, kind).reshape(shape)


def _open(path: Path) -> IO[bytes]:
    match path.suffix:
        case ".gz":
            return cast(IO[bytes], gzip.open(path))
        case ".xz":
            return cast(IO[bytes], lzma.open(path))
        case _:
            return path.open("rb")


def ink_boxes(images: NDArray[np.uint8]) -> tuple[NDArray[np.int16], NDArray[np.intp]]:
    """Find the tight box of the ink in each of the images, uint8 (M, H, W).

    Returns
    -------
    boxes : int16 (M, 4)
        x0, y0, x1, y1; x1 and y1 are exclusive.
    blank : intp (b,)
        Indices of the images without ink; their boxes are meaningless.
    """
    _, height, width = images.shape
    step = max(1, (1 << 22) // (height * width))  # images at a time, so that temporaries take only a few megabytes
    chunks = [images[start : start + step] for start in range(0, len(images), step)]
    columns = np.concatenate([chunk.max(axis=1) for chunk in chunks]) >= INK
    rows = np.concatenate([chunk.max(axis=2) for chunk in chunks]) >= INK
    edges = (columns.argmax(1), rows.argmax(1), width - columns[:, ::-1].argmax(1), height - rows[:, ::-1].argmax(1))
    return np.stack(edges, axis=1).astype(np.int16), np.flatnonzero(~rows.any(axis=1))


def _digest(*arrays: NDArray[np.uint8]) -> str:
    """SHA-256 over shapes and content."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(np.array(array.shape, "<i8").tobytes())
        state.update(array.data)
    return state.hexdigest()
