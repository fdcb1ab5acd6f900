"""How long the studio's page takes from the move of a slider to new samples on the screen, in a real browser.

    python benchmarks/studio.py

Needs chromium and chromedriver, but no display. The page itself measures: from the slider's `input` event to the first
moment after the frame that has the new pictures. Several sliders take turns, each move goes to a new value.
"""

import json
import subprocess
import sysconfig
from pathlib import Path
from statistics import median
from typing import Any

import click
from chromium import NEEDED, start_chromium
from report import machine, table
from rich.console import Console
from selenium import webdriver

from mnistcompose.storage.files import write_file

SLIDERS = ("digit.scale.uniform.1", "digit.rotation.normal.1", "slots.0.center.0", "noise.gaussian.uniform.1")

# One move: the slider goes to a share of its way; answers with milliseconds to the samples' arrival and to the screen.
MOVE = """
const [name, share, done] = arguments;
const slider = document.querySelector(`[data-slider="${name}"]`);
const [low, high] = [Number(slider.min), Number(slider.max)];
slider.value = low + share * (high - low);
const shown = () => [...document.querySelectorAll('#grid canvas')].map((canvas) => canvas.toDataURL()).join();
const before = shown();
const started = performance.now();
addEventListener('answered', () => {
  const drawn = performance.now() - started;
  requestAnimationFrame(() => setTimeout(() => {
    const painted = performance.now() - started;
    done({ slider: name, drawn, painted, changed: shown() !== before });
  }));
}, { once: true });
slider.dispatchEvent(new Event('input', { bubbles: true }));
"""


def measure(page: webdriver.Chrome, moves: int) -> list[dict[str, Any]]:
    page.set_script_timeout(60)
    made = []
    for index in range(moves + len(SLIDERS)):
        share = 0.15 + 0.7 * (index * 0.618 % 1)
        made.append(page.execute_async_script(MOVE, SLIDERS[index % len(SLIDERS)], share))
    return made[len(SLIDERS) :]  # the first move of each slider warms up


@click.command()
@click.option("--spec", default="MNIST-III-10", show_default=True)
@click.option("--moves", default=50, show_default=True)
@click.option("--note", default="", help="What else ran on the machine.")
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/studio.json", show_default=True)
def main(spec: str, moves: int, note: str, out: Path) -> None:
    """Start the studio and a browser, move its sliders, and write every move's milliseconds."""
    command = [str(Path(sysconfig.get_path("scripts")) / "mnistcompose"), "studio", spec, "--no-browser"]
    page = start_chromium()
    if page is None:
        raise click.ClickException(NEEDED)
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        page.get(server.stdout.readline().strip() if server.stdout else "")
        page.implicitly_wait(30)
        page.find_element("css selector", f"[data-slider='{SLIDERS[0]}']")
        rows = measure(page, moves)
        version = page.capabilities["browserVersion"]
    finally:
        page.quit()
        server.terminate()
        server.wait()
    still = [row["slider"] for row in rows if not row["changed"]]
    if still:
        raise click.ClickException(f"{len(still)} moves changed no picture: {', '.join(sorted(set(still)))}")
    lines = []
    for name in ("all", *SLIDERS):
        own = [row for row in rows if name in ("all", row["slider"])]
        drawn, painted = ([row[key] for row in own] for key in ("drawn", "painted"))
        lines.append(
            [name, str(len(own)), *(f"{value:.1f}" for value in (median(drawn), median(painted), max(painted)))]
        )
    head = ("slider", "moves", "drawn, median ms", "on the screen, median ms", "worst ms")
    Console(markup=False, highlight=False).print(table(f"{spec}, 64 samples, chromium {version}", head, lines))
    report = {"benchmark": "studio", "spec": spec, "browser": f"chromium {version}", "note": note, "moves": rows}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, json.dumps({**report, "machine": machine("starlette", "uvicorn")}, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
