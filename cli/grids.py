"""What the commands that do a grid of runs have in common: a pool, progress, and the rows as data."""

from functools import partial
from typing import TYPE_CHECKING

import click

from .train import Epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcl.experiments.grid import Pool
    from dcl.experiments.run import Run
    from dcl.experiments.run_file import Record
    from dcl.reporting.table import Row
    from dcl.training.history import History


def pool_of(workers: int) -> "Pool | None":
    """Pool of this many processes; None, for this process, if it is one."""
    from dcl.experiments.grid import process_pool

    return partial(process_pool, workers) if workers > 1 else None


def reports(
    runs: "Sequence[Run]", show: Epoch, pool: "Pool | None"
) -> "tuple[Callable[[Run, History], None], Callable[[Run, Record], None]]":
    """Return what `run_grid` calls after each epoch and each run: `show`, with the run's place in the grid."""
    from dcl.experiments.run_file import FINISHED, status_of
    from dcl.training.history import History

    labels = {run.file: f"{i}/{len(runs)} {run.dataset.name} {run.model} {run.seed}" for i, run in enumerate(runs, 1)}

    def on_epoch(run: "Run", history: "History") -> None:
        show(labels[run.file], run.epochs, history)

    def on_end(run: "Run", record: "Record") -> None:
        if pool and status_of(record) == FINISHED:  # another process reports no epochs
            on_epoch(run, History.from_dict(record["history"]))

    return on_epoch, on_end


def print_data(rows: "Sequence[Row]", style: str | None) -> bool:
    """Print rows as JSON or CSV; return whether `style` is one of these."""
    from dcl.reporting.table import as_csv, as_json

    if style not in {"json", "csv"}:
        return False
    click.echo(as_json(rows) if style == "json" else as_csv(rows))
    return True
