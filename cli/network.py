"""`mnistcompose network`: what a network is made of, and what it costs."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mnistcompose.errors import InputError

from .options import AS_JSON, split_list
from .train import need_torch

if TYPE_CHECKING:
    from dcl.models.builder import Cost

Shape = tuple[int, int, int]


def _shape(_context: click.Context, _option: click.Parameter, value: str | None) -> Shape | None:
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise click.BadParameter(f"{value!r}: should be channels x height x width, as in 1x28x28")
    channels, height, width = map(int, parts)
    return channels, height, width


@click.command()
@click.argument("notation", metavar="NOTATION|MODEL")
@click.option(
    "--against",
    metavar="NOTATION|MODEL",
    multiple=True,
    callback=split_list,
    help="Compare parameters, multiply-adds and measured time with this network's; repeatable, or with commas.",
)
@click.option("--input", "shape", callback=_shape, help="Shape of one image. Default: the model's, or 1x28x28.")
@click.option("--classes", type=int, help="Filters of the output layer. Default: the model's, or 1000.")
@click.option("--batch", type=click.IntRange(2), default=128, show_default=True, help="Images in a measured batch.")
@click.option(
    "--rounds", type=click.IntRange(1), default=5, show_default=True, help="Number of rounds; prints their medians."
)
@click.option("--device", default="auto", show_default=True, help="Device on which time is measured.")
@AS_JSON
def network(
    notation: str,
    against: tuple[str, ...],
    shape: Shape | None,
    classes: int | None,
    batch: int,
    rounds: int,
    device: str,
    as_json: bool,
) -> None:
    """Print the layers, shapes, parameters and multiply-adds of a network.

    The network is given in the paper's notation, as in C5@20-MP2S2-FC500[3x100S]-D0.5-OUT, or by name: a variant of
    LeNet for numbers (baseline, A2, A3S, A3D, B2, B3S, B3D), or a network for images (lenet, bignet, wrn, alexnet, and
    each with DCL, as in bignet+dcl, or bignet+dcl3s with three stochastic branches).

    --against measures networks side by side. A network with DCL of two branches is followed by its counterpart with
    bilinear fusion (section 3.3 of the paper).
    """
    need_torch()
    from dcl.models.builder import plan_network

    shape, classes = _made_for(notation, shape, classes)
    texts = [_text(name, classes, shape) for name in (notation, *against)]
    plans = [plan_network(text, shape, classes) for text in texts]
    if against:
        _compare(dict(zip((notation, *against), plans, strict=True)), shape, classes, batch, rounds, device, as_json)
    else:
        _print_layers(*plans[0], as_json)


def _made_for(name: str, shape: Shape | None, classes: int | None) -> tuple[Shape, int]:
    """Return input shape and number of classes: as given, else those of the named network."""
    from dcl.models.networks import IMAGE_NETWORKS, image_network_shape

    usual = image_network_shape(name) if name in IMAGE_NETWORKS else ((1, 28, 28), 1000)
    return shape or usual[0], usual[1] if classes is None else classes


def _text(name: str, classes: int, shape: Shape) -> str:
    """Return the notation of a network that is given by name or in the notation."""
    from dcl.experiments.registry import check_model
    from dcl.models.networks import IMAGE_NETWORKS, VARIANTS, image_network_notation, lenet_notation

    if name in IMAGE_NETWORKS:
        return image_network_notation(name, classes, shape)
    if name in VARIANTS:
        return lenet_notation(classes, name)
    if name == "oracle":
        raise InputError("network 'oracle': is one baseline per digit; ask for baseline and the classes of one digit")
    check_model(name)
    return name


def _print_layers(written: str, costs: "tuple[Cost, ...]", as_json: bool) -> None:
    from dcl.models.costs import total

    if as_json:
        layers = [asdict(cost) for cost in costs]
        click.echo(json.dumps({"notation": written, "layers": layers, "total": asdict(total(costs))}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("layer", "output", "weights", "biases", "multiply-adds", title=written, title_justify="left")
    for column in table.columns[2:]:
        column.justify = "right"
    for cost in (*costs, total(costs)):
        if cost.layer == "total":
            table.add_section()
        numbers = (f"{n:,}" if n else "" for n in (cost.weights, cost.biases, cost.multiply_adds))
        table.add_row(cost.layer, "x".join(map(str, cost.shape)), *numbers)
    Console(markup=False, highlight=False).print(table)


def _compare(
    plans: "dict[str, tuple[str, tuple[Cost, ...]]]",
    shape: Shape,
    classes: int,
    batch: int,
    rounds: int,
    device: str,
    as_json: bool,
) -> None:
    import torch

    from dcl.models.builder import MAX_PARAMETERS, parse_network, plan_network
    from dcl.models.costs import bilinear_counterpart, measure, total
    from dcl.training.device_data import resolve_device

    place = resolve_device(device)
    every: dict[str, tuple[str, tuple[Cost, ...]]] = {}
    for name, (written, costs) in plans.items():
        every[name] = written, costs
        fused = bilinear_counterpart(written)
        if fused is not None:
            every[f"{name}, bilinear"] = plan_network(fused, shape, classes)
    for name, (_, costs) in every.items():
        if len(costs[-1].shape) > 1:
            raise InputError(f"network {name!r}: its output is no vector; to be trained, it should end in OUT or FC")
    outputs = {costs[-1].shape[0] for _, costs in every.values()}
    if len(outputs) > 1:
        raise InputError(
            f"networks with {' and '.join(map(str, sorted(outputs)))} outputs; should have the same number"
        )
    sums = {name: total(costs) for name, (_, costs) in every.items()}
    parameters = {name: cost.weights + cost.biases for name, cost in sums.items()}
    small = {name: text for name, (text, _) in every.items() if parameters[name] <= MAX_PARAMETERS}
    torch.manual_seed(0)
    nets = {name: parse_network(text, shape, classes) for name, text in small.items()}
    timings = measure(nets, shape, outputs.pop(), batch=batch, rounds=rounds, device=place)
    rows: list[dict[str, Any]] = []
    for name, (written, _) in every.items():
        timing = timings.get(name)
        rows.append(
            {
                "network": name,
                "notation": written,
                "parameters": parameters[name],
                "multiply_adds": sums[name].multiply_adds,
                "forward_ms": timing and timing.medians[0],
                "step_ms": timing and timing.medians[1],
            }
        )
    if as_json:
        settings = {"input": shape, "classes": classes, "batch": batch, "rounds": rounds, "device": str(place)}
        click.echo(json.dumps({**settings, "networks": rows}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("network", "parameters", "multiply-adds", "forward ms", "training step ms")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        times = ("not made" if row[key] is None else f"{row[key]:.2f}" for key in ("forward_ms", "step_ms"))
        table.add_row(row["network"], f"{row['parameters']:,}", f"{row['multiply_adds']:,}", *times)
    console = Console(markup=False, highlight=False)
    console.print(table)
    click.echo(f"Batches of {batch} on {place}; medians of {rounds} rounds, in which the networks take turns.")
    if len(small) < len(every):
        click.echo(f"Networks of more than {MAX_PARAMETERS:,} parameters are counted, but not made.")
