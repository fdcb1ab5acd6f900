"""`mnistcompose network`: what a network is made of, and what it costs."""

import json
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from rich.table import Table

    from dcl.notation import Cost


def _shape(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[int, int, int] | None:
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise click.BadParameter(f"{value!r}: should be channels x height x width, as in 1x28x28")
    channels, height, width = map(int, parts)
    return channels, height, width


@click.command()
@click.argument("notation", metavar="NOTATION|MODEL")
@click.option("--input", "shape", callback=_shape, help="Of one image.  [default: 1x28x28, or the network's own]")
@click.option("--classes", default=1000, show_default=True, help="Filters of the output layer.")
@click.option("--against", metavar="NOTATION|MODEL", help="Compare with this network: cost, and measured time.")
@click.option("--batch", type=click.IntRange(1), default=128, show_default=True, help="Images, where time is measured.")
@click.option("--device", default="auto", show_default=True, help="Where time is measured: auto, cpu, cuda, mps.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def network(
    notation: str,
    shape: tuple[int, int, int] | None,
    classes: int,
    against: str | None,
    batch: int,
    device: str,
    as_json: bool,
) -> None:
    """Print the layers, shapes, parameters and multiply-adds of a network.

    It is written in the paper's notation, as in C5@20-MP2S2-FC500[3x100S]-D0.5-OUT, or is the name of one of
    LeNet's variants: baseline, A2, A3S, A3D, B2, B3S, B3D, or of a network for natural images: lenet32, bignet or
    alexnet, with DCL lenet32-dcl, bignet-dcl or alexnet-dcl.
    """
    one = _plan(notation, shape, classes)
    if against is None:
        click.echo(_as_json(one)) if as_json else _print_layers(one)
    else:
        _print_comparison(
            {notation: one, against: _plan(against, shape or one.input_shape, classes)}, batch, device, as_json
        )


class _Plan(NamedTuple):
    """A network in the notation, and what it costs."""

    notation: str
    input_shape: tuple[int, int, int]
    layers: "tuple[Cost, ...]"
    total: "Cost"


def _plan(notation: str, shape: tuple[int, int, int] | None, classes: int) -> _Plan:
    from dcl.networks import VARIANTS, lenet_notation, natural_notation
    from dcl.notation import Cost, plan_network

    text, own = notation, (1, 28, 28)
    if notation in VARIANTS:
        text = lenet_notation(classes, notation)
    elif not notation.startswith(("C", "MP", "FC", "D", "OUT")):
        text, own = natural_notation(notation)
    written, costs = plan_network(text, shape or own, classes)
    sums = (sum(getattr(cost, name) for cost in costs) for name in ("weights", "biases", "multiply_adds"))
    return _Plan(written, shape or own, costs, Cost("total", costs[-1].shape, *sums))


def _as_json(plan: _Plan) -> str:
    from dataclasses import asdict

    layers = [asdict(cost) for cost in plan.layers]
    return json.dumps({"notation": plan.notation, "layers": layers, "total": asdict(plan.total)}, indent=1)


def _print_layers(plan: _Plan) -> None:
    from rich.table import Table

    table = Table("layer", "output", "weights", "biases", "multiply-adds", title=plan.notation, title_justify="left")
    for cost in (*plan.layers, plan.total):
        if cost is plan.total:
            table.add_section()
        numbers = (f"{n:,}" if n else "" for n in (cost.weights, cost.biases, cost.multiply_adds))
        table.add_row(cost.layer, "x".join(map(str, cost.shape)), *numbers)
    _show(table, 2)


def _print_comparison(named: dict[str, _Plan], batch: int, device: str, as_json: bool) -> None:
    """Cost and time of two networks, taken in turns."""
    from rich.table import Table

    from dcl.costs import measure
    from dcl.notation import parse_network
    from dcl.training import resolve_device

    plans = list(named.values())
    if len(plans) == 1:
        raise click.UsageError("--against should be another network")
    place, shape = resolve_device(device), plans[0].input_shape
    nets = [parse_network(plan.notation, shape, plan.total.shape[0]) for plan in plans]
    times = measure(nets, (batch, *shape), place, rounds=7, repeats=1, inner=False)
    rows: dict[str, list[float]] = {
        "weights": [plan.total.weights for plan in plans],
        "biases": [plan.total.biases for plan in plans],
        "multiply_adds": [plan.total.multiply_adds for plan in plans],
        "forward_ms": [each.forward for each in times],
        "training_ms": [each.training for each in times],
    }
    if as_json:
        networks = [
            {"notation": plan.notation, **{name: values[index] for name, values in rows.items()}}
            for index, plan in enumerate(plans)
        ]
        click.echo(json.dumps({"networks": networks, "batch": batch, "device": str(place)}, indent=1))
        return
    table = Table("", *named, "ratio", title=f"batch {batch}, {place}")
    for name, (one, two) in rows.items():
        shown = (f"{value:,}" if isinstance(value, int) else f"{value:.2f}" for value in (one, two))
        table.add_row(name.replace("_", " "), *shown, f"{one / two:.3f}")
    _show(table, 1)


def _show(table: "Table", texts: int) -> None:
    from rich.console import Console

    for column in table.columns[texts:]:
        column.justify = "right"
    Console(markup=False, highlight=False).print(table)
