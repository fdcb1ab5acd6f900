"""`mnistcompose report`: what stored runs found, as one page."""

import json
from pathlib import Path

import click

from mnistcompose.digits.source import DigitSource
from mnistcompose.errors import InputError

from .options import AS_JSON, FILE, LocalPath, complete_layouts, split_paths
from .shared import digits_options
from .train import need_torch


@click.command()
@click.argument("results", type=LocalPath())
@click.option("-o", "--out", type=FILE, help="File to write.  [default: report.html; Markdown is printed]")
@click.option("--markdown", is_flag=True, help="Write the same facts as Markdown, without pictures.")
@click.option("--title", help="Title of the page.")
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    metavar="FILE",
    type=LocalPath(),
    callback=split_paths,
    shell_complete=complete_layouts,
    help="Layout of a dataset that is not bundled, for its pictures, positions and confusions; repeatable, or "
    "with commas.",
)
@digits_options
@AS_JSON
def report(
    results: Path,
    out: Path | None,
    markdown: bool,
    title: str | None,
    layouts: tuple[Path, ...],
    digits: DigitSource,
    as_json: bool,
) -> None:
    """Write one HTML page about the runs in the folder RESULTS of `compare` or `train`.

    The page shows Table 1 next to the paper's, curves, layouts, misread numbers, and the software and machines of the
    runs. It needs no network and no other file. It shows the most confident errors of runs whose weights are kept
    (`compare --keep`).
    """
    need_torch()
    from dcl.experiments.run_file import read_records
    from dcl.reporting.html import as_html, as_markdown
    from dcl.reporting.report import PLACES, make_report
    from mnistcompose.digits.bank import load_digits
    from mnistcompose.layout.names import bundled_names, load_spec
    from mnistcompose.storage.files import write_output

    records = read_records(results, PLACES)
    if not records:
        raise InputError(f"{results}: holds no runs; mnistcompose compare DATASETS --out {results} makes some")
    if digits.folder is not None:
        load_digits("test", digits)  # refuses a folder without digits, which would pass for other digits later
    known = [*map(load_spec, bundled_names()), *map(load_spec, layouts)]
    gathered = make_report(records, root=results, layouts=known, digits=digits, title=title)
    text = as_markdown(gathered) if markdown else as_html(gathered)
    if markdown and out is None and not as_json:
        click.echo(text, nl=False)
        return
    out = out or Path("report.md" if markdown else "report.html")
    write_output(out, text.encode())
    facts = {"file": str(out), "runs": len(gathered.runs), "models": gathered.models, "datasets": gathered.datasets}
    click.echo(json.dumps(facts) if as_json else out)
