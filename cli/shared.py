"""Options, tables and the progress bar that several commands share."""

import gc
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from mnistcompose.digits.source import DigitSource
from mnistcompose.errors import InputError
from mnistcompose.storage.location import locate

from .options import Command, LocalPath, together

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mnistcompose.layout.model import LayoutSpec


class Location(click.ParamType):  # type: ignore[type-arg]
    """A folder, or a URL that fsspec knows."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Convert a value to a path."""
        try:
            return locate(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


def digits_options(command: Command) -> Command:
    """Add the options that say which digits to use; the command gets them as one `DigitSource`, named `digits`."""

    @wraps(command)
    def with_source(
        *args: Any, digits: Path | None, skip_blank: bool, labels_from: int, invert: bool, **options: Any
    ) -> Any:
        return command(*args, digits=DigitSource(digits, skip_blank, labels_from, invert), **options)

    return together(
        click.option(
            "--digits",
            type=LocalPath(),
            envvar="MNISTCOMPOSE_DIGITS",
            show_envvar=True,
            help="Folder of IDX files to use instead of the bundled MNIST.",
        ),
        click.option("--skip-blank", is_flag=True, help="Leave out digit images without ink."),
        click.option(
            "--labels-from", type=int, default=0, metavar="N", help="Lowest label of the digit files; it becomes 0."
        ),
        click.option("--invert", is_flag=True, help="Exchange light and dark in the digit images."),
    )(with_source)


def named_once(layouts: "Iterable[LayoutSpec]") -> "list[LayoutSpec]":
    """Refuse two layouts of one name, under which what is made of them is stored or printed.

    Raises
    ------
    InputError
        The message says which.
    """
    found: dict[str, LayoutSpec] = {}
    for layout in layouts:
        if layout.name in found:
            raise InputError(f"{layout.name}: two layouts of this name; rename one, or do them one by one")
        found[layout.name] = layout
    return list(found.values())


def fitted(text: str, before: str = "") -> str:
    """Put words before a text, and wrap it to the right of them on a terminal; elsewhere it stays one line."""
    if not sys.stdout.isatty():
        return before + text
    width = max(get_terminal_size().columns, len(before) + 20)
    indent = " " * len(before)
    return fill(
        text, width, initial_indent=before, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


@contextmanager
def preparing() -> Iterator[None]:
    """Import and prepare without a search for cycles: what is imported stays, and is not searched later either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def image_bar(name: str, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show a progress bar on a terminal, and nothing elsewhere."""
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
    """Print a table whose first `texts` columns are text and whose others are numbers.

    On a terminal that is too narrow, columns after the first `needed` may be left out; their names are printed.
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
    width = max(console.width, wide.measure(table).maximum)  # wrapped lines keep every cell whole
    Console(width=width).print(table)
    if shown < len(head):
        click.echo(f"Too wide for this terminal: {', '.join(head[shown:])}.")


_PEM = LocalPath(exists=True, dir_okay=False)

cluster_options = together(
    click.option(
        "--scheduler",
        metavar="ADDRESS|FILE",
        help="Run on the Dask cluster with this scheduler, as in tcp://host:8786.",
    ),
    click.option("--tls-ca", type=_PEM, help="Certificate of the authority, for an encrypted connection; PEM."),
    click.option("--tls-cert", type=_PEM, help="Certificate of this client; PEM."),
    click.option("--tls-key", type=_PEM, help="Key of this client; PEM."),
)


def _silence(*packages: str) -> None:
    """Drop the log records of packages; each of their loggers may have a level of its own."""
    for name in [*packages, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in packages:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextmanager
def on_cluster(
    scheduler: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    resources: dict[str, float] | None = None,
) -> Iterator[tuple["Executor | None", int | None]]:
    """Yield the cluster's executor and its number of threads; without a scheduler, None for both."""
    given = [path for path in (tls_ca, tls_cert, tls_key) if path]
    if scheduler is None:
        if given or resources:
            raise click.UsageError("--tls-ca, --tls-cert, --tls-key and --resource need --scheduler")
        yield None, None
        return
    if len(given) not in (0, 3):
        raise click.UsageError("--tls-ca, --tls-cert and --tls-key are needed together")
    with suppress(ImportError):  # without it `cluster` says what to install
        import distributed  # noqa: F401  # makes the loggers that are silenced

    from mnistcompose.building.cluster import Tls, cluster, is_exposed, scheduler_address

    if is_exposed(address := scheduler_address(scheduler)):
        click.echo(
            f"warning: {address} has no encryption: anyone who reaches it can run code on its machines; see --tls-ca",
            err=True,
        )
    _silence("distributed", "tornado", "asyncio")  # errors are reported in one line by `main`
    with cluster(scheduler, Tls(*given) if given else None, resources) as found:
        yield found
