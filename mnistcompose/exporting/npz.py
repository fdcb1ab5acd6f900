"""NumPy's archives: all arrays of a split in one file."""

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..storage.schema import Shard, SplitName, column_type
from .source import Source

DATA = None
TASKS = ("image-classification",)
ENCODES = False

_PIECE = 1 << 22  # bytes that are copied at once


def check(_source: Source) -> None:
    """Accept every dataset."""


def sample_bytes(source: Source) -> int:
    """Bytes of a sample, once as temporary columns, and once in the archive."""
    return 2 * source.form.sample_bytes


def encode(_folder: Path, shard: Shard) -> Shard:
    """Return the shard: its arrays are written as they are."""
    return shard


def write(folder: Path, source: Source, split: SplitName, shards: Iterator[Shard]) -> None:
    """Write `train.npz` or `test.npz`; its arrays are collected in temporary files, since each is written whole."""
    with TemporaryDirectory(dir=folder) as aside:
        paths = {name: Path(aside) / f"{name}.npy" for name in source.form.columns}
        with ExitStack() as stack:
            files = {name: stack.enter_context(path.open("xb")) for name, path in paths.items()}
            for name, file in files.items():
                kind, shape = column_type(name, source.form)
                header = {"descr": kind, "fortran_order": False, "shape": (source.count(split), *shape)}
                np.lib.format.write_array_header_1_0(file, header)
            for shard in shards:
                for name, file in files.items():
                    file.write(np.ascontiguousarray(getattr(shard, name), column_type(name, source.form)[0]).data)
        with zipfile.ZipFile(folder / f"{split}.npz", "x") as archive:
            for path in paths.values():
                member = zipfile.ZipInfo(path.name)  # dated 1980: the same bytes every time
                with path.open("rb") as column, archive.open(member, "w", force_zip64=True) as target:
                    copyfileobj(column, target, _PIECE)
                path.unlink()


def usage(source: Source) -> str:
    """Describe how NumPy reads the files."""
    split = source.splits[0]
    shape = ", ".join(map(str, source.form.image))
    masks = " So are the masks, uint8 (N, k, height, width)." if source.form.masks else ""
    return (
        "```python\nimport numpy as np\n\n"
        f'with np.load(folder + "/{split}.npz", allow_pickle=False) as {split}:\n'
        f'    images, numbers = {split}["images"], {split}["labels"]   '
        f"# uint8 (N, {shape}), int64 (N,)\n```\n\n"
        f"The factors are arrays of the same file.{masks}"
    )


def record_set(_source: Source, _split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return two empty lists: Croissant cannot describe NPZ."""
    return [], []
