"""The command line: `mnistcompose`. A command's module is imported when it is called."""

import atexit
import gc
import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from mnistcompose import __version__
from mnistcompose.errors import BuildError, InputError

_COMMANDS = {
    "build": ("build", "Make datasets: HDF5 shards, bit-reproducible, resumable."),
    "verify": ("verify", "Check a dataset's files, labels and pixels."),
    "export": ("export", "Write a dataset as IDX, WebDataset, Parquet, PNG, NPZ or COCO."),
    "pairs": ("pairs", "Pair MNIST's images to numbers and their sums."),
    "preview": ("preview", "Draw a contact sheet of a layout or a dataset."),
    "studio": ("studio", "Design a layout in the browser, next to samples of it."),
    "list": ("spec", "List the bundled datasets."),
    "spec": ("spec", "List, show and check layouts."),
    "train": ("train", "Train one model on a dataset."),
    "evaluate": ("train", "Measure a trained model on a dataset."),
    "predict": ("train", "Read the number in image files."),
    "compare": ("compare", "Train a grid of models and print them side by side."),
    "compare-images": ("compare_images", "Train the networks of the paper's Table 2 on SVHN, CIFAR and ILSVRC2012."),
    "calibrate": ("calibrate", "Find the spread of a layout's fields that gives a target error."),
    "report": ("report", "Write a page about stored runs."),
    "figure": ("figure", "Draw a figure of the paper from stored runs."),
    "network": ("network", "Print a network's layers, shapes and cost."),
}
_COMPLETION = 'eval "$(_MNISTCOMPOSE_COMPLETE=bash_source mnistcompose)"'
_RESUMABLE = {"build", "train", "compare", "compare-images", "calibrate"}


class _Commands(click.Group):
    """A group that knows its commands' names and short help, so that `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return super().get_command(ctx, name)
        module = import_module(f".{_COMMANDS[name][0]}", __name__)
        command: click.Command = module.list_ if name == "list" else getattr(module, name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], _COMMANDS, n=1)
            ctx.fail(f"no command {args[0]!r}; {f'did you mean {close[0]}?' if close else 'see --help'}")
        return super().resolve_command(ctx, args)


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nCompletion in bash (docs/reference/cli.md has zsh and fish):\n  {_COMPLETION}",
)
@click.version_option(__version__, "-V", "--version", prog_name="mnistcompose")
def cli() -> None:
    """Make multi-digit MNIST datasets, and train Deep Collaborative Learning on them."""


def main(args: list[str] | None = None) -> Any:
    """Run a command.

    Bad input exits with code 2, a failure with 1, Ctrl-C with 130 and SIGTERM with 143, each with one line on stderr.
    An interrupted command leaves its files as a failure does.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else all installed packages are searched
    atexit.register(gc.freeze)  # else the exiting interpreter searches all that was imported for cycles: 0.2 s
    _prepare_output()
    with suppress(ValueError):  # not in the main thread: the caller handles signals
        signal.signal(signal.SIGTERM, _terminate)
    _show_notes()
    called = set(sys.argv[1:2] if args is None else args[:1])
    stopped = "stopped; run the same command again to resume" if called & _RESUMABLE else "stopped"
    try:
        result = cli.main(args, prog_name="mnistcompose", standalone_mode=False)
        sys.stdout.flush()  # here, where an error can be reported
        return result
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _fail(_on_one_line(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail(stopped, 130)
    except _Terminated:
        _fail(stopped, 143)
    except InputError as error:
        _fail(str(error), 2)
    except BuildError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader is gone (`| head`); keeps Python from reporting that at exit
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:  # a name that is too long, or a folder that may not be entered
            _fail(f"{os.fsdecode(error.filename)}: {error.strerror}", 1)
        if error.errno is None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would report it again at exit
        _fail(f"cannot write the output: {error.strerror}", 1)


def _prepare_output() -> None:
    """Write what the output's encoding lacks as escapes, and a warning as one line; fill streams that are closed."""
    for name in ("stdin", "stdout", "stderr"):  # in order: a file takes the lowest free descriptor
        if getattr(sys, name) is None:  # `>&-`, or Windows without a console; else the next file would be the output
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_, **__: f"mnistcompose: warning: {' '.join(str(message).split())}\n"


class _Notes(logging.Handler):
    """Writes log records to the terminal, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line."""
        print(f"mnistcompose: {record.getMessage()}", file=sys.stderr)  # click.echo goes around a bar's sys.stderr


def _show_notes() -> None:
    """Show the package's notes, such as that kernels are compiled, on a terminal; elsewhere commands are quiet."""
    logger = logging.getLogger("mnistcompose")
    if sys.stderr.isatty() and not logger.handlers:
        logger.addHandler(_Notes())
        logger.setLevel(logging.INFO)


class _Terminated(BaseException):
    """SIGTERM was received: the process should end soon."""


def _terminate(*_: object) -> None:
    raise _Terminated


def _on_one_line(error: click.ClickException) -> str:
    """Return click's message about a wrong call, and the command whose help explains it."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{message} (see {context.command_path} --help)" if context and "--help" not in message else message


def _fail(message: str, code: int) -> None:
    click.echo(f"mnistcompose: {message}", err=True)
    sys.exit(code)
