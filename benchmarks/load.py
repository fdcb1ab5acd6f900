"""How fast batches of 512 come: from shards, from the kernel, and what that costs a training step.

    python benchmarks/load.py

The contestants take turns, and the median turn counts. The peers are a Dataset that opens an HDF5 file lazily and reads
one index (the usual recipe), and random rows of one array in memory. Then how well `BlockShuffle` shuffles a million
indices, and an epoch of LeNet on data in memory against one on samples made while it trains.
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from report import machine, table
from rich.console import Console
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from dcl.experiments.registry import make_network
from dcl.training.device_data import Normalisation
from dcl.training.recipe import Recipe, make_optimizer
from dcl.training.step import train_step
from mnistcompose import BlockShuffle, ComposedDigits, ShardedDigits, build, load_digits, load_spec
from mnistcompose.building.worker import compose_shard

BATCH = 512
COUNT = 60_000
Batches = Iterable[tuple[Any, Any]]


class UsualDataset(Dataset[tuple[Tensor, int]]):
    """One sample a read."""

    def __init__(self, path: Path, length: int) -> None:
        self.path, self.length = path, length
        self.file: h5py.File | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if self.file is None:
            self.file = h5py.File(self.path)
        return torch.from_numpy(self.file["images"][index]), int(self.file["labels"][index])


def whole_batches(data: Dataset[Any]) -> Batches:
    """The way that needs no collation."""
    length = len(data)  # type: ignore[arg-type]
    return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(range(length)), BATCH, False))


def blocks_of(data: ShardedDigits) -> Batches:
    return DataLoader(data, batch_size=None, sampler=BlockShuffle(len(data), BATCH))


def rows_of(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Batches:
    order = np.random.default_rng(0).permutation(len(images))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield torch.from_numpy(images[rows]), torch.from_numpy(labels[rows])


def rendered(count: int) -> Batches:
    """Pure rendering: large ranges on two threads, no batches."""
    bank, spec = load_digits("train"), load_spec("MNIST-III-10")
    with ThreadPoolExecutor(2) as pool:
        for shard in pool.map(
            lambda start: compose_shard(bank, spec, "train", 0, start, start + 5000), range(0, count, 5000)
        ):
            yield shard.images, shard.labels


def rate(batches: Batches, most: int) -> float:
    """Images a second, of some thousand."""
    begun, count = perf_counter(), 0
    for images, _ in batches:
        count += len(images)
        if count >= most:
            break
    return count / (perf_counter() - begun)


def contestants(plain: Path, packed: Path, large: Path) -> dict[str, tuple[Callable[[], Batches], int]]:
    """Each with the number of images that it is given."""
    spec = load_spec("MNIST-III-10")
    sharded, composed = ShardedDigits(plain, "train"), ComposedDigits(spec, "train", length=COUNT)
    gzipped, million = ShardedDigits(packed, "train"), ShardedDigits(large, "train")
    images, labels = (part.numpy() for part in sharded.as_tensors())
    usual = UsualDataset(plain / "train.h5", COUNT)
    return {
        "rows of an array": (lambda: rows_of(images[:, 0], labels), COUNT),
        "h5py, one index a read": (lambda: DataLoader(usual, BATCH, shuffle=True), 10 * BATCH),
        "ShardedDigits, DataLoader(shuffle=True)": (lambda: DataLoader(sharded, BATCH, shuffle=True), COUNT),
        "ShardedDigits, whole batches": (lambda: whole_batches(sharded), COUNT),
        "ShardedDigits, BlockShuffle": (lambda: blocks_of(sharded), COUNT),
        "ShardedDigits, gzip, BlockShuffle": (lambda: blocks_of(gzipped), COUNT),
        "ShardedDigits of a million, whole batches": (lambda: whole_batches(million), COUNT),
        "ShardedDigits of a million, BlockShuffle": (lambda: blocks_of(million), COUNT),
        "rendering, two threads": (lambda: rendered(4 * COUNT), 4 * COUNT),
        "ComposedDigits, whole batches": (lambda: whole_batches(composed), COUNT),
        "ComposedDigits.batches, two threads": (
            lambda: ComposedDigits(spec, "train", length=4 * COUNT).batches(BATCH, 2),
            4 * COUNT,
        ),
    }


def shuffling(order: NDArray[np.int64], block: int) -> dict[str, float]:
    """How far from a uniform shuffle an order is.

    displacement: mean way of a sample, by that of a uniform shuffle, a third of all. correlation: of place and index.
    neighbours: share of the pairs in a batch that come from the same block, in percent; worst: of the worst batch.
    """
    place = np.arange(len(order))
    rows = (order[: len(order) // BATCH * BATCH] // block).reshape(-1, BATCH)
    same = [(np.unique(row, return_counts=True)[1] ** 2).sum() - BATCH for row in rows]
    shares = 100 * np.array(same) / (BATCH * (BATCH - 1))
    return {
        "displacement": float(np.abs(order - place).mean() / (len(order) / 3)),
        "correlation": float(np.corrcoef(order, place)[0, 1]),
        "neighbours": float(shares.mean()),
        "worst": float(shares.max()),
    }


def epoch(batches: Batches, recipe: Recipe) -> float:
    """Seconds of LeNet's training steps on these batches, whatever it takes to get them."""
    torch.manual_seed(0)
    net = make_network("baseline", 10, 3).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(net, recipe)
    normalise = Normalisation((40.0,), (80.0,)).on(torch.device("cpu"))
    index = torch.arange(recipe.batch_size)
    begun = perf_counter()
    for images, targets in batches:
        train_step(net, optimizer, (images, targets), index, normalise)
    return perf_counter() - begun


