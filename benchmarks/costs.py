"""Where DCL stops paying (section 3.4): weights, multiply-adds and milliseconds of a layer and of DCL in its place.

    python benchmarks/costs.py                     # three layers, T of 2 to 4, five sums of filters: minutes
    python benchmarks/costs.py --layers 'FC500 800'  # one layer: what it is, and its input's shape

By the paper's inequality DCL has fewer weights, and as many times fewer multiply-adds, as long as the branches have
fewer filters together than u^2 K1 K2 / (u^2 K1 + K2). A row is a T and a sum of filters, as a share of that bound;
at a share of 1 the weights are equal, and what time says there is the price of the module's form. With two branches and
room for it, bilinear fusion of the same branches (section 3.3) is measured, too. All stand before the same small OUT,
which counts in the times alone. To be run on a quiet machine.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from report import machine, table
from rich.console import Console

from dcl.models.builder import Cost, parse_network, plan_network
from dcl.models.costs import Timing, bilinear_counterpart, break_even, measure, total
from dcl.models.grammar import parse_layers
from dcl.training.device_data import resolve_device
from mnistcompose.storage.files import write_file

LAYERS = ("FC500 800x1x1", "FC4096 256x6x6", "C5(P2)@128 64x16x16")
CLASSES = 10  # of the OUT after the layer, which every contestant has
BILINEAR_LIMIT = 200_000_000  # parameters


def contestants(layer: str, shape: tuple[int, int, int], shares: list[float]) -> dict[str, dict[str, Any]]:
    """The layer, and DCL in its place; each alone before one and the same OUT."""
    (read,) = parse_layers(layer)
    fan_in = read.kernel**2 * shape[0] if read.kind == "C" else shape[0] * shape[1] * shape[2]
    bound = break_even(fan_in, read.filters)
    made: dict[str, dict[str, Any]] = {layer: {"notation": f"{layer}-OUT"}}
    for branches in (2, 3, 4):
        for share in shares:
            filters = max(1, round(share * bound / branches))
            text = f"{layer}[{branches}x{filters}]-OUT"
            about = {"branches": branches, "filters": filters, "share": share}
            made[f"T = {branches}, M = {filters}"] = {"notation": text, **about}
            fused = bilinear_counterpart(text)
            if fused is not None and total(plan_network(fused, shape, CLASSES)[1]).weights <= BILINEAR_LIMIT:
                made[f"bilinear, M = {filters}"] = {"notation": fused, **about}
    return made


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the rounds' ratios: what slows a whole round cancels."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def row(about: dict[str, Any], cost: Cost, timing: Timing, original: tuple[Cost, Timing]) -> dict[str, Any]:
    """One contestant against the layer; weights and multiply-adds without the common OUT."""
    return {
        **about,
        "weights": cost.weights,
        "multiply_adds": cost.multiply_adds,
        "forward_ms": timing.forward,
        "step_ms": timing.step,
        "weights_ratio": cost.weights / original[0].weights,
        "multiply_adds_ratio": cost.multiply_adds / original[0].multiply_adds,
        "forward_ratio": ratio(timing.forward, original[1].forward),
        "step_ratio": ratio(timing.step, original[1].step),
    }


def compare(layer: str, shape: tuple[int, int, int], shares: list[float], **settings: Any) -> dict[str, dict[str, Any]]:
    every = contestants(layer, shape, shares)
    plans = {name: plan_network(about["notation"], shape, CLASSES)[1] for name, about in every.items()}
    torch.manual_seed(0)
    nets = {name: parse_network(about["notation"], shape, CLASSES) for name, about in every.items()}
    timings = measure(nets, shape, CLASSES, **settings)
    original = plans[layer][0], timings[layer]
    return {name: row(about, plans[name][0], timings[name], original) for name, about in every.items()}


@click.command()
@click.option("--layers", default=LAYERS, multiple=True, help="LAYER CxHxW; repeatable.")
@click.option("--shares", default="0.25,0.5,0.75,1,1.25", show_default=True, help="Of the bound, comma-separated.")
@click.option("--batch", default=128, show_default=True)
@click.option("--rounds", default=15, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/costs.json", show_default=True)
def main(layers: tuple[str, ...], shares: str, batch: int, rounds: int, device: str, out: Path) -> None:
    """Measure DCL against the layer it replaces, in turns, and write every round's milliseconds."""
    place = resolve_device(device)
    results: dict[str, Any] = {}
    for given in layers:
        layer, _, text = given.partition(" ")
        sides = [int(side) for side in text.split("x") if side.isdecimal()]
        if not 1 <= len(sides) <= 3:
            raise click.BadParameter(
                f"--layers {given!r}: should be a layer and its input, as in 'C5(P2)@128 64x16x16'"
            )
        channels, height, width = [*sides, 1, 1][:3]
        rows = compare(
            layer,
            (channels, height, width),
            [float(s) for s in shares.split(",")],
            batch=batch,
            rounds=rounds,
            device=place,
        )
        results[given] = rows
        columns = ("weights", "multiply_adds", "forward", "step")
        lines = [[name, *(f"{r[f'{column}_ratio']:.2f}" for column in columns)] for name, r in rows.items()]
        head = ("of the layer = 1", "weights", "multiply-adds", "forward", "training step")
        Console(markup=False, highlight=False).print(table(f"{given}, batches of {batch} on {place}", head, lines))
    report = {"benchmark": "costs", "batch": batch, "rounds": rounds, "device": str(place), "layers": results}
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {**report, "threads": torch.get_num_threads(), "machine": machine("torch")}
    write_file(out, json.dumps(about, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
