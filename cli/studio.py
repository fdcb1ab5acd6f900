"""`mnistcompose studio`: design a layout on a local page."""

from pathlib import Path

import click

from mnistcompose.digits.source import DigitSource

from .desktop import has_desktop, open_option, opened_page
from .options import LocalPath
from .shared import digits_options

_START = """\
name: my-layout
digit:
  scale: {uniform: [0.9, 1.1]}
  rotation: {normal: [0, 6]}
slots:
  - center: [0.0, 0.0]
  - center: [0.8, 0.2]
"""


@click.command()
@click.argument("spec", required=False, metavar="[NAME|FILE]")
@click.option("--save", type=LocalPath(dir_okay=False), help="The file to write.  [default: FILE, if it is one]")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port on 127.0.0.1; 0: a free one."
)
@open_option("the page in the browser", " /--no-browser")
@click.option("--seed", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, help="Data seed to show.")
@digits_options
def studio(spec: str | None, save: Path | None, port: int, opens: bool | None, seed: int, digits: DigitSource) -> None:
    """Design a layout in the browser: the bundled layout NAME, the one in FILE, or a new one.

    The page is served to this machine only, and shows 64 samples after every change. Only 'Save' writes a file: the
    layout's FILE. Ctrl-C ends the studio.
    """
    from mnistcompose.errors import InputError

    try:
        from mnistcompose.studio.app import Draft, make_app, read_target
        from mnistcompose.studio.samples import compose_samples
        from mnistcompose.studio.server import listen, serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "mnistcompose":
            raise
        raise InputError(
            f"the studio needs more packages: pip install starlette uvicorn ruamel.yaml ({error.name})"
        ) from None
    from contextlib import ExitStack, suppress
    from secrets import token_urlsafe

    from mnistcompose.arguments import here
    from mnistcompose.layout.names import bundled_names, folder_of, read_source
    from mnistcompose.layout.reading import parse_spec

    if spec and here(spec).suffix in (".yaml", ".yml") and not here(spec).exists():
        raise InputError(f"{spec}: no such file; mnistcompose studio --save {spec} begins a new layout there")
    content, name = read_source(spec) if spec else (_START.encode(), str(save or "layout"))
    opened = here(spec) if spec and spec not in bundled_names() else None
    file = save or opened
    if save and (save.suffix not in (".yaml", ".yml") or not save.parent.is_dir()):
        raise InputError(f"--save {save}: should be a name that ends in .yaml, in an existing folder")
    target = file.resolve() if file else None
    if target:
        read_target(target)  # reports a file that cannot be saved before any work is done
    on_disk = content if opened and target == opened.resolve() else None
    draft = Draft(name, _decoded(content, name), target, file, digits, seed, on_disk, folder_of(spec) if spec else None)
    compose_samples(parse_spec(_START), 0, 0, digits)  # loads digits and kernel, so that the first click is not slow
    with listen(port) as listener, ExitStack() as until_the_end:
        port, token = listener.getsockname()[1], token_urlsafe(16)
        address = f"http://127.0.0.1:{port}/?token={token}"

        def started() -> None:
            click.echo(address)
            if has_desktop() if opens is None else opens:
                click.echo("The browser opens this page; if it does not appear, open the address yourself.")
                with suppress(OSError):
                    until_the_end.enter_context(opened_page(address))
            click.echo("Ctrl-C ends the studio.")

        serve(make_app(draft, port, token), listener, started)


def _decoded(content: bytes, name: str) -> str:
    from mnistcompose.errors import InputError

    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 text: byte {error.start + 1} is {content[error.start]:#04x}") from None
