"""Options that several commands share, each written once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mnistcompose.arguments import here

Command = Callable[..., Any]


class LocalPath(click.Path):
    """A file or folder of this machine; a leading ~ is the home, also where a shell leaves it, as in `--out=~/x`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a value to a path."""
        return super().convert(str(here(value)), param, ctx)


DEVICE = click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:1 or mps.")
BFLOAT16 = click.option(
    "--bfloat16", is_flag=True, help="Mixed precision, where the processor multiplies bfloat16 natively."
)
PROGRESS = click.option(
    "--progress/--no-progress", default=None, help="Print every epoch to stderr. Default: on a terminal."
)
JOBS = click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs at once; they share the cores."
)
EPOCHS = click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Number of epochs.")


def out_option(default: str) -> Callable[[Command], Command]:
    """Make the --out option of a command that stores runs."""
    return click.option("--out", type=LocalPath(), default=Path(default), show_default=True, help="Folder of the runs.")


def grid_options(out: str) -> Callable[[Command], Command]:
    """Make the options of a command that does a grid of runs and prints them as a table."""
    return together(
        click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of run seeds."),
        click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True, help="First run seed."),
        out_option(out),
        click.option("--keep", is_flag=True, help="Keep the weights of every run."),
        JOBS,
        click.option("--json", "style", flag_value="json", help="Print JSON: every number, unrounded."),
        click.option("--csv", "style", flag_value="csv", help="Print CSV: every number, unrounded."),
        click.option("--markdown", "style", flag_value="markdown", help="Print a Markdown table."),
    )


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Combine several options into one decorator that keeps their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
