"""`mnistcompose compare`: a grid of runs, side by side."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnistcompose.errors import InputError

from .grids import pool_of, print_data, reports
from .options import complete_layouts, grid_options, models_option, split_list
from .shared import cluster_options, fitted, on_cluster, print_table
from .train import building, need_torch, recipe_of, training_options, watching

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from dcl.reporting.table import Row


def _amounts(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Parse values of the form NAME=N."""
    try:
        return {
            name: float(amount) for name, amount in (value.split("=") for value in split_list(context, option, values))
        }
    except ValueError:
        raise click.BadParameter(f"{' '.join(values)!r} should be a name and a number, as in GPU=1") from None


@click.command()
@click.argument("datasets", nargs=-1, shell_complete=complete_layouts)
@click.option("--all", "every", is_flag=True, help="All bundled datasets.")
@models_option(
    "baseline",
    "A3S",
    "oracle",
    help="Models, separated by commas or in repeated options: baseline, A2, ... oracle, or NOTATIONs.",
)
@grid_options("results/compare")
@cluster_options
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="NAME=N",
    callback=_amounts,
    help="Dask resource that a run takes on its worker, as in GPU=1; repeatable.",
)
@training_options
def compare(
    datasets: tuple[str, ...],
    every: bool,
    models: tuple[str, ...],
    seeds: int,
    first_seed: int,
    out: Path,
    keep: bool,
    workers: int,
    scheduler: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    resources: dict[str, float],
    epochs: int,
    device: str,
    bfloat16: bool,
    validate: bool,
    data_seed: int | None,
    progress: bool | None,
    style: str | None,
    **recipe: Any,
) -> None:
    """Train models on DATASETS (names, folders or layout files) and print them side by side, as the paper's Table 1.

    Every run is stored in the folder --out as it ends; the same command, or a larger grid, does only the missing runs.
    Without DATASETS, the table of the stored runs is printed. With --scheduler, a Dask cluster does the runs: its
    workers need access to the same folders, and each does one run at a time.
    """
    need_torch()
    from dcl.data.numbers import open_dataset
    from dcl.experiments.grid import grid, run_grid
    from dcl.experiments.registry import check_model
    from dcl.experiments.run_file import read_records
    from dcl.reporting.table import summarise
    from mnistcompose.layout.names import spec_names

    if datasets and every:
        raise click.UsageError("give either datasets or --all")
    if scheduler and workers > 1:
        raise click.UsageError("give either --workers or --scheduler")
    for name in models:
        check_model(name)
    how = recipe_of(recipe)
    if datasets or every:
        opened = [
            open_dataset(name, seed=data_seed, validation=validate, building=building)
            for name in (spec_names() if every else datasets)
        ]
        runs = grid(
            [data for i, data in enumerate(opened) if data.identity() not in [each.identity() for each in opened[:i]]],
            models,
            range(first_seed, first_seed + seeds),
            epochs=epochs,
            recipe=how,
            precision="bfloat16" if bfloat16 else "float32",
            device=device,
        )
        with (
            watching(progress) as show,
            on_cluster(scheduler, tls_ca, tls_cert, tls_key, resources) as (distant, _),
        ):
            pool = pool_of(workers) if distant is None else partial(_borrowed, distant)
            on_epoch, on_end = reports(runs, show, pool)
            records = run_grid(runs, out.absolute(), keep=keep, pool=pool, on_epoch=on_epoch, on_end=on_end)
    else:
        records = list(read_records(out).values())
        if not records:
            raise InputError(f"{out}: holds no runs; give the datasets to run, or another --out")
    _print(summarise(records), style)


def _borrowed(executor: "Executor") -> AbstractContextManager["Executor"]:
    return nullcontext(executor)


def _print(rows: "list[Row]", style: str | None) -> None:
    from dcl.reporting.table import COLUMNS, as_markdown, paper_note

    if print_data(rows, style):
        return
    about_paper = paper_note(rows)
    if style == "markdown":
        click.echo(as_markdown(rows) + (f"\n\n{about_paper}" if about_paper else ""))
        return
    print_table(list(COLUMNS), [[show(row) for show in COLUMNS.values()] for row in rows], texts=2, needed=5)
    if any(row.difference is not None for row in rows):
        click.echo(fitted(NOTE))
    if about_paper:
        click.echo(fitted(about_paper))


NOTE = (
    "Error with its standard deviation over run seeds: 9.14(07) is 9.14 with 0.07. Difference to the baseline in "
    "percentage points with its 95 % confidence interval, paired over test images and run seeds; with a single seed "
    "it covers the choice of test images only."
)
