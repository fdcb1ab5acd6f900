"""IDX, the format of MNIST itself, under the names that torchvision looks for.

MNIST's labels are bytes; larger numbers are written in the form of QMNIST, whose labels are 32-bit integers.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..quantities import listed
from ..storage.schema import Shard, SplitName, column_type
from .source import FACTORS, Source

DATA = None
TASKS = ("image-classification",)
ENCODES = False

_TYPES = {"|u1": (0x08, "ubyte"), "<i4": (0x0C, "int"), "<f4": (0x0D, "float")}
_STEMS = {"train": "train", "test": "t10k"}  # names of MNIST's files; other splits have their own
_MAX = 2**32 - 1  # samples that a header can declare


def check(source: Source) -> None:
    """Reject colours, labels and counts that do not fit into IDX or torchvision's classes."""
    if source.spec.output.channels > 1:
        raise InputError(f"{source.spec.name}: MNIST's classes read grey images, not colour; use png, npz or parquet")
    if source.numbers > 2**31:
        raise InputError(f"{source.spec.name}: {source.numbers:,} numbers exceed IDX's integers; use npz or parquet")
    if (most := max(map(source.count, source.splits))) > _MAX:
        raise InputError(f"{source.spec.name}: {most:,} images; an IDX file holds at most {_MAX:,}")


def sample_bytes(source: Source) -> int:
    """Bytes of a sample, as in a shard."""
    return source.form.sample_bytes


def _as_mnist(source: Source) -> bool:
    return source.numbers <= 256


def encode(_folder: Path, shard: Shard) -> Shard:
    """Return the shard: its arrays are written as they are."""
    return shard


def write(folder: Path, source: Source, split: SplitName, shards: Iterator[Shard]) -> None:
    """Write images, labels, and one file per factor."""
    count, slots = source.count(split), source.slots
    table: tuple[int, ...] = ()
    if _as_mnist(source):
        stem, labels = folder / "MNIST" / "raw" / _STEMS.get(split, split), "|u1"
    else:
        stem, labels, table = folder / "QMNIST" / "raw" / f"qmnist-{split}", "<i4", (1 + slots,)
    kinds = {"images": column_type("images", source.form), "labels": (labels, table)}
    kinds |= {name: column_type(name, source.form) for name in FACTORS}
    with ExitStack() as stack:
        files = {}
        for name, (kind, shape) in kinds.items():
            code, word = _TYPES[kind]
            place = folder / "factors" / split if name in FACTORS else stem
            path = place.with_name(f"{place.name}-{name}-idx{1 + len(shape)}-{word}")
            path.parent.mkdir(parents=True, exist_ok=True)
            files[name] = stack.enter_context(path.open("xb"))
            files[name].write(bytes([0, 0, code, 1 + len(shape)]) + np.array((count, *shape), ">u4").tobytes())
        for shard in shards:
            for name, file in files.items():
                array = _labels(shard, bool(table)) if name == "labels" else getattr(shard, name)
                file.write(np.ascontiguousarray(array, np.dtype(kinds[name][0]).newbyteorder(">")).data)


def _labels(shard: Shard, table: bool) -> NDArray[Any]:
    """The numbers; in a table, as in QMNIST, followed by their digits."""
    return np.column_stack([shard.labels, shard.digits]) if table else shard.labels


def usage(source: Source) -> str:
    """Describe how torchvision reads the files."""
    split = source.splits[0]
    further = [name for name in source.splits if name not in _STEMS]
    shape = ", ".join(map(str, source.form.image))
    if _as_mnist(source) and set(_STEMS) <= set(source.splits):
        code = (
            "from torchvision.datasets import MNIST\n\n"
            "train, test = MNIST(folder, train=True), MNIST(folder, train=False)   # 8-bit images and the numbers"
        )
        note = "The files have the names and the form of MNIST's own."
    elif _as_mnist(source):
        stem = f"/MNIST/raw/{_STEMS.get(split, split)}"
        code = (
            "from torchvision.datasets.mnist import read_image_file, read_label_file\n\n"
            f'images = read_image_file(folder + "{stem}-images-idx3-ubyte")   # uint8 (N, {shape})\n'
            f'numbers = read_label_file(folder + "{stem}-labels-idx1-ubyte")   # int64 (N,)'
        )
        note = "torchvision's class `MNIST` needs the files of train and test; not both are here."
    elif split in further:
        stem = f"/QMNIST/raw/qmnist-{split}"
        code = (
            "from torchvision.datasets.mnist import read_image_file, read_sn3_pascalvincent_tensor\n\n"
            f'images = read_image_file(folder + "{stem}-images-idx3-ubyte")   # uint8 (N, {shape})\n'
            f'table = read_sn3_pascalvincent_tensor(folder + "{stem}-labels-idx2-int")   # the number and its digits'
        )
        note = "The files have the form of QMNIST's, whose labels are a table of 32-bit integers."
    else:
        code = (
            "from torchvision.datasets import QMNIST\n\n"
            f'{split} = QMNIST(folder, what="{split}")                 # 8-bit images and the numbers\n'
            f'table = QMNIST(folder, what="{split}", compat=False)   # images, and rows of the number and its digits'
        )
        note = (
            "MNIST's own label files, and so torchvision's class `MNIST`, end at 255. The files therefore have the "
            "form and the names of QMNIST, whose labels are a table of 32-bit integers: here number and digits."
        )
    if further and split not in further:
        note += f" The files of {listed(further)} have the same form, for `torchvision.datasets.mnist.read_image_file`."
    return (
        f"```python\n{code}\n```\n\n{note}\n\n"
        "`factors/` holds the factors as big-endian IDX files; their names give the number of dimensions."
    )


def record_set(_source: Source, _split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return two empty lists: Croissant cannot describe IDX."""
    return [], []
