"""Shuffled epochs, also over a dataset that is larger than memory."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from .errors import InputError


class BlockShuffle(Sampler[NDArray[np.int64]]):
    """Batches of indices in an order that reads neighbours together and still mixes well.

    The indices are cut into blocks of neighbours, and the blocks are put in random order. `window` of them at a time
    are pooled, and the pool's indices shuffled: no more than a pool has to be in memory at once, and each block is read
    from the disk in one go. Where one pool holds all, this is a uniform shuffle. Else samples that share a block share
    a pool, too, so that a batch holds more neighbours than by chance; `benchmarks/load.py` measures how many.

    The order depends on `seed`, the epoch and the sizes alone. Use it as
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
        Blocks in a pool.
    seed
        0 .. 2**63 - 1.
    drop_last
        Leave out a last batch that is smaller than the others.

    Raises
    ------
    InputError
        A value is out of its range.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        block: int = 256,
        window: int = 256,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        for name, value, least in (
            ("length", length, 0),
            ("batch_size", batch_size, 1),
            ("block", block, 1),
            ("window", window, 1),
            ("seed", seed, 0),
        ):
            if value < least or value >= 2**63:
                raise InputError(f"{name} = {value}; should be at least {least}, and below 2**63")
        self.length, self.batch_size, self.block, self.window = length, batch_size, block, window
        self.seed, self.drop_last = seed, drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose another order, the same for the same number."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.batch_size if self.drop_last else -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Yield int64 arrays (batch_size,)."""
        words = np.random.Philox(key=np.array([self.seed, self.epoch], np.uint64))
        blocks = np.argsort(words.random_raw(-(-self.length // self.block)))
        rest = np.empty(0, np.int64)
        for first in range(0, len(blocks), self.window):
            starts = blocks[first : first + self.window] * self.block
            pool = (starts[:, None] + np.arange(self.block)).ravel()
            pool = pool[pool < self.length]
            pool = np.concatenate([rest, pool[np.argsort(words.random_raw(len(pool)))]])
            whole = len(pool) // self.batch_size * self.batch_size
            yield from pool[:whole].reshape(-1, self.batch_size)
            rest = pool[whole:]
        if len(rest) and not self.drop_last:
            yield rest
