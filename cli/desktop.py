"""Opening pictures and pages on the user's desktop."""

import os
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from tempfile import mkstemp
from threading import Thread

import click

from .options import Command


def open_option(what: str, *other_names: str) -> Callable[[Command], Command]:
    """Make the option of a command that opens what it made; its value is None if the user did not say."""
    text = f"Open {what}.  [default: when run from a desktop terminal]"
    return click.option("--open/--no-open", *other_names, "opens", default=None, help=text)


def has_desktop() -> bool:
    """Whether a user looks at this process's output, on a machine that can show windows to that user."""
    if not sys.stdout.isatty():
        return False
    if sys.platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_file(path: Path) -> None:
    """Open a file in the program that the desktop has for it, if there is one."""
    click.launch(str(path.resolve()))


@contextmanager
def opened_page(address: str) -> Iterator[None]:
    """Open an address that holds a secret in the browser.

    The browser gets the path of a page that leads to the address, because all users of the machine can read its command
    line. Only this user can read the page; it is deleted at the end.

    Raises
    ------
    OSError
        The page cannot be written.
    """
    descriptor, name = mkstemp(".html", "mnistcompose-")  # with mode 0600
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_REDIRECT.format(escape(address)))
        # in a thread, because some browsers return only when they are closed
        Thread(target=webbrowser.open, args=[path.as_uri()], daemon=True).start()
        yield
    finally:
        path.unlink(missing_ok=True)


_REDIRECT = """\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="referrer" content="no-referrer">
    <meta http-equiv="refresh" content="0; url={0}">
    <title>mnistcompose</title>
  </head>
  <body><p><a href="{0}">Open the page</a></p></body>
</html>
"""
