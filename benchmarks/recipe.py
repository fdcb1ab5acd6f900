"""The study behind `dcl.training.recipe.DEFAULT_RECIPE`: the baseline LeNet over a grid of recipes.

    python benchmarks/recipe.py MNIST-III-10 --batch-size 32,64,128 --lr 0.02,0.04,0.08 --epochs 20
    python benchmarks/recipe.py --table        # what is there so far, best first

Trains on the split `fit` and judges on `validation`, whose digits are disjoint and both MNIST's training digits: the
test set is never touched. Each run is stored as it ends; the same command again does what is missing.
"""

from concurrent.futures import as_completed
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import click

from dcl.data.numbers import open_dataset
from dcl.experiments.grid import process_pool
from dcl.experiments.run import Run, run_one
from dcl.experiments.run_file import Record, read_records
from dcl.training.recipe import DEFAULT_RECIPE, Recipe, Schedule


class Several(click.ParamType[list[Any]]):
    """A comma-separated list."""

    def __init__(self, kind: type) -> None:
        self.kind, self.name = kind, f"{kind.__name__},..."

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        """Split, and convert each part."""
        try:
            return [self.kind(part) for part in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r}: should be a comma-separated list of {self.kind.__name__}", param, ctx)


def file_of(run: Run) -> str:
    """Name of a run's file: the dataset's folder, then what varies."""
    r = run.recipe
    return (
        f"{run.dataset.name}/{run.model}-{run.seed}-e{run.epochs}-b{r.batch_size}-lr{r.lr:g}-m{r.momentum:g}"
        f"-wd{r.weight_decay:g}-{r.schedule}-w{r.warmup:g}.json"
    )


def table(records: list[Record]) -> str:
    """Validation error of each recipe on each dataset, sorted by the mean over datasets and seeds."""
    names = sorted({r["determined_by"]["dataset"] for r in records})
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        run = record["determined_by"]
        groups.setdefault((run["model"], run["epochs"], *run["recipe"].values()), []).append(record)
    lines = [("model", "epochs", *DEFAULT_RECIPE.__dataclass_fields__, *names, "train loss", "runs", "seconds")]
    errors = {
        key: [[r["error_percent"] for r in group if r["determined_by"]["dataset"] == name] for name in names]
        for key, group in groups.items()
    }
    complete = sorted(groups, key=lambda key: (not all(errors[key]), mean(mean(e) for e in errors[key] if e)))
    for key in complete:
        group = groups[key]
        lines.append(
            (
                *map(str, key),
                *(f"{mean(e):.2f}" if e else "" for e in errors[key]),
                f"{mean(r['history']['train_loss'][-1] for r in group):.4f}",
                str(len(group)),
                f"{mean(r['seconds'] for r in group):.0f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


@click.command()
@click.argument("specs", nargs=-1)
@click.option("--batch-size", type=Several(int), default=str(DEFAULT_RECIPE.batch_size), show_default=True)
@click.option("--lr", type=Several(float), default=str(DEFAULT_RECIPE.lr), show_default=True)
@click.option("--weight-decay", type=Several(float), default=str(DEFAULT_RECIPE.weight_decay), show_default=True)
@click.option("--momentum", type=Several(float), default=str(DEFAULT_RECIPE.momentum), show_default=True)
@click.option("--schedule", type=Several(str), default=DEFAULT_RECIPE.schedule, show_default=True)
@click.option("--warmup", type=Several(float), default=str(DEFAULT_RECIPE.warmup), show_default=True)
@click.option("--model", default="baseline", show_default=True)
@click.option("--epochs", default=20, show_default=True)
@click.option("--seeds", default=1, show_default=True, help="Number of run seeds.")
@click.option("--data-seed", default=0, show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Runs at once; they share the cores.")
@click.option("--out", type=click.Path(path_type=Path), default="results/recipe", show_default=True)
@click.option("--table", "only_table", is_flag=True, help="Run nothing.")
def main(
    specs: tuple[str, ...],
    batch_size: list[int],
    lr: list[float],
    weight_decay: list[float],
    momentum: list[float],
    schedule: list[Schedule],
    warmup: list[float],
    model: str,
    epochs: int,
    seeds: int,
    data_seed: int,
    jobs: int,
    out: Path,
    only_table: bool,
) -> None:
    """Run every combination on each of SPECS, and print the table."""
    recipes = [Recipe(*values) for values in product(batch_size, lr, momentum, weight_decay, schedule, warmup)]
    datasets = [open_dataset(spec, seed=data_seed, validation=True) for spec in (() if only_table else specs)]
    runs = [Run(data, model, seed, epochs, recipe) for seed, recipe, data in product(range(seeds), recipes, datasets)]
    with process_pool(jobs) as pool:
        waiting = {pool.submit(run_one, run, out / file_of(run)): run for run in runs}
        for number, done in enumerate(as_completed(waiting), 1):
            name, failure = file_of(waiting[done]), done.exception()
            outcome = failure or f"{done.result()['error_percent']:.2f} %"  # a diverged recipe is an outcome, too
            click.echo(f"{number}/{len(runs)} {name}: {outcome}", err=True)
    click.echo(table(list(read_records(out).values())))


if __name__ == "__main__":
    main()
