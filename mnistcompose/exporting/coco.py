"""COCO: one box per digit, in JSON, and the images as PNG files.

Hugging Face's `datasets` reads the boxes from a table next to the images, one line of JSON per image.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..rendering.draws import ABSENT
from ..storage.schema import Shard, SplitName
from .source import Source, factors, image_set, key, png

DATA = "{split}/**"
TASKS = ("object-detection",)
ENCODES = True

HALF = 128  # of a mask's 255


def check(_source: Source) -> None:
    """Accept every dataset."""


def sample_bytes(_source: Source) -> int:
    """Bytes of one disk block."""
    return 4096


class Entry(NamedTuple):
    """What an image adds to the files that all images share, as JSON."""

    image: str
    boxes: str
    line: str


def encode(folder: Path, shard: Shard) -> list[Entry]:
    """Write the images into `train/`, and encode their boxes."""
    place = folder / shard.origin.split
    place.mkdir(exist_ok=True)
    first, (height, width) = shard.origin.first, shard.images.shape[1:3]
    entries = []
    rows = zip(shard.images, shard.labels.tolist(), factors(shard), strict=True)
    for index, (image, label, values) in enumerate(rows, first):
        name = f"{key(index)}.png"
        about = {"id": index, "file_name": name, "width": width, "height": height, "license": 1, "number": label}
        masks = None if shard.masks is None else shard.masks[index - first]
        found = list(_annotations(index, values, masks))
        boxes, line = ",\n".join(map(json.dumps, found)), json.dumps(_line(name, label, found))
        (place / name).write_bytes(png(image))
        entries.append(Entry(json.dumps(about), boxes, line))
    return entries


def write(folder: Path, source: Source, split: SplitName, parts: Iterator[list[Entry]]) -> None:
    """Write `train/metadata.jsonl` and `annotations/instances_train.json`."""
    images, annotations = folder / split, folder / "annotations"
    images.mkdir(exist_ok=True)
    annotations.mkdir(exist_ok=True)
    with (
        (annotations / f"instances_{split}.json").open("x") as file,
        TemporaryFile("w+", dir=folder) as boxes,
        (images / "metadata.jsonl").open("x") as table,
    ):
        head = {
            "info": {"description": f"{source.spec.name}, {split}"},
            "licenses": [{"id": 1, "name": source.manifest.license}],
            "categories": [
                {"id": digit, "name": str(digit), "supercategory": "digit"} for digit in range(source.manifest.classes)
            ],
        }
        file.write(f'{json.dumps(head)[:-1]}, "images": [')
        comma = "\n"
        for entry in chain.from_iterable(parts):
            file.write(comma + entry.image)
            boxes.write(comma + entry.boxes)
            table.write(f"{entry.line}\n")
            comma = ",\n"
        file.write('\n], "annotations": [')
        boxes.seek(0)
        copyfileobj(boxes, file)
        file.write("\n]}\n")


def _annotations(index: int, values: dict[str, Any], masks: NDArray[np.uint8] | None) -> Iterator[dict[str, Any]]:
    """Each digit's box and mask; ids start at 1, since COCO's own evaluation treats 0 as none."""
    slots = len(values["digits"])
    for slot, (digit, (x0, y0, x1, y1)) in enumerate(zip(values["digits"], values["box"], strict=True)):
        if digit == ABSENT:
            continue
        width, height = round(x1 - x0, 6), round(y1 - y0, 6)
        others = {name: column[slot] for name, column in values.items() if name not in ("digits", "box")}
        yield {
            "id": index * slots + slot + 1,
            "image_id": index,
            "category_id": digit,
            "bbox": [x0, y0, width, height],
            "area": round(width * height, 6),
            "iscrowd": 0,
            **(_segmentation(masks[slot]) if masks is not None else {}),
            "slot": slot,
            **others,
        }


def _line(name: str, label: int, boxes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An image's line of `metadata.jsonl`."""
    objects = {"bbox": [box["bbox"] for box in boxes], "categories": [box["category_id"] for box in boxes]}
    return {"file_name": name, "label": label, "objects": objects}


def _segmentation(mask: NDArray[np.uint8]) -> dict[str, Any]:
    """Pixels that a digit covers at least by half, as COCO's runs: column by column, off and on in turn."""
    on = mask.T.ravel() >= HALF
    edges = np.flatnonzero(np.diff(on, prepend=False)).tolist()
    runs = [stop - start for start, stop in pairwise([0, *edges, on.size])]
    return {"segmentation": {"counts": runs, "size": list(mask.shape)}, "area": int(on.sum())}


def usage(source: Source) -> str:
    """Say how pycocotools reads it."""
    split = source.splits[0]
    return (
        "```python\nfrom pycocotools.coco import COCO\n\n"
        f'{split} = COCO(folder + "/annotations/instances_{split}.json")   # images: folder + "/{split}"\n```\n\n'
        "A category is a digit, and its id the digit itself, from 0 on (some detectors keep 0 for the background). A "
        "box is x, y, width and height in output pixels, around the digit's ink before another digit covers it. An "
        "annotation also has `slot` and that digit's factors, an image its `number`. "
        "Hugging Face's `load_dataset(folder)` reads the images with their `label`, the number, and `objects`, the "
        "boxes and their categories, from `metadata.jsonl`."
        + (" `segmentation` holds the pixels that the digit covers by half at least." if source.form.masks else "")
    )


def record_set(_source: Source, split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The images alone: Croissant would have to join them with their annotations."""
    files = f"{split}-images"
    return [image_set(files, f"The images of {split}.", f"{split}/*.png")], []
