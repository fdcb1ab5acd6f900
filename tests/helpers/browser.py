"""A real browser for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def open_browser(width: int = 1280, height: int = 900) -> Iterator:
    """A Selenium driver; where there is no Chromium, the test is skipped."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    from chromium import NEEDED, start_chromium

    browser = start_chromium(width, height)
    if browser is None:
        pytest.skip(NEEDED)
    try:
        yield browser
    finally:
        browser.quit()


def console(browser) -> list[str]:
    """What the page, or the browser about it, wrote to the console since the last call."""
    return [entry["message"] for entry in browser.get_log("browser")]
