"""A real browser without a window, for benchmarks and tests: Debian's or anyone's Chromium; nothing is downloaded."""

import shutil

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

NEEDED = "needs chromium and chromedriver (apt install chromium chromium-driver)"


def start_chromium(width: int = 1280, height: int = 800) -> webdriver.Chrome | None:
    """A driver that keeps the console's log; None where there is no Chromium, or no driver for it."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not found or not driver:
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"):
        options.add_argument(each)
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))
