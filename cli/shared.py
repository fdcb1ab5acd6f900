"""What several commands share: an option, and the progress bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

digits_option = click.option(
    "--digits",
    type=click.Path(path_type=Path),
    envvar="MNISTCOMPOSE_DIGITS",
    show_envvar=True,
    help="Folder of IDX files to use instead of the bundled MNIST.",
)


@contextmanager
def image_bar(name: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on a terminal; elsewhere be quiet."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=total)
        yield lambda images: progress.advance(task, images)
