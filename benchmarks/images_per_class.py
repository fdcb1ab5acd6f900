"""Does DCL gain where images per class are few? Writes curve.csv, curve.md and curve.png of results/images-per-class.

    python benchmarks/images_per_class.py

Trains nothing; the folder's README has the commands that do. The runs on 60,000 images are those of Table 1.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from report import ROOT

from dcl.experiments.run_file import Record, read_records
from dcl.reporting.claims import by_model, paired_runs
from dcl.reporting.figures import COLORS, COLUMN
from dcl.reporting.statistics import Difference, relative_drop
from dcl.reporting.table import difference_of, markdown_table

FOLDER = ROOT / "results" / "images-per-class"
LAYOUTS = "MNIST-II-05", "MNIST-III-10"
MODEL = "A3S"


class Point(NamedTuple):
    """The model and the baseline on one layout with so many training images, on the seeds that both have."""

    layout: str
    per_class: float
    epochs: int
    seeds: int
    baseline: float  # mean test error, percent
    error: float
    difference: Difference  # percentage points

    @property
    def gain(self) -> tuple[float, float, float]:
        """Relative drop of the error, and the ends of its interval, percent; the baseline's error counts as exact."""
        ends = self.difference.mean, self.difference.high, self.difference.low
        mean, low, high = (relative_drop(self.baseline + each, self.baseline) or 0.0 for each in ends)
        return mean, low, high


def curve(records: Iterable[Record]) -> list[Point]:
    """A point per layout and number of training images, in this order."""
    groups: dict[tuple[str, float], list[Record]] = defaultdict(list)
    for record in records:
        run = record["determined_by"]
        if run["dataset"] in LAYOUTS and run["model"] in (MODEL, "baseline"):
            groups[run["dataset"], run["splits"]["train"]["images"] / run["classes"] ** run["slots"]].append(record)
    points = []
    for (layout, per_class), group in sorted(groups.items()):
        for pair in paired_runs(by_model(group), MODEL, "baseline", layout):
            error, baseline = (float(np.mean([each["error_percent"] for each in side])) for side in pair)
            epochs = pair[0][0]["determined_by"]["epochs"]
            points.append(Point(layout, per_class, epochs, len(pair[0]), baseline, error, difference_of(*pair)))
    return points


def as_csv(points: list[Point]) -> str:
    """One line per point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("dataset", "images_per_class", "epochs", "seeds", "baseline", MODEL, "difference", "low", "high"))
    for point in points:
        errors = point.baseline, point.error, point.difference.mean, point.difference.low, point.difference.high
        writer.writerow((point.layout, f"{point.per_class:g}", *point[2:4], *(f"{value:.4f}" for value in errors)))
    return text.getvalue()


def as_markdown(points: list[Point]) -> str:
    """One line per point, with the gain."""
    head = ["dataset", "images per class", "epochs", "seeds", "baseline", MODEL, "difference [95 %]", "gain %"]
    lines = [
        [
            *(point.layout, f"{point.per_class:g}", f"{point.epochs}", f"{point.seeds}"),
            *(f"{point.baseline:.2f}", f"{point.error:.2f}"),
            f"{point.difference.mean:+.2f} [{point.difference.low:+.2f}, {point.difference.high:+.2f}]",
            f"{point.gain[0]:+.1f}",
        ]
        for point in points
    ]
    return markdown_table(head, lines)


def draw(points: list[Point]) -> Figure:
    """Gain against images per class, a line per layout."""
    figure = Figure((COLUMN, 2.2), dpi=200, layout="constrained")
    ax = figure.subplots()
    for color, layout in zip(COLORS[1:], LAYOUTS, strict=False):
        mine = [point for point in points if point.layout == layout]
        gains = np.array([point.gain for point in mine]).reshape(-1, 3).T
        bars = abs(gains[1:] - gains[0])
        ax.errorbar(
            [point.per_class for point in mine], gains[0], bars, fmt="o-", ms=3, lw=1, color=color, label=layout
        )
    shown = sorted({point.per_class for point in points})
    ax.axhline(0, color=COLORS[0], ls="--", lw=1)
    ax.set_xscale("log")
    ax.set_xticks(shown, [f"{each:g}" for each in shown])
    ax.minorticks_off()
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel("training images per class", fontsize=8)
    ax.set_ylabel(f"gain of {MODEL}, %", fontsize=8)
    ax.legend(fontsize=7, frameon=False)
    return figure


if __name__ == "__main__":
    stored = [read_records(FOLDER, ("*/*/*.json",)), read_records(ROOT / "results" / "table1")]
    found = curve(record for folder in stored for record in folder.values())
    (FOLDER / "curve.csv").write_text(as_csv(found))
    (FOLDER / "curve.md").write_text(as_markdown(found) + "\n")
    draw(found).savefig(FOLDER / "curve.png", metadata={"Software": None})
