"""`mnistcompose preview`: pictures of layouts and datasets."""

import json
from pathlib import Path

import click

from mnistcompose.digits.source import DigitSource

from .desktop import has_desktop, open_file, open_option
from .options import AS_JSON, FILE, SEED, complete_layouts
from .shared import digits_options


@click.command()
@click.argument("names", nargs=-1, metavar="NAME|FILE|DIR...", shell_complete=complete_layouts)
@click.option("--all", "every", is_flag=True, help="Draw all bundled layouts, one card each.")
@click.option("-o", "--out", type=FILE, default="preview.png", show_default=True, help="PNG to write.")
@click.option("--rows", type=click.IntRange(1, 50), help="Rows of images.  [default: 7; 2 on a card]")
@click.option("--cols", type=click.IntRange(1, 50), help="Images in a row.  [default: 9; 4 on a card]")
@click.option("--seed", type=SEED, help="Data seed; a built dataset has its own.  [default: 0]")
@digits_options
@open_option("the picture")
@AS_JSON
def preview(
    names: tuple[str, ...],
    every: bool,
    out: Path,
    rows: int | None,
    cols: int | None,
    seed: int | None,
    digits: DigitSource,
    opens: bool | None,
    as_json: bool,
) -> None:
    """Draw a contact sheet of the bundled layout NAME, of a layout FILE, or of the dataset in DIR.

    It shows each slot as a box, its random variation as faint outlines, and images with their numbers. Each digit of a
    number has the colour of its slot. Several names give one picture with a card each.
    """
    from mnistcompose.arguments import here
    from mnistcompose.errors import InputError
    from mnistcompose.layout.names import bundled_names, load_spec, spec_names
    from mnistcompose.preview import check_name, compose_samples, overview, read_samples, save, sheet

    check_name(out)
    if bool(names) == every:
        raise click.UsageError("give the names of layouts, layout files or datasets' folders, or --all")
    chosen = spec_names() if every else list(names)
    alone = len(chosen) == 1
    rows, cols = rows or (7 if alone else 2), cols or (9 if alone else 4)
    datasets = []
    for name in chosen:
        if name not in bundled_names() and here(name).is_dir():
            if seed is not None:
                raise InputError(f"--seed {seed}: {name} is a built dataset, which has a seed of its own")
            datasets.append(read_samples(here(name), rows * cols))
        else:
            datasets.append(compose_samples(load_spec(name), rows * cols, seed or 0, digits))
    save(sheet(datasets[0], cols) if alone else overview(datasets, cols), out)
    shown = [samples.spec.name for samples in datasets]
    click.echo(json.dumps({"file": str(out), "datasets": shown}) if as_json else out)
    if has_desktop() if opens is None else opens:
        open_file(out)
