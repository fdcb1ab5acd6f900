"""What a shard holds: its columns, their types and units."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..layout.model import SIZE, LayoutSpec

FORMAT = 1
BLOCK = 1000  # samples per digest; a shard holds whole blocks, so that shards can be hashed separately
MAX_SHARD = 100_000  # samples; a shard is made and read in memory
MAX_SHARD_BYTES = 4 << 30
Compression = Literal["none", "gzip"]
SplitName = Literal["train", "test", "test_unseen"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
# name: type, shape of one sample, unit; "k" is the number of slots, "image" an image's shape, "area" without colours
COLUMN_TYPES: dict[str, tuple[str, tuple[int | str, ...], str]] = {
    "images": ("|u1", ("image",), "grey level, or red, green and blue"),
    "labels": ("<i8", (), "number"),
    "labels_clean": ("<i8", (), "number without label noise"),
    "digits": ("|u1", ("k",), "class, most significant slot first; 255 where the number is shorter"),
    "source_index": ("<i4", ("k",), "index into the source images of the split"),
    "center": ("<f4", ("k", 2), "x, y in slot units, y downwards"),
    "scale": ("<f4", ("k",), "factor"),
    "rotation": ("<f4", ("k",), "degrees, counter-clockwise as seen"),
    "flip": ("|u1", ("k",), "bit 0: left-right, bit 1: upside down"),
    "box": ("<f4", ("k", 4), "x0, y0, x1, y1 in output pixels"),
    "masks": ("|u1", ("k", "area"), "share of the pixel that the digit covers, 0 to 255, before others cover it"),
}
# those that every dataset has
COLUMNS = tuple(name for name in COLUMN_TYPES if name not in ("labels_clean", "masks"))
UNITS = {name: unit for name, (_, _, unit) in COLUMN_TYPES.items()}


@dataclass(frozen=True)
class SampleSchema:
    """Columns and shapes of a dataset's samples in its shards.

    Attributes
    ----------
    slots
        Largest number of digits of a number.
    image
        Shape of an image: height, width and, in colour, 3.
    masks
        Whether there is a mask for every digit.
    labels_clean
        Whether there are labels without noise next to noisy ones.
    """

    slots: int
    image: tuple[int, ...] = (SIZE, SIZE)
    masks: bool = False
    labels_clean: bool = False

    @staticmethod
    def of(layout: LayoutSpec, masks: bool = False) -> "SampleSchema":
        """Of a layout's samples."""
        return SampleSchema(len(layout.slots), layout.output.shape, masks, layout.has_label_noise)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a shard's arrays."""
        return tuple(name for name in COLUMN_TYPES if name in COLUMNS or getattr(self, name))

    def shape(self, column: str) -> tuple[int, ...]:
        """Shape of one sample in one of a shard's arrays."""
        sizes = {"k": (self.slots,), "image": self.image, "area": self.image[:2]}
        parts = ((size,) if isinstance(size, int) else sizes[size] for size in COLUMN_TYPES[column][1])
        return tuple(chain.from_iterable(parts))

    @property
    def sample_bytes(self) -> int:
        """Size of one sample in a shard, uncompressed."""
        return sum(np.dtype(COLUMN_TYPES[name][0]).itemsize * math.prod(self.shape(name)) for name in self.columns)


@dataclass(frozen=True)
class Origin:
    """Which samples a shard holds, and what they were made from; the attributes of its file.

    Attributes
    ----------
    split, seed, first
        Where the samples belong; `first` is the index of the first one in its split.
    spec_digest, digits_digest, classes
        Digests of the layout and of the digit set, and the base of the labels.
    """

    split: SplitName
    seed: int
    first: int
    spec_digest: str
    digits_digest: str
    classes: int


@dataclass(frozen=True)
class Promise:
    """What a shard must hold, known before its arrays are read."""

    count: int
    form: SampleSchema
    origin: Origin

    def differences(self, found: "Promise") -> Iterator[str]:
        """Yield one line for each field in which another shard differs."""
        ours, theirs = ({"samples": each.count, **asdict(each.form), **asdict(each.origin)} for each in (self, found))
        for name, value in ours.items():
            if theirs[name] != value:
                yield f"{name} is {theirs[name]!r}, in the manifest {value!r}"


@dataclass(frozen=True, eq=False)
class Shard:
    """Consecutive samples of a split, n of k slots: the images, and the factors they were made with.

    Attributes
    ----------
    origin
        Which samples these are, and what they were made from.
    images : uint8 (n, H, W), in colour (n, H, W, 3)
    labels : int64 (n,)
        The number, sum of digit * classes**(length - 1 - slot); with label noise, possibly another one.
    digits : uint8 (n, k)
        255 where the number is shorter; all factors are zero there.
    source_index : int32 (n, k)
        Index into the source images of the split; -1 where there is no digit.
    center : float32 (n, k, 2)
        x and y in slot units (20 pixels), y downwards.
    scale : float32 (n, k)
        Factor on the digit's size.
    rotation : float32 (n, k)
        Degrees, counter-clockwise as seen.
    flip : uint8 (n, k)
        Bit 0: left-right, bit 1: upside down.
    box : float32 (n, k, 4)
        x0, y0, x1, y1 of the slot's ink in the image, pixels.
    masks : uint8 (n, k, H, W), or None
        How much each digit covers each pixel, 0 to 255, before any other digit covers it.
    labels_clean : int64 (n,), or None
        The number without label noise, in datasets that have it.
    """

    origin: Origin
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digits: NDArray[np.uint8]
    source_index: NDArray[np.int32]
    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    rotation: NDArray[np.float32]
    flip: NDArray[np.uint8]
    box: NDArray[np.float32]
    masks: NDArray[np.uint8] | None = None
    labels_clean: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.labels)

    @property
    def form(self) -> SampleSchema:
        """What the samples look like."""
        extra = {name: getattr(self, name) is not None for name in ("masks", "labels_clean")}
        return SampleSchema(self.digits.shape[1], self.images.shape[1:], **extra)


def splits_of(layout: LayoutSpec) -> tuple[SplitName, ...]:
    """Splits that a layout's dataset has, in order; `test_unseen` shows the numbers that are held out."""
    return SPLITS if layout.holds_out else SPLITS[:2]


def shard_name(split: SplitName, index: int, total: int) -> str:
    """Name of one of a split's shards, as in `train-00000-of-00006.h5`."""
    return f"{split}-{index:05d}-of-{total:05d}.h5"


def column_type(column: str, form: SampleSchema) -> tuple[str, tuple[int, ...]]:
    """Type of one of a shard's arrays, and the shape of one sample in it."""
    return COLUMN_TYPES[column][0], form.shape(column)
