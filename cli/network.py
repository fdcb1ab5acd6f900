"""`mnistcompose network`: what a network is made of, and what it costs."""

import json

import click


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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def network(notation: str, shape: tuple[int, int, int] | None, classes: int, as_json: bool) -> None:
    """Print the layers, shapes, parameters and multiply-adds of a network.

    It is written in the paper's notation, as in C5@20-MP2S2-FC500[3x100S]-D0.5-OUT, or is the name of one of
    LeNet's variants: baseline, A2, A3S, A3D, B2, B3S, B3D, or of a network for natural images: lenet32, bignet or
    alexnet, with DCL lenet32-dcl, bignet-dcl or alexnet-dcl.
    """
    from dataclasses import asdict

    from dcl.networks import VARIANTS, lenet_notation, natural_notation
    from dcl.notation import Cost, plan_network

    text, own = notation, (1, 28, 28)
    if notation in VARIANTS:
        text = lenet_notation(classes, notation)
    elif not notation.startswith(("C", "MP", "FC", "D", "OUT")):
        text, own = natural_notation(notation)
    written, costs = plan_network(text, shape or own, classes)
    total = Cost(
        "total",
        costs[-1].shape,
        sum(cost.weights for cost in costs),
        sum(cost.biases for cost in costs),
        sum(cost.multiply_adds for cost in costs),
    )
    if as_json:
        layers = [asdict(cost) for cost in costs]
        click.echo(json.dumps({"notation": written, "layers": layers, "total": asdict(total)}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", "output", "weights", "biases", "multiply-adds", title=written, title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    for cost in (*costs, total):
        if cost is total:
            table.add_section()
        numbers = (f"{n:,}" if n else "" for n in (cost.weights, cost.biases, cost.multiply_adds))
        table.add_row(cost.layer, "x".join(map(str, cost.shape)), *numbers)
    Console(markup=False, highlight=False).print(table)
