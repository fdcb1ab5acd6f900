"""Where an epoch of `dcl.fit` goes, and how much of the processor's arithmetic it uses.

    python benchmarks/profile_training.py

Times every torch operation of some hundred steps with torch's profiler, and sums them up by kind; `python` is what no
operation accounts for. Then the same steps without the profiler, against the largest rate of float32 operations that
any library at hand reaches: torch's product of two large matrices (MKL in its x86 wheels, which is slow on AMD
processors), numpy's (OpenBLAS), and torch's convolution (oneDNN). Forward and backward together are three times the
network's multiply-adds. Rates and peaks are measured in turns; the share is that of the best turn of each.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from timeit import timeit
from typing import Any

import click
import torch
from report import machine
from rich.console import Console
from rich.table import Table
from torch.nn.functional import conv2d
from torch.profiler import ProfilerActivity, profile

from dcl.experiments.registry import make_network
from dcl.models.builder import plan_network
from dcl.models.networks import VARIANTS, lenet_notation
from dcl.training.loop import fit
from dcl.training.recipe import Recipe
from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.layout.names import load_spec

KINDS = {
    "convolution": r"convolution",
    "matrix product": r"aten::(addmm|mm|bmm|linear|baddbmm)$",
    "pooling": r"pool",
    "activation": r"relu|threshold|clamp_min",
    "loss": r"softmax|nll_loss",
    "optimiser": r"_foreach|SGD|zero_grad|Optimizer",
    "dropout": r"bernoulli|dropout",
    "batch": r"index_select|randperm|aten::(sub|div)(_)?$",
}

FILTERS = torch.rand(128, 128, 3, 3)


def kind_of(name: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name)), "other operations")


def peaks(tries: int = 5) -> dict[str, float]:
    """Float32 operations a second, the best of some tries, of each library at hand."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    images, weights = (each.to(memory_format=torch.channels_last) for each in (torch.rand(64, 128, 30, 30), FILTERS))
    works: dict[str, tuple[Callable[[], object], int]] = {
        "torch, product": (lambda: a @ b, 2 * 2048**3),
        "numpy, product": (lambda: a.numpy() @ b.numpy(), 2 * 2048**3),
        "torch, convolution": (lambda: conv2d(images, weights), 2 * 64 * 28**2 * FILTERS.numel()),
    }
    return {
        name: max(operations / timeit(work, number=1) for _ in range(tries))
        for name, (work, operations) in works.items()
    }


def shares(model: str, train: tuple[torch.Tensor, torch.Tensor], recipe: Recipe) -> dict[str, float]:
    """Seconds of each kind of operation in an epoch."""
    few = train[0][:500], train[1][:500]
    net = make_network(model, 10, 3)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        elapsed = fit(net, train, few, epochs=1, device="cpu", recipe=recipe).seconds[0]
    spent: dict[str, float] = {}
    for event in profiler.key_averages():
        kind = kind_of(event.key)
        spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total / 1e6
    return {**spent, "python": max(0.0, elapsed - sum(spent.values()))}


@click.command()
@click.option("--models", default="baseline,A2,A3S,B2", show_default=True)
@click.option("--images", default=25_600, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/profile.json", show_default=True)
def main(models: str, images: int, rounds: int, out: Path) -> None:
    """Measure, print a table, and write JSON."""
    train = ComposedDigits(load_spec("MNIST-III-10"), "fit", length=images).as_tensors("cpu")
    recipe = Recipe(lr=0.01)
    few, names = (train[0][:500], train[1][:500]), models.split(",")
    rates: dict[str, list[float]] = {model: [] for model in names}
    reached: list[dict[str, float]] = []
    for _ in range(rounds):
        reached.append(peaks())
        for model in names:  # in turns, so that a busy moment hits all alike
            run = fit(make_network(model, 10, 3), train, few, epochs=1, device="cpu", recipe=recipe)
            rates[model] += run.images_per_second
    best = {name: max(one[name] for one in reached) for name in reached[0]}
    result: dict[str, Any] = {}
    for model in names:
        rate = median(rates[model])
        notation = lenet_notation(1000, model) if model in VARIANTS else model
        multiply_adds = sum(layer.multiply_adds for layer in plan_network(notation, (1, 28, 28), 1000)[1])
        result[model] = {
            "images_per_second": rate,
            "of_peak": 3 * 2 * multiply_adds * max(rates[model]) / max(best.values()),
            "seconds": shares(model, train, recipe),
        }
    kinds = sorted(
        {kind for r in result.values() for kind in r["seconds"]},
        key=lambda k: -result[next(iter(result))]["seconds"].get(k, 0),
    )
    told = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in best.items())
    table = Table("share of an epoch", *result, title=f"GFLOP/s of {torch.get_num_threads()} threads: {told}")
    for kind in kinds:
        table.add_row(kind, *(f"{r['seconds'].get(kind, 0) / sum(r['seconds'].values()):.1%}" for r in result.values()))
    table.add_section()
    table.add_row("images a second", *(f"{r['images_per_second']:,.0f}" for r in result.values()))
    table.add_row("of the peak", *(f"{r['of_peak']:.2f}" for r in result.values()))
    for column in table.columns[1:]:
        column.justify = "right"
    Console().print(table)
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "images": images,
        "rounds": rounds,
        "peak": max(best.values()),
        "peaks": best,
        "models": result,
        "machine": machine("torch"),
    }
    out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
