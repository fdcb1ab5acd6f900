"""`mnistcompose verify`: check datasets."""

import json
from pathlib import Path

import click

from mnistcompose.digits.source import DigitSource

from .options import complete_built, workers_option
from .shared import Location, digits_options, image_bar


def _amount(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """Read a number of samples, or 'all', which is -1."""
    if value is None or value == "all":
        return -1 if value else None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number of samples nor 'all'")
    return int(value)


@click.command()
@click.argument(
    "folders", nargs=-1, required=True, type=Location(), metavar="DIR|URL...", shell_complete=complete_built
)
@click.option(
    "--render",
    metavar="N|all",
    callback=_amount,
    help="Render N samples again, and compare every pixel and label.",
)
@digits_options
@workers_option("Shards checked at once.  [default: cores]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per dataset.")
def verify(
    folders: tuple[Path, ...], render: int | None, digits: DigitSource, workers: int | None, as_json: bool
) -> None:
    """Check the datasets in DIRs: files, counts, labels and digests.

    A bundled dataset of seed 0 is also compared with its published digests. Exits with 1 if a dataset is damaged, with
    2 if a DIR holds none.
    """
    from dataclasses import asdict

    from mnistcompose.building import verify as verification
    from mnistcompose.errors import InputError
    from mnistcompose.quantities import counted

    code = 0
    for folder in folders:
        try:
            with image_bar(str(folder), None) as advance:
                report = verification.verify(folder, rerender=render, digits=digits, workers=workers, progress=advance)
            code = max(code, 0 if report.ok else 1)
        except InputError as error:  # the other folders are checked all the same
            if len(folders) == 1:
                raise
            report, code = verification.VerifyReport(folder, (str(error),)), 2
        if as_json:
            click.echo(json.dumps({"ok": report.ok, **asdict(report), "root": str(report.root)}))
            continue
        for problem in report.problems:
            click.echo(problem, err=True)
        if report.ok:
            rendered = f", {report.rendered:,} rendered again" if report.rendered else ""
            published = ", as published" if report.published else "; no published digests to compare with"
            fine = f"{counted(report.images, 'image')} {'is' if report.images == 1 else 'are'} fine"
            drawn = "" if report.drawn else "; random choices not compared: give the digit set (--digits)"
            click.echo(f"{folder}: {fine}{rendered}{published}{drawn}")
    if code:
        raise click.exceptions.Exit(code)
