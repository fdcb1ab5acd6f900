"""`mnistcompose spec`: look at layouts."""

import json

import click

from mnistcompose.digits.source import DigitSource

from .options import AS_JSON, complete_layouts, counts_options, workers_option
from .shared import digits_options, fitted, named_once


@click.group()
def spec() -> None:
    """List, show and check layouts."""


@spec.command("list")
@AS_JSON
def list_(as_json: bool) -> None:
    """List the bundled datasets, the paper's first."""
    from mnistcompose.layout.names import bundled_names, load_spec

    names = bundled_names()
    specs = [load_spec(name) for name in names]
    if as_json:
        fields = ("name", "description", "train", "test", "digest")
        click.echo(json.dumps([{field: getattr(each, field) for field in fields} for each in specs], indent=2))
        return
    width = max(map(len, names))
    for each in specs:
        click.echo(fitted(each.description, f"{each.name:{width}} "))


@spec.command(short_help="Print a layout.")
@click.argument("name", shell_complete=complete_layouts)
@click.option("--json", "as_json", is_flag=True, help="Print every field, defaults included, as JSON.")
def show(name: str, as_json: bool) -> None:
    """Print the layout NAME, or the one in the file NAME, as it is written, after checking it.

    A layout that names a CSV file is printed with the file's content.
    """
    from mnistcompose.layout.names import folder_of, read_source
    from mnistcompose.layout.number_file import names_csv
    from mnistcompose.layout.reading import dump_spec, parse_spec, read_fields

    content, source = read_source(name)
    layout = parse_spec(content, source, folder_of(name))
    if as_json:
        click.echo(json.dumps({**layout.model_dump(mode="json"), "digest": layout.digest}, indent=2))
    else:
        click.echo(dump_spec(layout) if names_csv(read_fields(content)) else content, nl=False)


@spec.command(short_help="Check layout files.")
@click.argument("files", nargs=-1, required=True)
@AS_JSON
def check(files: tuple[str, ...], as_json: bool) -> None:
    """Check layout FILES: print one line for every problem, and exit with 2 if there is one."""
    from mnistcompose.errors import InputError
    from mnistcompose.layout.names import load_spec
    from mnistcompose.quantities import counted

    found: dict[str, list[str]] = {}
    for name in files:
        found[name] = []
        try:
            layout = load_spec(name)
        except InputError as error:
            found[name] = str(error).splitlines()
            if not as_json:
                click.echo(str(error), err=True)
        else:
            if not as_json:
                digits, train, test = counted(len(layout.slots), "digit"), f"{layout.train:,}", f"{layout.test:,}"
                click.echo(f"{name}: fine; {digits}, {train} train and {test} test images")
    if as_json:
        click.echo(json.dumps([{"file": name, "problems": problems} for name, problems in found.items()], indent=2))
    if any(found.values()):
        raise click.exceptions.Exit(2)


@spec.command(short_help="Print the JSON Schema of layouts.")
def schema() -> None:
    """Print the JSON Schema of a layout file, for editors that complete and check."""
    from mnistcompose.layout.model import LayoutSpec

    click.echo(json.dumps(LayoutSpec.model_json_schema(), indent=2))


@spec.command(short_help="Print the digests of datasets.")
@click.argument("names", nargs=-1, shell_complete=complete_layouts)
@click.option("--all", "every", is_flag=True, help="Print the digests of all bundled layouts.")
@click.option("--seed", default=0, show_default=True, help="Data seed.")
@counts_options
@digits_options
@workers_option("Threads that make images.  [default: cores]")
def digest(
    names: tuple[str, ...],
    every: bool,
    seed: int,
    train: int | None,
    test: int | None,
    digits: DigitSource,
    workers: int | None,
) -> None:
    """Print the digests of datasets as JSON: make the images of the layouts NAMES in memory, and hash them."""
    from mnistcompose.building.digests import make_digests
    from mnistcompose.layout.names import load_spec, spec_names
    from mnistcompose.storage.schema import FORMAT

    if bool(names) == every:
        raise click.UsageError("give the names of layouts, or --all")
    layouts = named_once(load_spec(name) for name in (spec_names() if every else names))
    digests = {
        layout.name: make_digests(layout, seed=seed, train=train, test=test, digits=digits, workers=workers)
        for layout in layouts
    }
    click.echo(json.dumps({"format": FORMAT, "digests": digests}, indent=1))
