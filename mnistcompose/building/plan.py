"""What a build would make, without making it."""

import json
from dataclasses import dataclass
from time import perf_counter

from ..digits.bank import load_digits
from ..storage.digests import block_digests, pieces_digest
from ..storage.hdf5 import encode
from ..storage.manifest import ShardEntry
from ..storage.schema import BLOCK, SplitName, shard_name
from .config import BuildConfig
from .worker import compose_shard, load_kernel


@dataclass(frozen=True)
class BuildPlan:
    """What a build would make.

    Attributes
    ----------
    counts, shards
        Number of images, and of files, of each split.
    bytes, manifest_bytes
        Size of all shards, and of the manifest that lists them, in bytes.
    seconds_per_image
        Measured time of one thread of this machine to make, encode and hash an image; writing is not included.
    """

    counts: dict[SplitName, int]
    shards: dict[SplitName, int]
    bytes: int
    manifest_bytes: int
    seconds_per_image: float


def plan_build(config: BuildConfig) -> BuildPlan:
    """Estimate what a build would make, from a few thousand images made in memory; no file is written.

    Raises
    ------
    InputError
        The layout leaves a digit without ink.
    """
    split = config.first_split
    bank = load_digits(split, config.digits)
    load_kernel(config)
    sizes = []
    for blocks in (1, 2):
        begun = perf_counter()
        sample = compose_shard(bank, config.spec, split, config.seed, 0, blocks * BLOCK, masks=config.masks)
        content = encode(sample, config.compression)
        hashes = pieces_digest(content), block_digests(sample.images, sample.labels)
        seconds = (perf_counter() - begun) / len(sample)
        sizes.append(sum(map(len, content)))
    each = (sizes[1] - sizes[0]) / BLOCK
    shards = {split: -(-count // config.shard_size) for split, count in config.counts.items()}
    entry = ShardEntry(
        name=shard_name("train", 0, max(shards.values())),
        bytes=sizes[1],
        sha256=hashes[0],
        split="train",
        first=0,
        count=config.shard_size,
        blocks=[hashes[1][0]] * (config.shard_size // BLOCK),
    )
    total = sum(shards.values())
    return BuildPlan(
        counts=config.counts,
        shards=shards,
        bytes=round(sum(config.counts.values()) * each + total * (sizes[0] - BLOCK * each)),
        manifest_bytes=total * len(json.dumps(entry.model_dump(), indent=1)),
        seconds_per_image=seconds,
    )
