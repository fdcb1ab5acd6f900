"""Block-shuffled epochs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mnistcompose import BlockShuffle, ComposedDigits, InputError, ShardedDigits, build, load_spec

SIZES = {
    "length": st.integers(0, 3000),
    "batch_size": st.integers(1, 300),
    "block": st.integers(1, 100),
    "window": st.integers(1, 20),
    "seed": st.integers(0, 2**63 - 1),
}


@given(**SIZES)
def test_every_index_comes_once_an_epoch_in_batches_of_one_size(**sizes):
    sampler = BlockShuffle(**sizes)
    batches = list(sampler)
    assert sorted(np.concatenate([*batches, []])) == list(range(sizes["length"]))
    assert len(batches) == len(sampler)
    assert all(len(batch) == sizes["batch_size"] for batch in batches[:-1])
    dropped = BlockShuffle(**sizes, drop_last=True)
    assert [len(batch) for batch in dropped] == [sizes["batch_size"]] * len(dropped)


@given(**SIZES)
def test_no_more_than_a_pool_is_needed_at_once(**sizes):
    sampler = BlockShuffle(**sizes)
    order = np.concatenate([*sampler, np.empty(0, np.int64)]).astype(int)
    pool = sampler.window * sampler.block
    blocks = order // sampler.block
    for block in np.unique(blocks):
        places = np.flatnonzero(blocks == block)
        assert places[-1] - places[0] < pool + sampler.batch_size


def test_the_order_is_that_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = BlockShuffle(1000, 100, block=10, window=5, seed=seed)
        sampler.set_epoch(epoch)
        return np.concatenate(list(sampler)).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(0, 0)[:8] == [662, 1, 7, 666, 668, 3, 540, 4]  # on every machine


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("block", 0), ("window", -1), ("seed", -1)])
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(InputError, match=f"{name} = {value}; should be at least"):
        BlockShuffle(**{"length": 10, "batch_size": 2, name: value})


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_it_feeds_a_loader(tmp_path, compression):
    spec = load_spec("MNIST-II-05")
    build(spec, tmp_path / "x", train=2500, test=0, shard_size=1000, compression=compression)
    composed = ComposedDigits(spec, "train", length=2500)
    for data in (ShardedDigits(tmp_path / "x", "train"), composed):
        sampler = BlockShuffle(len(data), 100, block=50, window=4)
        for (images, numbers), indices in zip(DataLoader(data, batch_size=None, sampler=sampler), sampler, strict=True):
            wanted, labels = composed[indices]
            assert (images == wanted).all()
            assert (numbers == labels).all()
