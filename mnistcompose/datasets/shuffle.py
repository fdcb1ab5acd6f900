"""Shuffled epochs over a dataset that is larger than memory."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ..arguments import flag, whole

_MOST = 2**63 - 1


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

    Use it as `DataLoader(data, batch_size=None, sampler=BlockShuffle(len(data), 512))`. Each iteration over the loader
    is an epoch with an order of its own: the first one is epoch 0, the next one epoch 1. The order depends only on
    `seed`, the epoch and the sizes, not on the loader's workers. To resume a training, call `set_epoch` with the epoch
    to start with, or keep the `state_dict` next to the network's. torchdata's `StatefulDataLoader` also resumes within
    an epoch.

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

    Attributes
    ----------
    epoch
        The epoch of the next iteration.

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
        self.length = whole("length", length, 0, _MOST)
        self.batch_size = whole("batch_size", batch_size, 1, _MOST)
        self.block = whole("block", block, 1, _MOST)
        self.window = whole("window", window, 1, _MOST)
        self.seed = whole("seed", seed, 0, _MOST)
        self.drop_last = flag("drop_last", drop_last)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (0 .. 2**63 - 1) of the next iteration; those after it continue from there.

        Raises
        ------
        InputError
            The epoch is out of its range.
        """
        self.epoch = whole("epoch", epoch, 0, _MOST)

    def state_dict(self) -> dict[str, int]:
        """Return what the orders of all further epochs follow from."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue with the seed and the epoch of a `state_dict`.

        Raises
        ------
        InputError
            A value is out of its range.
        """
        self.seed, self.epoch = (whole(name, state[name], 0, _MOST) for name in ("seed", "epoch"))

    def __len__(self) -> int:
        return self.length // self.batch_size if self.drop_last else -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        """Iterate over int64 arrays (batch_size,), the batches of the next epoch."""
        return _Epoch(self)

    def _order(self, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the batches of an epoch, int64 (batch_size,)."""
        words = np.random.Philox(key=np.array([self.seed, epoch], np.uint64))
        blocks = _permutation(words, -(-self.length // self.block))
        rest = np.empty(0, np.int64)
        for part in np.array_split(blocks, max(1, -(-len(blocks) // self.window))):  # pools of about equal size
            pool = (part[:, None] * self.block + np.arange(min(self.block, self.length))).ravel()
            pool = pool[pool < self.length]
            pool = np.concatenate([rest, pool[_permutation(words, len(pool))]])
            full = len(pool) // self.batch_size * self.batch_size
            yield from pool[:full].reshape(-1, self.batch_size)
            rest = pool[full:]
        if len(rest) and not self.drop_last:
            yield rest


class _Epoch(Iterator[NDArray[np.int64]]):
    """The batches of one epoch, with a state that torchdata's `StatefulDataLoader` keeps.

    The sampler's epoch is taken at the first batch: a DataLoader with workers makes iterators that it never uses.
    """

    def __init__(self, sampler: BlockShuffle) -> None:
        self._sampler = sampler
        self._epoch: int | None = None
        self._given = 0

    def _start(self, epoch: int, given: int) -> None:
        self._epoch, self._given = epoch, given
        self._batches = islice(self._sampler._order(epoch), given, None)

    def __next__(self) -> NDArray[np.int64]:
        if self._epoch is None:
            self._start(self._sampler.epoch, 0)
            self._sampler.epoch += 1
        batch = next(self._batches)
        self._given += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "batches": self._given}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["epoch"] is not None:
            self._start(state["epoch"], state["batches"])


def _permutation(words: np.random.Philox, count: int) -> NDArray[np.int64]:
    """The numbers below `count` in random order, from raw outputs: numpy may change its own permutations."""
    bits = np.uint64(count.bit_length())
    keys = np.sort(words.random_raw(count) >> bits << bits | np.arange(count, dtype=np.uint64))  # without ties
    return (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
