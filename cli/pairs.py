"""`mnistcompose pairs`: episodes for neuro-symbolic addition."""

import sys
from pathlib import Path

import click

from .options import FILE


@click.command()
@click.option(
    "--split",
    type=click.Choice(["train", "test", "fit", "validation"]),
    default="train",
    show_default=True,
    help="Images to use.",
)
@click.option("--digits", type=int, default=1, show_default=True, metavar="N", help="Digits of each number, 1 to 18.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which random order.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "lines"]),
    default="json",
    show_default=True,
    help="DeepProbLog's JSON, or a line 'i j sum' for each pair, with 2 N images for numbers of N digits.",
)
@click.option("-o", "--out", type=FILE, metavar="FILE", help="File to write.  [default: standard output]")
def pairs(split: str, digits: int, seed: int, kind: str, out: Path | None) -> None:
    """Pair MNIST's images to numbers and their sums, for neuro-symbolic addition; each image is used once at most.

    Images are given by their index in MNIST's training or test file.
    """
    if out is None and sys.stdout.isatty():
        raise click.UsageError("this is one long list: name a file with --out, or send the output to a program")
    from mnistcompose.digits.addition import addition_pairs
    from mnistcompose.quantities import counted
    from mnistcompose.storage.files import write_output

    made = addition_pairs(split, digits, seed)  # type: ignore[arg-type]  # click has checked it
    text = made.to_json() if kind == "json" else made.to_lines()
    if out is None:
        click.echo(text, nl=False)
        return
    write_output(out, text.encode())
    click.echo(f"{out}: {counted(len(made), 'pair')} of the {split} split")
