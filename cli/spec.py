"""`mnistcompose spec`: look at layouts."""

import json

import click


@click.group()
def spec() -> None:
    """List, show and check layouts."""


@spec.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the bundled layouts."""
    from mnistcompose.spec import load_spec, spec_names

    specs = [load_spec(name) for name in spec_names()]
    if as_json:
        fields = ("name", "description", "train", "test", "digest")
        click.echo(json.dumps([{field: getattr(each, field) for field in fields} for each in specs], indent=2))
        return
    for each in specs:
        click.echo(f"{each.name:13} {each.description}")


@spec.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print every field, defaults included, as JSON.")
def show(name: str, as_json: bool) -> None:
    """Print the layout NAME, or the one in the file NAME, as YAML."""
    from mnistcompose.spec import dump_spec, load_spec

    layout = load_spec(name)
    if as_json:
        click.echo(json.dumps({**layout.model_dump(mode="json"), "digest": layout.digest}, indent=2))
    else:
        click.echo(dump_spec(layout), nl=False)


@spec.command()
@click.argument("files", nargs=-1, required=True)
def check(files: tuple[str, ...]) -> None:
    """Check layout FILES; prints one line for every problem and exits with 2 if there is one."""
    from mnistcompose.errors import InputError
    from mnistcompose.spec import load_spec

    problems = 0
    for name in files:
        try:
            layout = load_spec(name)
        except InputError as error:
            problems += 1
            click.echo(str(error), err=True)
        else:
            click.echo(
                f"{name}: fine; {len(layout.slots)} digits, {layout.train:,} train and {layout.test:,} test images"
            )
    if problems:
        raise click.exceptions.Exit(2)


@spec.command()
def schema() -> None:
    """Print the JSON Schema of a layout file, for editors that complete and check."""
    from mnistcompose.spec import LayoutSpec

    click.echo(json.dumps(LayoutSpec.model_json_schema(), indent=2))
