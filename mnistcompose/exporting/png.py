"""PNG files in one folder per number, as torchvision's `ImageFolder` reads them, and a table of the factors.

With many numbers, most folders would be empty: then all files of a split are in one folder.
"""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from ..quantities import number_name
from ..storage.schema import Shard, SplitName
from .source import FACTORS, PARTS, Source, decimals, image_set, key, png

DATA = "{split}/**"
TASKS = ("image-classification",)
ENCODES = True

_FOLDERS = 1000  # numbers, at most, that get a folder each

Row = tuple[Any, ...]  # of the table: a file's name, its label and factors


def check(_source: Source) -> None:
    """Accept every dataset."""


def sample_bytes(_source: Source) -> int:
    """Bytes of one disk block."""
    return 4096


def _has_folders(numbers: int) -> bool:
    return numbers <= _FOLDERS


def encode(folder: Path, shard: Shard) -> list[Row]:
    """Write `train/007/0000000012.png`, or without folders `train/0000000012.png`, and list the table's rows."""
    root, numbers = folder / shard.origin.split, shard.origin.classes**shard.form.slots
    labels = shard.labels.tolist()
    places = {label: f"{number_name(label, numbers)}/" if _has_folders(numbers) else "" for label in set(labels)}
    for place in places.values():
        (root / place).mkdir(parents=True, exist_ok=True)
    names = [f"{places[label]}{key(index)}.png" for index, label in enumerate(labels, shard.origin.first)]
    for name, image in zip(names, shard.images, strict=True):
        (root / name).write_bytes(png(image))
    factors = [decimals(getattr(shard, name)).reshape(len(shard), -1).tolist() for name in FACTORS]
    return [
        (name, label, *chain.from_iterable(values))
        for name, label, *values in zip(names, labels, *factors, strict=True)
    ]


def write(folder: Path, source: Source, split: SplitName, parts: Iterator[list[Row]]) -> None:
    """Write `train/metadata.csv`, and make the folders of all numbers."""
    root = folder / split
    root.mkdir(exist_ok=True)
    for number in range(source.numbers) if _has_folders(source.numbers) else ():
        (root / source.number_name(number)).mkdir(exist_ok=True)  # also without images: ImageFolder numbers the folders
    with (root / "metadata.csv").open("x", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file_name", "label", *_columns(source)])
        table.writerows(chain.from_iterable(parts))


def _columns(source: Source) -> list[str]:
    """Headings of the factors: one or several per digit, as in `rotation_0`, `center_x_0`, `center_y_0`."""
    return [
        "_".join(filter(None, (name, part, str(slot))))
        for name in FACTORS
        for slot in range(source.slots)
        for part in PARTS.get(name, [""])
    ]


def usage(source: Source) -> str:
    """Describe how torchvision or Hugging Face's datasets reads the files."""
    split = source.splits[0]
    table = "`metadata.csv` in each split's folder holds the number and the factors of every file, one column per digit"
    if _has_folders(source.numbers):
        name = source.number_name(7 % source.numbers)
        return (
            "```python\nfrom torchvision.datasets import ImageFolder\n\n"
            f'{split} = ImageFolder(folder + "/{split}", allow_empty=True)   # RGB images, and the numbers\n```\n\n'
            f"There is a folder for each of the {source.numbers:,} numbers, with or without images, in every split. "
            f'Therefore the class index of `ImageFolder` is the number: `class_to_idx["{name}"]` is {int(name)}. '
            f"`allow_empty` is needed where a number has no image. {table}."
        )
    return (
        "```python\nfrom datasets import load_dataset\n\n"
        f'{split} = load_dataset(folder, split="{split}")\n'
        f"{split}[0]   # image: a Pillow image, label: the number, and the factors\n```\n\n"
        f"All images of a split are in one folder, since most of the {source.numbers:,} numbers have no image; "
        f"torchvision's `ImageFolder`, which needs a folder per class, does not read them. {table}."
    )


def record_set(source: Source, split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The images from the files' content, and the numbers from the folders' names, if there are folders."""
    files = f"{split}-images"
    if not _has_folders(source.numbers):  # Croissant would have to join the images with the table
        return [image_set(files, f"The images of {split}.", f"{split}/*.png")], []
    file_set = image_set(files, f"The images of {split}, in one folder per number.", f"{split}/*/*.png")
    image = {"fileSet": {"@id": files}, "extract": {"fileProperty": "content"}}
    number = {
        "fileSet": {"@id": files},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": r".*/(\d+)/\d+\.png$"},
    }
    return [file_set], [
        {"name": "image", "description": "The image.", "dataType": "sc:ImageObject", "source": image},
        {"name": "label", "description": "The number.", "dataType": "sc:Integer", "source": number},
    ]
