"""Shuffled epochs over a dataset that is larger than memory."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ..errors import InputError


class BlockShuffle(Sampler[NDArray[np.int64]]):
    """Batches of indices in an order that reads neighbours together and still mixes well.

    The indices are cut into blocks of neighbours, and the blocks are put in random order. Up to `window` of them at a
    time are pooled, and the pool's indices are shuffled. Only one pool has to be in memory at once, and each block is
    read from the disk in one go. If one pool holds all indices, this is a uniform shuffle. Otherwise two samples of a
    batch share a block with a probability of about 1 / `window`; in a uniform shuffle it is 1 / (number of blocks). The
    position of a sample in the epoch is independent of its index. `benchmarks/load.py` measures both.

    Shards hold multiples of 1,000 samples, so that a block of 1,000 lies within one shard. A compressed shard is
    decompressed as a whole: use one shard per block, and a `window` of shards that fit into memory, as in
    `BlockShuffle(len(data), 512, block=data.shard_size, window=6)`.

    The order depends only on `seed`, the epoch and the sizes. Use it as
    `DataLoader(data, batch_size=None, sampler=BlockShuffle(len(data), 512))`.

    Parameters
    ----------
    length
        Number of samples, `len(data)`.
    batch_size
        Indices in a batch.
    block
        Neighbours that stay in one pool.
    window
        Largest number of blocks in a pool.
    seed
        0 .. 2**63 - 1.
    drop_last
        Leave out the last batch if it is smaller than the others.

    Raises
    ------
    InputError
        A value is out of its range.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        block: int = 1000,
        window: int = 64,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        _check("length", length, 0)
        _check("batch_size", batch_size, 1)
        _check("block", block, 1)
        _check("window", window, 1)
        _check("seed", seed, 0)
        self.length, self.batch_size, self.block, self.window = length, batch_size, block, window
        self.seed, self.drop_last = seed, drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (0 .. 2**63 - 1), which determines the order.

        Raises
        ------
        InputError
            The epoch is out of its range.
        """
        _check("epoch", epoch, 0)
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.batch_size if self.drop_last else -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Yield int64 arrays (batch_size,)."""
        words = np.random.Philox(key=np.array([self.seed, self.epoch], np.uint64))
        blocks = _permutation(words, -(-self.length // self.block))
        rest = np.empty(0, np.int64)
        for part in np.array_split(blocks, max(1, -(-len(blocks) // self.window))):  # pools of about equal size
            pool = (part[:, None] * self.block + np.arange(self.block)).ravel()
            pool = pool[pool < self.length]
            pool = np.concatenate([rest, pool[_permutation(words, len(pool))]])
            whole = len(pool) // self.batch_size * self.batch_size
            yield from pool[:whole].reshape(-1, self.batch_size)
            rest = pool[whole:]
        if len(rest) and not self.drop_last:
            yield rest


def _check(name: str, value: int, least: int) -> None:
    if not least <= value < 2**63:
        raise InputError(f"{name} = {value}; should be at least {least}, and below 2**63")


def _permutation(words: np.random.Philox, count: int) -> NDArray[np.int64]:
    """The numbers below `count` in random order, from raw outputs: numpy may change its own permutations."""
    bits = np.uint64(count.bit_length())
    keys = np.sort(words.random_raw(count) >> bits << bits | np.arange(count, dtype=np.uint64))  # without ties
    return (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
