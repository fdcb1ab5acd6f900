"""PNG files in one folder per number, as torchvision's `ImageFolder` reads them, and a table of the factors."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..storage.schema import SampleSchema, Shard, SplitName, column_type
from .source import FACTORS, PARTS, Source, decimals, image_set, key, png

DATA = "{split}/**"
TASKS = ("image-classification",)

_MAX = 100_000  # folders


def check(source: Source) -> None:
    """Reject a dataset that needs too many folders."""
    if source.numbers > _MAX:
        raise InputError(
            f"{source.spec.name}: png makes one folder per number, and {source.numbers:,} are more than {_MAX:,}; use "
            "webdataset"
        )


def sample_bytes(_source: Source) -> int:
    """Bytes of one disk block."""
    return 4096


def write(folder: Path, source: Source, split: SplitName, shards: Iterator[Shard]) -> None:
    """Write `train/007/0000000012.png` and so on, and `train/metadata.csv`."""
    root = folder / split
    names = [source.number_name(number) for number in range(source.numbers)]
    for name in names:  # also for numbers without images: readers number the folders
        (root / name).mkdir(parents=True)
    with (root / "metadata.csv").open("x", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file_name", "label", *_columns(source)])
        for shard in shards:
            values = [decimals(getattr(shard, name)).reshape(len(shard), -1).tolist() for name in FACTORS]
            rows = zip(shard.images, shard.labels.tolist(), *values, strict=True)
            for place, (image, label, *row) in enumerate(rows):
                name = f"{names[label]}/{key(shard.first + place)}.png"
                (root / name).write_bytes(png(image))
                table.writerow([name, label, *(value for several in row for value in several)])


def _columns(source: Source) -> list[str]:
    """Headings of the factors: one or several per digit, as in `rotation_0`, `center_x_0`, `center_y_0`."""
    assert all(np.prod(column_type(name, SampleSchema(1))[1]) == len(PARTS.get(name, [""])) for name in FACTORS)  # noqa: S101
    return [
        "_".join(filter(None, (name, part, str(slot))))
        for name in FACTORS
        for slot in range(source.slots)
        for part in PARTS.get(name, [""])
    ]


def usage(source: Source) -> str:
    """Describe how torchvision reads the files."""
    return (
        "```python\nfrom torchvision.datasets import ImageFolder\n\n"
        f'ImageFolder(folder + "/{source.splits[0]}", allow_empty=True)   # RGB images, and the numbers\n```\n\n'
        f"There is a folder for each of the {source.numbers:,} numbers, so that a folder's place is its number; "
        "`allow_empty` is needed where a number has no image. `metadata.csv` in each split's folder holds the factors "
        "of every file, one column per digit."
    )


def record_set(_source: Source, split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The images from the files' content, and the numbers from the folders' names."""
    files = f"{split}-images"
    file_set = image_set(files, f"The images of {split}, in one folder per number.", f"{split}/*/*.png")
    image = {"fileSet": {"@id": files}, "extract": {"fileProperty": "content"}}
    number = {
        "fileSet": {"@id": files},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": r"/(\d+)/\d+\.png$"},
    }
    return [file_set], [
        {"name": "image", "description": "The image.", "dataType": "sc:ImageObject", "source": image},
        {"name": "label", "description": "The number.", "dataType": "sc:Integer", "source": number},
    ]
