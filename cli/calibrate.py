"""`mnistcompose calibrate`: find the spread of a layout's fields that gives a target error."""

import json
from pathlib import Path

import click

from mnistcompose.errors import BuildError, InputError

from .grids import pool_of, reports
from .options import AS_JSON, DEVICE, EPOCHS, SEED, WORKERS, out_option, split_list
from .train import need_torch, watching


@click.command()
@click.argument("layout")
@click.option(
    "--knob",
    "fields",
    multiple=True,
    required=True,
    metavar="FIELD",
    callback=split_list,
    help="Field to scale, as in digit.rotation; repeatable, or with commas.",
)
@click.option(
    "--factors",
    multiple=True,
    default=["0.5", "1", "1.5"],
    show_default=True,
    callback=split_list,
    help="Factor of its spread; repeatable, or with commas.",
)
@click.option("--target", type=float, required=True, metavar="PERCENT", help="Target test error.")
@click.option("--model", default="baseline", show_default=True, help="Model to train: a name or a NOTATION.")
@EPOCHS
@click.option("--seed", type=SEED, default=100, show_default=True, help="Run seed.")
@click.option("--data-seed", type=SEED, default=100, show_default=True, help="Seed of the dataset.")
@WORKERS
@DEVICE
@out_option("results/calibration")
@AS_JSON
def calibrate(
    layout: str,
    fields: tuple[str, ...],
    factors: tuple[str, ...],
    target: float,
    model: str,
    epochs: int,
    seed: int,
    data_seed: int,
    workers: int,
    device: str,
    out: Path,
    as_json: bool,
) -> None:
    """Train a model on LAYOUT (a name or a file) with the spread of FIELD multiplied by each factor.

    Prints the test errors, the factor at which their interpolation meets the target, and the layout with that factor.
    Every run is stored as it ends; the same command with more factors runs only the new ones.
    """
    need_torch()
    from dcl.experiments.calibration import in_memory, interpolate, scaled, settled
    from dcl.experiments.grid import grid, run_grid
    from dcl.experiments.registry import check_model
    from dcl.experiments.run_file import FINISHED, status_of
    from mnistcompose.layout.names import load_spec

    if not 0 <= target <= 100:
        raise InputError(f"--target {target:g}: should be a test error in percent, 0 to 100")
    check_model(model)
    spec = load_spec(layout)
    try:
        values = sorted({float(factor) for factor in factors})
    except ValueError:
        raise InputError(f"--factors {','.join(factors)}: should be numbers, as in 0.5,1,1.5") from None
    datasets = [in_memory(scaled(spec, fields, factor), data_seed) for factor in values]
    runs = grid(datasets, [model], [seed], epochs=epochs, device=device)
    with watching(None) as show:
        pool = pool_of(workers)
        on_epoch, on_end = reports(runs, show, pool)
        records = run_grid(runs, out, pool=pool, on_epoch=on_epoch, on_end=on_end)
    for run, record in zip(runs, records, strict=True):
        if status_of(record) != FINISHED:
            raise BuildError(f"{out / run.file}: {record['reason']}")
    errors = [record["error_percent"] for record in records]
    found = interpolate(values, errors, target)
    if as_json:
        click.echo(json.dumps({"layout": spec.name, "factors": values, "errors": errors, "factor": found}))
        return
    for factor, error in zip(values, errors, strict=True):
        click.echo(f"{spec.name} x {factor:<6g} {error:6.2f} %")
    if found is None:
        click.echo(f"{target:g} % is not between two of these errors; give more --factors")
    else:
        click.echo(f"{target:g} % at {found:.3g}:\n\n{settled(spec, fields, float(f'{found:.3g}'))}", nl=False)
