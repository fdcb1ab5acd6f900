"""What opens a window: never in a pipe, and never with a secret on a command line."""

import os
import pty
import re
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from waiting import until

from mnistcompose.cli import cli
from mnistcompose.cli.desktop import has_desktop, opened_page

ADDRESS = "http://127.0.0.1:1/?token=a-secret&b=<"


class Terminal:
    def __init__(self, is_terminal: bool) -> None:
        self.isatty = lambda: is_terminal


@pytest.mark.parametrize(
    ("terminal", "platform", "environment", "expected"),
    [
        (True, "linux", {"DISPLAY": ":0"}, True),
        (True, "linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        (True, "linux", {}, False),
        (True, "darwin", {}, True),
        (True, "win32", {}, True),
        (True, "darwin", {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, False),
        (False, "linux", {"DISPLAY": ":0"}, False),
        (False, "darwin", {}, False),
        (False, "win32", {}, False),
    ],
)
def test_a_window_is_shown_only_to_somebody(terminal, platform, environment, expected, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("sys.stdout", Terminal(terminal))
    assert has_desktop() is expected


@pytest.fixture
def launched(monkeypatch) -> list[str]:
    """What the desktop is asked to open."""
    found: list[str] = []
    monkeypatch.setattr("click.launch", found.append)
    return found


@pytest.mark.parametrize(
    ("options", "desktop", "opens"),
    [
        ([], False, False), ([], True, True), (["--open"], False, True), (["--no-open"], True, False),
    ],
)  # fmt: skip
def test_a_picture_opens_where_a_desktop_is_or_as_asked(options, desktop, opens, launched, tmp_path, monkeypatch):
    if desktop:
        monkeypatch.setattr("mnistcompose.cli.preview.has_desktop", lambda: True)
    monkeypatch.chdir(tmp_path)
    command = ["preview", "MNIST-II-01", "--rows", "1", "--cols", "1", *options]
    assert CliRunner().invoke(cli, command, catch_exceptions=False).output == "preview.png\n"
    assert launched == [str(tmp_path / "preview.png")] * opens


def test_paths_in_the_home_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("name: mine\nslots: [{center: [0, 0]}]\n")
    command = ["preview", "~/mine.yaml", "--out=~/mine.png", "--rows", "1", "--cols", "1"]
    assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
    assert (tmp_path / "mine.png").is_file()


@pytest.mark.skipif(os.name != "posix", reason="other systems have no modes; a user's temporary files are the user's")
@pytest.mark.parametrize("failure", [None, KeyboardInterrupt])
def test_the_browser_gets_a_page_that_only_the_user_can_read(failure, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    before = os.umask(0)
    try:
        with opened_page(ADDRESS):
            (page,) = tmp_path.iterdir()
            until(lambda: opened == [page.as_uri()])
            assert stat.S_IMODE(page.stat().st_mode) == 0o600
            assert 'content="0; url=http://127.0.0.1:1/?token=a-secret&amp;b=&lt;"' in page.read_text()
            if failure:
                raise failure
    except KeyboardInterrupt:
        assert failure
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == []


BROWSER = """\
#!/bin/sh
cp "${1#file://}" page && stat -c %a "${1#file://}" > mode
echo "$@" > arguments.tmp && mv arguments.tmp arguments
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the browser's command is a script, its display a variable")
def test_the_studio_s_token_is_on_no_command_line(tmp_path):
    """In a terminal of a desktop, until it is ended."""
    pytest.importorskip("uvicorn")
    program = tmp_path / "browser"
    program.write_text(BROWSER)
    program.chmod(0o755)
    (tmp_path / "pages").mkdir()
    (tmp_path / "mine.yaml").write_text("name: mine\nslots: [{center: [0, 0]}]\n")
    desktop = {"HOME": str(tmp_path), "DISPLAY": ":99", "BROWSER": str(program), "TMPDIR": str(tmp_path / "pages")}
    environment = {**os.environ, **desktop}
    kernels = environment.get("NUMBA_CACHE_DIR") or Path.home() / ".cache" / "mnistcompose" / "kernels"
    environment["NUMBA_CACHE_DIR"] = str(kernels)
    command = [sys.executable, "-c", "from mnistcompose.cli import main; main()", "studio", "~/mine.yaml"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=theirs, stderr=theirs)
    try:
        os.close(theirs)
        shown = ""
        while not (found := re.search(r"(http://\S+\?token=(\S{20,}))\s", shown)):  # a note on compiling may come first
            shown += os.read(ours, 4096).decode()
        address = found[1]
        until((tmp_path / "arguments").exists)
        arguments = (tmp_path / "arguments").read_text()
        (page,) = (tmp_path / "pages").iterdir()
        assert arguments.split() == [page.as_uri()]
        assert (tmp_path / "mode").read_text() == "600\n"
        assert address in (tmp_path / "page").read_text()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert list((tmp_path / "pages").iterdir()) == []


NOTE = """
import logging
from mnistcompose.cli import _show_notes
from mnistcompose.cli.shared import image_bar

_show_notes()
with image_bar("bar", 10) as advance:
    advance(3)
    logging.getLogger("mnistcompose.anything").info("a note")
    advance(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_note_has_a_line_of_its_own_above_a_bar():
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", NOTE], stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        with suppress(OSError):  # Linux's end of a terminal
            while part := os.read(ours, 4096):
                shown += part
    finally:
        assert process.wait(60) == 0
        os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "mnistcompose: a note" in re.split(r"[\r\n]+", plain)
