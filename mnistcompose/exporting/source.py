"""The input of all formats: a dataset, its shards, and their samples one by one."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..layout.model import LayoutSpec
from ..quantities import counted, number_name
from ..storage.manifest import Manifest
from ..storage.schema import COLUMNS, SampleSchema, Shard, SplitName

T = TypeVar("T")

FACTORS = tuple(name for name in COLUMNS if name not in ("images", "labels"))
PARTS = {"center": ("x", "y"), "box": ("x0", "y0", "x1", "y1")}  # of factors with several numbers per digit

_PER_TAR = 10_000  # samples, at most
_TARS = 16  # a reader's workers share a split's tars, and one without a tar fails


@dataclass(frozen=True, eq=False)
class Source:
    """A built dataset, or a part of it.

    Attributes
    ----------
    splits
        The splits to export, none of them empty.
    per_tar
        Samples per tar file; None gives every split several tars.
    """

    manifest: Manifest
    spec: LayoutSpec
    splits: tuple[SplitName, ...]
    per_tar: int | None

    @property
    def slots(self) -> int:
        """How many digits a number has."""
        return len(self.spec.slots)

    @property
    def form(self) -> SampleSchema:
        """What the samples look like."""
        return self.manifest.form

    @property
    def pixels(self) -> str:
        """Size and kind of the images, in words."""
        height, width, *colors = self.form.image
        return f"{width} x {height} {'colour' if colors else 'grey'} pixels"

    @property
    def numbers(self) -> int:
        """How many different numbers there can be."""
        return int(self.manifest.classes**self.slots)

    def count(self, split: SplitName) -> int:
        """How many images a split has."""
        return self.manifest.splits[split].count

    def samples_per_tar(self, split: SplitName) -> int:
        """How many samples a tar holds; unless it is given, a split has at least `_TARS` tars, one for each reader."""
        return self.per_tar or max(1, min(_PER_TAR, self.count(split) // _TARS))

    def tars(self, split: SplitName) -> int:
        """How many tars a split has."""
        return -(-self.count(split) // self.samples_per_tar(split))

    @property
    def lengths(self) -> str:
        """How many digits a number has, in words: '1 digit', '2 or 3 digits'."""
        length = self.spec.length
        *others, last = [self.slots] if length == "all" else sorted(set(length.choice))
        return f"{', '.join(map(str, others))} or {last} digits" if others else counted(last, "digit")

    def number_name(self, number: int) -> str:
        """Write a number with leading zeros, so that names sort in the order of the numbers."""
        return number_name(number, self.numbers)


def key(index: int) -> str:
    """Name of a split's sample: its index in ten digits."""
    return f"{index:010d}"


def png(image: NDArray[np.uint8]) -> bytes:
    """Encode an image, (height, width) or (height, width, 3), losslessly."""
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()


def image_set(name: str, description: str, pattern: str) -> dict[str, Any]:
    """Croissant metadata of a set of PNG files."""
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": "image/png",
        "includes": pattern,
    }


def decimals(array: NDArray[Any]) -> NDArray[Any]:
    """Convert float32 to float64 values that print as the shortest decimals with the same float32 value."""
    return array.astype("U").astype(np.float64) if array.dtype == np.float32 else array


def factors(shard: Shard) -> Iterator[dict[str, Any]]:
    """Each sample's factors, as JSON can hold them: one or several values per digit."""
    columns = [decimals(getattr(shard, name)).tolist() for name in FACTORS]
    for values in zip(*columns, strict=True):
        yield dict(zip(FACTORS, values, strict=True))


def files_of(items: Iterable[T], size: int) -> Iterator[tuple[int, Iterator[T]]]:
    """Distribute items to files of `size` items; yield each file's number, and its items."""
    for number, some in groupby(enumerate(items), lambda pair: pair[0] // size):
        yield number, map(itemgetter(1), some)
