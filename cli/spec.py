"""`mnistcompose spec`: look at layouts."""

import json

import click


@click.group()
def spec() -> None:
    """List, show and check layouts."""


@spec.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the bundled layouts: those of the paper and others."""
    from mnistcompose.layout.names import bundled_names, load_spec

    names = bundled_names()
    specs = [load_spec(name) for name in names]
    if as_json:
        fields = ("name", "description", "train", "test", "digest")
        click.echo(json.dumps([{field: getattr(each, field) for field in fields} for each in specs], indent=2))
        return
    width = max(map(len, names))
    for each in specs:
        click.echo(f"{each.name:{width}} {each.description}")


@spec.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print every field, defaults included, as JSON.")
def show(name: str, as_json: bool) -> None:
    """Print the layout NAME, or the one in the file NAME, as it is written, after checking it."""
    from mnistcompose.layout.names import read_source
    from mnistcompose.layout.reading import parse_spec

    content, source = read_source(name)
    layout = parse_spec(content, source)
    if as_json:
        click.echo(json.dumps({**layout.model_dump(mode="json"), "digest": layout.digest}, indent=2))
    else:
        click.echo(content, nl=False)


@spec.command()
@click.argument("files", nargs=-1, required=True)
def check(files: tuple[str, ...]) -> None:
    """Check layout FILES; prints one line for every problem and exits with 2 if there is one."""
    from mnistcompose.errors import InputError
    from mnistcompose.layout.names import load_spec

    problems = 0
    for name in files:
        try:
            layout = load_spec(name)
        except InputError as error:
            problems += 1
            click.echo(str(error), err=True)
        else:
            digits = "1 digit" if len(layout.slots) == 1 else f"{len(layout.slots)} digits"
            click.echo(f"{name}: fine; {digits}, {layout.train:,} train and {layout.test:,} test images")
    if problems:
        raise click.exceptions.Exit(2)


@spec.command()
def schema() -> None:
    """Print the JSON Schema of a layout file, for editors that complete and check."""
    from mnistcompose.layout.model import LayoutSpec

    click.echo(json.dumps(LayoutSpec.model_json_schema(), indent=2))


@spec.command()
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Print the digests of all bundled layouts.")
@click.option("--seed", default=0, show_default=True, help="Data seed.")
def digest(names: tuple[str, ...], every: bool, seed: int) -> None:
    """Print the digests of datasets as JSON: make the images of the layouts NAMES in memory, and hash them."""
    from mnistcompose.building.verify import make_digests
    from mnistcompose.layout.names import load_spec, spec_names
    from mnistcompose.storage.schema import FORMAT

    if bool(names) == every:
        raise click.UsageError("give the names of layouts, or --all")
    layouts = [load_spec(name) for name in (spec_names() if every else names)]
    digests = {layout.name: make_digests(layout, seed=seed) for layout in layouts}
    click.echo(json.dumps({"format": FORMAT, "digests": digests}, indent=1))
