"""What several commands share: options, and the progress bar."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnistcompose.storage.location import locate

from .options import together

if TYPE_CHECKING:
    from concurrent.futures import Executor


class Location(click.ParamType):  # type: ignore[type-arg]
    """A folder, or a URL that fsspec knows."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ARG002
        """Make a path of it."""
        return locate(value)


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


def print_table(
    head: Sequence[str], lines: Sequence[Sequence[str]], *, texts: int = 1, needed: int | None = None
) -> None:
    """Print a table whose first columns are `texts` and whose others are numbers.

    On a terminal that is too narrow only the columns up to `needed` are sure to be shown; those left out are named.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    def first(columns: int) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for place, name in enumerate(head[:columns]):
            table.add_column(name, justify="left" if place < texts else "right", no_wrap=True)
        for line in lines:
            table.add_row(*line[:columns])
        return table

    console, wide = Console(), Console(width=1000)
    shown = len(head)
    while console.is_terminal and shown > (needed or len(head)) and wide.measure(first(shown)).maximum > console.width:
        shown -= 1
    table = first(shown)
    width = max(console.width, wide.measure(table).maximum)  # a line that wraps beats a cell that is cut
    Console(width=width).print(table)
    if shown < len(head):
        click.echo(f"Too wide for this terminal: {', '.join(head[shown:])}.")


_PEM = click.Path(path_type=Path, exists=True, dir_okay=False)

cluster_options = together(
    click.option("--scheduler", metavar="ADDRESS|FILE", help="Work on this Dask cluster, as in tcp://host:8786."),
    click.option("--tls-ca", type=_PEM, help="Encrypt: the authority's certificate, ..."),
    click.option("--tls-cert", type=_PEM, help="... this client's ..."),
    click.option("--tls-key", type=_PEM, help="... and its key, in PEM format."),
)


@contextmanager
def on_cluster(
    scheduler: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    resources: dict[str, float] | None = None,
) -> Iterator[tuple["Executor | None", int | None]]:
    """Give the cluster's executor and its number of threads; without a scheduler neither."""
    given = [path for path in (tls_ca, tls_cert, tls_key) if path]
    if scheduler is None:
        if given or resources:
            raise click.UsageError("--tls-ca, --tls-cert, --tls-key and --resource are for a --scheduler")
        yield None, None
        return
    if len(given) not in (0, 3):
        raise click.UsageError("--tls-ca, --tls-cert and --tls-key are needed together")
    from mnistcompose.building.cluster import Tls, cluster, is_exposed

    if is_exposed(scheduler):
        click.echo(
            f"warning: {scheduler} has no encryption: whoever reaches it can run code on its machines; see --tls-ca",
            err=True,
        )
    logging.disable()  # what goes wrong is told in one line, by us
    with cluster(scheduler, Tls(*given) if given else None, resources) as found:
        yield found
