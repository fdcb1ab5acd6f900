"""One shard, read, checked and encoded for a format by one task, which may run in another process."""

import pickle
from pathlib import Path
from typing import Any

from ..errors import BuildError
from ..storage.digests import block_digests
from ..storage.hdf5 import read_shard
from ..storage.manifest import ShardEntry
from ..storage.schema import Promise
from .formats import FormatName, load_format


def encode_shard(root: Path, folder: Path, kind: FormatName, wanted: tuple[ShardEntry, Promise]) -> Any:
    """Read a shard, check that it is the one in the manifest, and encode it.

    Raises
    ------
    BuildError
        It is damaged, or another shard.
    """
    entry, promise = wanted
    path = root / entry.name
    shard = read_shard(path, entry.sha256, promise)
    if list(block_digests(shard.images, shard.labels)) != entry.blocks:
        raise BuildError(f"{path}: images and labels do not have the digests in the manifest")
    return load_format(kind).encode(folder, shard)


def encode_to_file(root: Path, folder: Path, kind: FormatName, wanted: tuple[ShardEntry, Promise]) -> Path:
    """Encode a shard as `encode_shard` does, into a file of the folder; for another process, which takes it from there.

    A pool waits for ever for a large result if its process is killed in the middle of it; a path is sent at once.
    """
    path = folder / f"{wanted[0].name}.part"
    with path.open("xb") as file:
        pickle.dump(encode_shard(root, folder, kind, wanted), file, pickle.HIGHEST_PROTOCOL)
    return path


def take_file(path: Path) -> Any:
    """Read what `encode_to_file` wrote, and remove the file."""
    with path.open("rb") as file:
        part = pickle.load(file)  # noqa: S301  # written a moment ago, by a process of this export
    path.unlink()
    return part
