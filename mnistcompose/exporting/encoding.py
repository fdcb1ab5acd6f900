"""One shard, read, checked and encoded for a format by one task, which may run in another process."""

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
