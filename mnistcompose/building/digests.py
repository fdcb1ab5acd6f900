"""Digests of datasets: those that are published, and those of images made in memory."""

import json
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path

from ..arguments import at_once
from ..digits.bank import load_digits
from ..digits.source import Digits
from ..layout.model import LayoutSpec
from ..storage.digests import block_digests, split_digest
from ..storage.schema import BLOCK, SplitName
from .config import make_config
from .executors import cores
from .interruptible import map_on_threads
from .worker import compose_shard

_PIECE = 10 * BLOCK  # samples that a thread renders at once


@cache
def published_digests() -> dict[str, dict[SplitName, str]]:
    """Digests of the bundled datasets' splits, by name: seed 0, the layouts' own counts, the bundled MNIST."""
    path = files("mnistcompose.specs") / "digests.json"
    digests: dict[str, dict[SplitName, str]] = json.loads(path.read_text())["digests"] if path.is_file() else {}
    return digests


def make_digests(
    spec: LayoutSpec | str | Path,
    *,
    seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    digits: Digits = None,
    workers: int | None = None,
) -> dict[SplitName, str]:
    """Digest of each split, from images made in memory; equal to that in the manifest of a built dataset.

    Parameters
    ----------
    spec, seed, train, test, digits
        As for `build`.
    workers
        Number of threads that make images; None means one per core.

    Raises
    ------
    InputError
        An argument cannot be used.
    """
    config = make_config(spec, seed=seed, train=train, test=test, digits=digits, shard_size=BLOCK)
    workers = at_once(workers, cores())

    def blocks(split: SplitName, count: int) -> list[str]:
        if not count:
            return []  # of a digit set that may lack this split
        bank = load_digits(split, config.digits)

        def piece(start: int) -> tuple[str, ...]:
            shard = compose_shard(bank, config.spec, split, config.seed, start, min(start + _PIECE, count))
            return block_digests(shard.images, shard.labels)

        return list(chain.from_iterable(map_on_threads(piece, range(0, count, _PIECE), workers)))

    return {split: split_digest(blocks(split, count)) for split, count in config.counts.items()}
