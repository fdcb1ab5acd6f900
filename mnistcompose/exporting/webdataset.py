"""WebDataset: tar files of samples, each an image, a number, and the factors."""

import json
import tarfile
from collections.abc import Iterator
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

from ..quantities import counted, listed
from ..storage.schema import Shard, SplitName
from .source import Source, factors, files_of, key, png

DATA = "{split}-*.tar"
TASKS = ("image-classification",)
ENCODES = True

Sample = dict[str, bytes]  # its members' content, by the ending of their names

_DIGITS = 6  # of a tar's number


def check(_source: Source) -> None:
    """Accept every dataset."""


def sample_bytes(_source: Source) -> int:
    """Bytes of three members, each of a header and at least one block."""
    return 3 * (512 + 512)


def encode(_folder: Path, shard: Shard) -> list[Sample]:
    """Encode each sample's members."""
    return [
        {
            "png": png(image),
            "cls": str(label).encode(),
            "json": json.dumps(values, separators=(",", ":")).encode(),
        }
        for image, label, values in zip(shard.images, shard.labels.tolist(), factors(shard), strict=True)
    ]


def write(folder: Path, source: Source, split: SplitName, parts: Iterator[list[Sample]]) -> None:
    """Write tars of equal size; their members do not depend on time or user."""
    samples = enumerate(chain.from_iterable(parts))
    for number, some in files_of(samples, source.samples_per_tar(split)):
        with tarfile.open(folder / _name(split, number), "x", format=tarfile.USTAR_FORMAT) as tar:
            for index, members in some:
                for ending, content in members.items():
                    _add(tar, f"{key(index)}.{ending}", content)


def _name(split: SplitName, number: int) -> str:
    return f"{split}-{number:0{_DIGITS}d}.tar"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


def usage(source: Source) -> str:
    """Describe how webdataset reads the files."""
    split = source.splits[0]
    pixels, shape = "l" if source.spec.output.channels == 1 else "rgb", ", ".join(map(str, source.form.image))
    tars = listed(f"{counted(source.tars(each), 'tar')} for {each}" for each in source.splits)
    span = f"{{{0:0{_DIGITS}d}..{source.tars(split) - 1:0{_DIGITS}d}}}"
    return (
        "```python\nimport webdataset as wds\n\n"
        f'{split} = wds.WebDataset(folder + "/{split}-{span}.tar", shardshuffle=False)\n'
        f'for image, number, factors in {split}.decode("{pixels}8").to_tuple("png", "cls", "json"):\n'
        f"    ...   # an image is uint8 ({shape})\n"
        "```\n\n"
        f"There are {tars}. The "
        "workers of a `DataLoader` share a split's tars, and webdataset fails in a worker without one: `num_workers` "
        "should not be larger than the number of tars, and several machines (`nodesplitter=wds.split_by_node`) should "
        "have no more workers than that together. `--per-tar` makes more or fewer tars."
    )


def record_set(_source: Source, _split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return two empty lists: Croissant would have to join three unpacked members per sample."""
    return [], []
