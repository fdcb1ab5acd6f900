"""Options that several commands share, each written once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from mnistcompose.arguments import here
from mnistcompose.errors import InputError

Command = Callable[..., Any]
T = TypeVar("T")


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Combine several options into one decorator that keeps their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class LocalPath(click.Path):
    """A file or folder of this machine; a leading ~ is the home, also where a shell leaves it, as in `--out=~/x`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a value to a path."""
        try:
            return super().convert(str(here(value)), param, ctx)
        except InputError as error:
            self.fail(str(error), param, ctx)


FILE = LocalPath(dir_okay=False)
SEED = click.IntRange(0, 2**63 - 1)
MODEL_NAMES = ("baseline", "oracle", "A2", "A3S", "A3D", "B2", "B3S", "B3D")  # `dcl`'s, known without torch

DEVICE = click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:1 or mps.")
BFLOAT16 = click.option(
    "--bfloat16", is_flag=True, help="Mixed precision, where the processor multiplies bfloat16 natively."
)
PROGRESS = click.option(
    "--progress/--no-progress", default=None, help="Print every epoch to stderr. Default: on a terminal."
)


def workers_option(help: str, **settings: Any) -> Callable[[Command], Command]:  # noqa: A002
    """Make the option --workers, or --jobs: how much is done at once."""
    return click.option("--workers", "--jobs", "workers", type=click.IntRange(1), metavar="N", help=help, **settings)


WORKERS = workers_option("Runs at once; they share the cores.", default=1, show_default=True)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
EPOCHS = click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Number of epochs.")


counts_options = together(
    click.option("--train", type=int, metavar="N", help="Number of training images.  [default: the layout's]"),
    click.option("--test", type=int, metavar="N", help="Number of test images.  [default: the layout's]"),
)


def out_option(default: str) -> Callable[[Command], Command]:
    """Make the --out option of a command that stores runs."""
    return click.option(
        "-o", "--out", type=LocalPath(), default=Path(default), show_default=True, help="Folder of the runs."
    )


def split_list(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Read a list given with commas, by repeating the option, or both; every entry once."""
    parts = (part.strip() for value in values for part in value.split(","))
    return _some(tuple(dict.fromkeys(filter(None, parts))), values)


def split_paths(_context: click.Context, _option: click.Parameter, values: Sequence[Path]) -> tuple[Path, ...]:
    """Read a list of paths as `split_list` does; an existing path may hold commas."""
    parts = (part for value in values for part in ([str(value)] if value.exists() else str(value).split(",")))
    return _some(tuple(dict.fromkeys(Path(part.strip()) for part in parts if part.strip())), values)


def _some(found: tuple[T, ...], values: Sequence[object]) -> tuple[T, ...]:
    """Refuse an option that was given and names nothing, as a script does whose variable is empty."""
    if values and not found:
        raise click.BadParameter("names nothing; leave the option out, or give at least one name")
    return found


def models_option(*default: str, help: str) -> Callable[[Command], Command]:  # noqa: A002
    """Make the option --model, or --models, of one or several models."""
    return click.option(
        "--model",
        "--models",
        "models",
        multiple=True,
        metavar="NAME|NOTATION",
        default=default,
        show_default=True,
        callback=split_list,
        shell_complete=complete_models,
        help=help,
    )


def complete_models(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete the last name of a comma-separated list of models."""
    before, comma, last = typed.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in MODEL_NAMES if name.lower().startswith(last.lower())]


def complete_layouts(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete the name of a bundled layout, and of the dataset that is built from it; else a file."""
    from mnistcompose.layout.names import bundled_names

    names = [name for name in bundled_names() if name.startswith(typed)]
    return [CompletionItem(name) for name in names] or [CompletionItem(typed, type="file")]


def complete_built(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete the folder of a built dataset in `data`; else a folder."""
    folders = [path.parent.as_posix() for path in sorted(Path("data").glob("*/manifest.json"))]
    return [CompletionItem(name) for name in folders if name.startswith(typed)] or [CompletionItem(typed, type="dir")]


def grid_options(out: str) -> Callable[[Command], Command]:
    """Make the options of a command that does a grid of runs and prints them as a table."""
    return together(
        click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of run seeds."),
        click.option("--first-seed", type=SEED, default=0, show_default=True, help="First run seed."),
        out_option(out),
        click.option(
            "--keep",
            is_flag=True,
            help="Keep the weights of every run; a stored run without them is done again.",
        ),
        WORKERS,
        click.option("--json", "style", flag_value="json", help="Print JSON: every number, unrounded."),
        click.option("--csv", "style", flag_value="csv", help="Print CSV: every number, unrounded."),
        click.option("--markdown", "style", flag_value="markdown", help="Print a Markdown table."),
    )