def training(count: int, rounds: int) -> dict[str, list[float]]:
    recipe, spec = Recipe(lr=0.01), load_spec("MNIST-III-10")
    count = count // recipe.batch_size * recipe.batch_size
    taken: dict[str, list[float]] = {"fixed": [], "fresh": []}
    for _ in range(rounds):
        data = ComposedDigits(spec, "fit", length=count)
        images, targets = data.as_tensors("cpu")
        parts = zip(torch.split(images, recipe.batch_size), torch.split(targets, recipe.batch_size), strict=True)
        taken["fixed"].append(epoch(parts, recipe))
        taken["fresh"].append(epoch(data.batches(recipe.batch_size, 1), recipe))
    return taken


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--train/--no-train", "train", default=True, help="Also the epochs of LeNet.")
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/load.json", show_default=True)
def main(rounds: int, train: bool, out: Path) -> None:
    """Measure, print tables, and write JSON."""
    console, spec = Console(), load_spec("MNIST-III-10")
    with TemporaryDirectory() as name:
        folder = Path(name)
        build(spec, folder / "plain", train=COUNT, test=0)
        build(spec, folder / "packed", train=COUNT, test=0, compression="gzip")
        build(spec, folder / "large", train=1_000_000, test=0)
        entries = contestants(folder / "plain", folder / "packed", folder / "large")
        rates: dict[str, list[float]] = {name: [] for name in entries}
        for turn in range(rounds + 1):
            for name, (batches, most) in entries.items():
                measured = rate(batches(), most)
                rates[name] += [measured] if turn else []  # the first turn reads the files into the system's cache
    medians = {name: median(values) for name, values in rates.items()}
    usual, rows, pure = (
        medians[name] for name in ("h5py, one index a read", "rows of an array", "rendering, two threads")
    )
    lines: list[tuple[str, ...]]
    lines = [(n, f"{m:,.0f}", f"{m / usual:.0f}", f"{m / rows:.2f}", f"{m / pure:.2f}") for n, m in medians.items()]
    head: tuple[str, ...] = ("", "images/s", "by h5py", "by array", "by rendering")
    console.print(table(f"random batches of {BATCH}, MNIST-III-10", head, lines))

    length = 1_000_000
    quality = {"uniform, in blocks of 1000": shuffling(np.random.default_rng(0).permutation(length), 1000)}
    for block, window in ((250, 256), (1000, 64), (10_000, 6)):
        order = np.concatenate(list(BlockShuffle(length, BATCH, block=block, window=window)))
        quality[f"BlockShuffle, {window} blocks of {block}"] = shuffling(order, block)
    lines = [(n, *(f"{value:.4f}" for value in q.values())) for n, q in quality.items()]
    head = ("a million indices", "displacement", "correlation", "neighbours %", "worst %")
    console.print(table("quality of the shuffle", head, lines))

    result: dict[str, Any] = {"rates": rates, "medians": medians, "shuffle": quality}
    if train:
        taken = result["training"] = training(25_600, rounds)
        ratio = median(b / a for a, b in zip(taken["fixed"], taken["fresh"], strict=True))
        console.print(f"LeNet on fresh samples takes {ratio:.3f} times as long as on data in memory")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**result, "rounds": rounds, "machine": machine("torch")}, indent=1) + "\n")


if __name__ == "__main__":
    main()
