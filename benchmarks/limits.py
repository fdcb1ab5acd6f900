"""How close the kernel is to what the machine can do: the least work of an image, and the rates at which it could go.

    python benchmarks/limits.py

Counts, from the draws, what no renderer of this definition can leave out: bytes that come from memory or go there,
look-ups of source pixels (one a canvas pixel that a crop covers, four neighbours at once) and of normal quantiles,
multiply-adds of interpolation and resize, words of noise. Measures how fast one thread does each of them and nothing
else, in loops compiled as the kernel is, on data in the nearest cache; the sum of the quotients is the limit.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import click
import numpy as np
from numba import njit
from report import machine
from rich.console import Console
from rich.table import Table

from mnistcompose.digits.bank import DigitBank, load_digits
from mnistcompose.layout.model import SIZE, LayoutSpec
from mnistcompose.layout.names import load_spec
from mnistcompose.rendering.draws import Draws, draw
from mnistcompose.rendering.geometry import geometry
from mnistcompose.rendering.noise import mix
from mnistcompose.rendering.render import render

REPEATS = 2000
compiled = njit(nogil=True, error_model="numpy")


@compiled
def look_up(table: Any, places: Any, out: Any) -> None:
    for _ in range(REPEATS):
        for i in range(len(places)):
            out[i] = table[places[i]]


@compiled
def multiply_add(a: Any, b: Any, out: Any) -> None:
    for _ in range(REPEATS):
        for i in range(len(a)):
            out[i] += a[i] * b[i]


@compiled
def random_words(out: Any) -> None:
    for repeat in range(REPEATS):
        for i in range(len(out)):
            out[i] = mix(np.uint64(repeat) + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15))


def rates() -> dict[str, float]:
    """Operations a second of one thread: bytes copied, look-ups, multiply-adds of 32 bits, random words."""
    generator, size = np.random.default_rng(0), 1024
    table, places = np.zeros(size, np.uint32), generator.integers(0, size, size, np.uint32)
    a, b, out = (np.ones(size, np.uint32) for _ in range(3))
    words, large, other = np.zeros(size, np.uint64), np.ones(1 << 27, np.uint8), np.ones(1 << 27, np.uint8)
    work: dict[str, tuple[Callable[[], object], int]] = {
        "bytes": (lambda: np.copyto(other, large), 2 * large.size),
        "look-ups": (lambda: look_up(table, places, out), REPEATS * size),
        "multiply-adds": (lambda: multiply_add(a, b, out), REPEATS * size),
        "random words": (lambda: random_words(words), REPEATS * size),
    }
    return {name: count / fastest(function) for name, (function, count) in work.items()}


def fastest(work: Callable[[], object], turns: int = 9) -> float:
    work()  # compiles
    return min(seconds(work) for _ in range(turns))


def seconds(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


def least_work(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> dict[str, float]:
    """What an average image takes at least."""
    place = geometry(bank, spec, draws)
    side = (place.end >> 20).astype(float)  # of a crop, and one more
    covered = (side / np.hypot(place.step, place.down) * 2**20).prod(-1).sum(1).mean()
    width, height = ((place.low + place.frame).max(1) - place.low.min(1)).mean(0)
    taps = [max(1.0, length / SIZE) + 1 for length in (width, height)]  # pixels that an output overlaps
    noise = SIZE * SIZE * float(bool(draws.gaussian.any()))
    return {
        "bytes": float(side.prod(-1).sum(1).mean()) + SIZE * SIZE,
        "look-ups": float(covered + noise),
        "multiply-adds": float(6 * covered + SIZE * height * taps[0] + SIZE * SIZE * taps[1] + noise),
        "random words": noise + SIZE * SIZE * float(bool(draws.impulse.any()) and not noise),
    }


@click.command()
@click.option("--layout", default="MNIST-III-10", show_default=True)
@click.option("--images", default=20_000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/limits.json", show_default=True)
def main(layout: str, images: int, out: Path) -> None:
    """Measure, print a table, and write JSON."""
    bank, spec = load_digits("train"), load_spec(layout)
    draws = draw(spec, "train", 0, images, 0, bank)
    work, speed = least_work(bank, spec, draws), rates()
    render(bank, spec, draws)
    taken = median(seconds(lambda: render(bank, spec, draws)) for _ in range(9)) / images
    least = {name: work[name] / speed[name] for name in work}
    table = Table("", "an image", "a second", "ns an image", title=f"{layout}, one thread")
    for name, count in work.items():
        table.add_row(name, f"{count:,.0f}", f"{speed[name] / 1e9:,.2f} G", f"{least[name] * 1e9:,.0f}")
    table.add_section()
    table.add_row("together", "", "", f"{sum(least.values()) * 1e9:,.0f}")
    table.add_row("the kernel", "", "", f"{taken * 1e9:,.0f}")
    for column in table.columns[1:]:
        column.justify = "right"
    table.caption = f"the kernel is at {sum(least.values()) / taken:.0%} of the limit"
    Console().print(table)
    result = {"layout": layout, "work": work, "rates": speed, "seconds_least": least, "seconds_taken": taken}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**result, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
