"""Block-shuffled epochs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mnistcompose import BlockShuffle, ComposedDigits, InputError, ShardedDigits, build, load_spec
from mnistcompose.datasets import sharded
from mnistcompose.storage import open_shards

SIZES = {
    "length": st.integers(0, 3000),
    "batch_size": st.integers(1, 300),
    "block": st.integers(1, 100),
    "window": st.integers(1, 20),
    "seed": st.integers(0, 2**63 - 1),
}


@settings(deadline=None)
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


@given(block=st.integers(1, 30), window=st.integers(1, 20), blocks=st.integers(1, 60))
def test_pools_differ_by_a_block_at_the_most(block, window, blocks):
    order = np.concatenate(list(BlockShuffle(blocks * block, 7, block=block, window=window))) // block
    pools = -(-blocks // window)
    sizes = [blocks // pools + (pool < blocks % pools) for pool in range(pools)]
    for part, size in zip(np.split(order, np.cumsum(sizes)[:-1] * block), sizes, strict=True):
        assert len(np.unique(part)) == size <= window


def test_the_order_is_that_of_seed_and_epoch():
    def order(seed, epoch):
        sampler = BlockShuffle(1000, 100, block=10, window=5, seed=seed)
        sampler.set_epoch(epoch)
        return np.concatenate(list(sampler)).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert order(0, 0)[:8] == [662, 1, 7, 666, 668, 3, 540, 4]  # on every machine


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("block", 0), ("window", -1), ("seed", -1), ("seed", 2**63), ("seed", 1.0), ("seed", True)],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(InputError, match=f"{name} = {value}: allowed are"):
        BlockShuffle(**{"length": 10, "batch_size": 2, name: value})


def test_an_epoch_out_of_range_is_refused():
    for change in (BlockShuffle.set_epoch, lambda sampler, epoch: sampler.load_state_dict({"seed": 0, "epoch": epoch})):
        with pytest.raises(InputError, match="epoch = -1: allowed are"):
            change(BlockShuffle(10, 2), -1)


def order_of(batches):
    return np.concatenate([np.empty(0, np.int64), *map(np.asarray, batches)]).tolist()


class Indices:
    """A dataset whose samples are their own indices."""

    def __getitem__(self, index):
        return index

    def __len__(self):
        return 230


LOADERS = {
    "no workers": {},
    "two workers": {"num_workers": 2},
    "persistent workers": {"num_workers": 2, "persistent_workers": True},
    "eager workers": {"num_workers": 1, "prefetch_factor": 30},
}


def sampler_of(**options):
    return BlockShuffle(len(Indices()), 30, block=20, window=4, seed=5, **options)


def orders(epochs):
    """The epochs' orders, as `set_epoch` gives them."""
    sampler = sampler_of()
    for epoch in epochs:
        sampler.set_epoch(epoch)
        yield order_of(sampler)


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_each_epoch_has_an_order_of_its_own_however_it_is_loaded(options):
    wanted = list(orders(range(3)))
    assert len(set(map(tuple, wanted))) == 3
    loader = DataLoader(Indices(), batch_size=None, sampler=sampler_of(), **options)
    assert [order_of(loader) for _ in range(3)] == wanted


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_set_epoch_wins(options):
    sampler = sampler_of()
    loader = DataLoader(Indices(), batch_size=None, sampler=sampler, **options)
    found = []
    for epoch in (4, 4, 0):
        sampler.set_epoch(epoch)
        found.append(order_of(loader))
    assert [*found, order_of(loader)] == list(orders([4, 4, 0, 1]))


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
def test_an_epoch_that_is_broken_off_is_over(options):
    loader = DataLoader(Indices(), batch_size=None, sampler=sampler_of(), **options)
    for _ in loader:
        break
    assert order_of(loader) == next(orders([1]))


@given(ended=st.integers(0, 3), seed=st.integers(0, 9))
def test_a_state_continues_with_the_next_epoch(ended, seed):
    sampler, resumed = BlockShuffle(100, 7, block=9, window=3, seed=seed), BlockShuffle(100, 7, block=9, window=3)
    for _ in range(ended):
        list(sampler)
    resumed.load_state_dict(sampler.state_dict())
    assert [order_of(resumed), order_of(resumed)] == [order_of(sampler), order_of(sampler)]


@pytest.mark.parametrize("options", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("stop", [0, 1, 5, 8, 9, 16])
def test_torchdata_resumes_within_an_epoch(options, stop):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")

    def batches(loader):
        while True:
            for batch in loader:
                yield batch.tolist()

    def make():
        return loaders.StatefulDataLoader(Indices(), batch_size=None, sampler=sampler_of(), **options)

    wanted = [batch for epoch in range(3) for batch in batched(next(orders([epoch])))]
    whole, resumed = make(), make()
    running = batches(whole)
    assert [next(running) for _ in range(stop)] == wanted[:stop]
    resumed.load_state_dict(whole.state_dict())
    rest = batches(resumed)
    assert [next(rest) for _ in range(len(wanted) - stop)] == wanted[stop:]


def batched(order):
    return [order[start : start + 30] for start in range(0, len(order), 30)]


def test_a_small_dataset_is_one_pool():
    order = np.concatenate(list(BlockShuffle(60_000, 512)))
    assert len(np.unique(order[:3000] // 1000)) == 60


def test_a_compressed_shard_is_read_once_an_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(sharded, "_RESIDENT", 0)
    build(load_spec("MNIST-II-05"), tmp_path / "x", train=6500, test=0, shard_size=1000, compression="gzip")
    data = ShardedDigits(tmp_path / "x", "train")
    monkeypatch.setattr(open_shards, "_DECODED", 4 * 1000 * (28 * 28 + 8 + 2))  # two pools
    read, load = [], data._shards.load
    data._shards.load = lambda number: read.append(number) or load(number)
    for indices in BlockShuffle(len(data), 100, block=data.shard_size, window=2):
        data[indices]
    assert sorted(read) == sorted({*read})
    assert len(read) == 7


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_it_feeds_a_loader(tmp_path, compression):
    spec = load_spec("MNIST-II-05")
    build(spec, tmp_path / "x", train=2500, test=0, shard_size=1000, compression=compression)
    composed = ComposedDigits(spec, "train", length=2500)
    for data in (ShardedDigits(tmp_path / "x", "train"), composed):
        sampler, same = (BlockShuffle(len(data), 100, block=50, window=4) for _ in range(2))
        for (images, numbers), indices in zip(DataLoader(data, batch_size=None, sampler=sampler), same, strict=True):
            wanted, labels = composed[indices]
            assert (images == wanted).all()
            assert (numbers == labels).all()


def test_a_block_may_be_larger_than_the_set():
    whole = [batch.tolist() for batch in BlockShuffle(10, 3, block=10)]
    assert [batch.tolist() for batch in BlockShuffle(10, 3, block=2**62)] == whole
