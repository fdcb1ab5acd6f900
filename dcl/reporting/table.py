"""The runs of a grid as one table: means, spreads, and paired intervals, with the paper's tables next to them."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistcompose.digits.bank import Split, load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.names import bundled_names, load_spec
from mnistcompose.rendering.draws import draw

from ..experiments.registry import MODELS
from ..experiments.run_file import DIVERGED, FAILED, FINISHED, Record, comparable, hashes_images, status_of
from ..models.networks import IMAGE_NETWORKS, without_dcl
from .protocol import NOTE, follows_protocol
from .statistics import Difference, mean_and_std, paired_difference, relative_drop, sharing_sources


def paper_notation(mean: float, std: float | None) -> str:
    """Write percentages as the paper does: 9.14(07) is 9.14 with a standard deviation of 0.07."""
    return f"{mean:.2f}" if std is None else f"{mean:.2f}({round(100 * std):02d})"


# --- the table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One model on one dataset. Errors in percent of the images that were measured."""

    dataset: str
    model: str
    error_percent: float | None  # None where no run has a result
    std_percent: float | None  # over run seeds; None with a single one
    runs: int  # with a result
    paper_percent: float | None
    paper_std_percent: float | None
    difference: float | None  # to the baseline, of the seeds that both have, percentage points
    low: float | None
    high: float | None
    gain_percent: float | None  # (baseline - model) / baseline
    paper_gain_percent: float | None
    epochs: int
    parameters: int | None
    seconds: float | None  # of training, per run
    top5_percent: float | None = None  # of images whose class is not among the five best guesses
    diverged: int = 0  # runs whose loss diverged
    failed: int = 0
    top5_gain_percent: float | None = None  # as `gain_percent`, of the top-5 errors


@cache
def paper_table() -> dict[tuple[str, str], tuple[float, float]]:
    """Mean and standard deviation of the error in percent, by dataset and model: the paper's Table 1."""
    text = (files("dcl.reporting") / "table1.csv").read_text()
    rows = csv.DictReader(io.StringIO(text))
    return {(r["dataset"], r["model"]): (float(r["error_percent"]), float(r["std_percent"])) for r in rows}


@cache
def paper_table2() -> dict[tuple[str, str], float]:
    """Error in percent, by dataset and network: the paper's Table 2, and section 4.2.2's top-1 and top-5 errors."""
    text = (files("dcl.reporting") / "table2.csv").read_text()
    return {(r["dataset"], r["network"]): float(r["error_percent"]) for r in csv.DictReader(io.StringIO(text))}


def baseline_of(model: str) -> str:
    """Model to compare with: for a network for images itself without DCL, for all others the baseline."""
    return without_dcl(model) if model in IMAGE_NETWORKS else "baseline"


def _published(dataset: str, model: str) -> tuple[float | None, float | None]:
    """Mean and standard deviation in the paper."""
    return paper_table().get((dataset, model)) or (paper_table2().get((dataset, model)), None)


def model_order(model: str) -> tuple[int, str]:
    """Sort key: models in the paper's order, then those in the notation."""
    known = (*MODELS, *IMAGE_NETWORKS)
    return known.index(model) if model in known else len(known), model


_IMAGES = ("data_seed", "digits", "measured_on", "spec", "splits")  # what determines a dataset's images


def first_difference(
    record: Record, other: Record, ignoring: Sequence[str] = (), only: Sequence[str] | None = None
) -> str | None:
    """Describe how two runs differ, apart from seeds and the keys to ignore; None if they may be averaged."""
    one, two = (
        {k: v for k, v in each.items() if k not in ("seed", *ignoring) and v not in (None, {})}
        for each in comparable(record["determined_by"], other["determined_by"])
    )
    keys = sorted(one.keys() | two.keys()) if only is None else only
    key = next((key for key in keys if one.get(key) != two.get(key)), None)
    if key is None:
        return None
    found, wanted = one.get(key), two.get(key)
    while isinstance(found, dict) and isinstance(wanted, dict):
        part = next(part for part in sorted({*found, *wanted}) if found.get(part) != wanted.get(part))
        key, found, wanted = f"{key}.{part}", found.get(part), wanted.get(part)
    return f"differ in {key} ({found!r} and {wanted!r})"


def check_alike(records: Iterable[Record], names: Iterable[object] | None = None) -> None:
    """Refuse runs that do not belong in one table.

    These are two runs of one dataset, model and seed; runs of one dataset on different images; and runs of one model on
    one dataset that differ in more than the seed.

    Parameters
    ----------
    names
        What messages call the runs, such as their files. Without it, dataset, model and seed.

    Raises
    ------
    InputError
        The message names two runs, how they differ, and both values.
    """
    records = list(records)
    first: dict[tuple[Any, ...], tuple[object, Record]] = {}
    named = list(zip(records, map(_run_name, records) if names is None else names, strict=True))
    # runs without hashes of their images come last: the first of a dataset is compared with all others
    for record, name in sorted(named, key=lambda pair: not hashes_images(pair[0]["determined_by"])):
        run = record["determined_by"]
        dataset, model, seed = run["dataset"], run["model"], run["seed"]
        for key, only in (((dataset,), _IMAGES), ((dataset, model), None)):
            other, earlier = first.setdefault(key, (name, record))
            if unlike := first_difference(earlier, record, only=only):
                raise InputError(f"{other} and {name} {unlike}; give each set of runs a folder")
        if twin := first.get((dataset, model, seed)):
            raise InputError(
                f"{twin[0]} and {name} have the same dataset, model and seed ({dataset} {model} {seed}); give each set "
                "of runs a folder"
            )
        first[dataset, model, seed] = name, record


def _run_name(record: Record) -> str:
    run = record["determined_by"]
    return f"{run['dataset']} {run['model']} seed {run['seed']}"


def summarise(records: Iterable[Record]) -> list[Row]:
    """Rows of the table, by dataset and model; models in the paper's order.

    Raises
    ------
    InputError
        As `check_alike`.
    """

    def place(record: Record) -> tuple[str, tuple[int, str]]:
        run = record["determined_by"]
        return run["dataset"], model_order(run["model"])

    rows = []
    ordered = sorted(records, key=lambda record: (place(record), record["determined_by"]["seed"]))
    for dataset, of_dataset in groupby(ordered, lambda record: place(record)[0]):
        runs = list(of_dataset)
        check_alike(runs)
        by_model = {key[1][1]: list(group) for key, group in groupby(runs, place)}
        rows += [_row(dataset, model, group, by_model.get(baseline_of(model), [])) for model, group in by_model.items()]
    return rows


def _row(dataset: str, model: str, of_model: list[Record], of_baseline: list[Record]) -> Row:
    group, baseline = ([r for r in runs if status_of(r) == FINISHED] for runs in (of_model, of_baseline))
    run = of_model[0]["determined_by"]
    mean, std = mean_and_std([record["error_percent"] for record in group]) if group else (None, None)
    top5 = [error for record in group if (error := record.get("top5_error_percent")) is not None]
    paper, paper_std = _published(dataset, model) if follows_protocol(run) else (None, None)
    paper_base, _ = _published(dataset, baseline_of(model))
    interval: tuple[float | None, float | None, float | None] = (None, None, None)
    gain = paper_gain = top5_gain = None
    base = {record["determined_by"]["seed"]: record for record in baseline}
    shared = [r for r in group if r["determined_by"]["seed"] in base]
    if model != baseline_of(model) and shared:
        counterparts = [base[r["determined_by"]["seed"]] for r in shared]
        difference = difference_of(shared, counterparts)
        interval = (difference.mean, difference.low, difference.high)
        gain = _gain("error_percent", shared, counterparts)
        top5_gain = _gain("top5_error_percent", shared, counterparts)
        if paper and paper_base and follows_protocol(counterparts[0]["determined_by"]):
            paper_gain = relative_drop(paper, paper_base)
    return Row(
        dataset,
        model,
        mean,
        std,
        len(group),
        paper,
        paper_std,
        *interval,
        gain,
        paper_gain,
        run["epochs"],
        group[0]["parameters"] if group else None,
        mean_and_std([record["seconds"] for record in group])[0] if group else None,
        mean_and_std(top5)[0] if top5 and len(top5) == len(group) else None,
        sum(status_of(record) == DIVERGED for record in of_model),
        sum(status_of(record) == FAILED for record in of_model),
        top5_gain,
    )


def _gain(error: str, ours: Sequence[Record], theirs: Sequence[Record]) -> float | None:
    """Relative drop of a mean error against the runs of the same seeds; None where a run lacks it."""
    errors = [[record.get(error) for record in runs] for runs in (ours, theirs)]
    if any(each is None for runs in errors for each in runs):
        return None
    return relative_drop(*(float(np.mean(np.array(runs, np.float64))) for runs in errors))


def difference_of(ours: Sequence[Record], theirs: Sequence[Record]) -> Difference:
    """Paired difference of two models on one dataset, seed by seed; its interval accounts for shared digits."""
    return paired_difference(errors_of(ours), errors_of(theirs), sharing=sharing_of(ours[0]))


def sharing_of(record: Record) -> Any:
    """`sharing_sources` of the measured images; None unless layout and digits are bundled ones."""
    run = record["determined_by"]
    split, layout = run["measured_on"], bundled_layouts().get(run.get("spec") or "")
    if layout is None or run.get("digits") != load_digits(split).digest:
        return None
    return _sharing(layout.digest, split, run["splits"][split]["images"], run["data_seed"])


@cache
def _sharing(layout: str, split: Split, images: int, seed: int) -> Any:
    return sharing_sources(draw(bundled_layouts()[layout], split, 0, images, seed, load_digits(split)).source)


@cache
def bundled_layouts() -> dict[str, LayoutSpec]:
    """Bundled layouts by their digests."""
    return {layout.digest: layout for layout in map(load_spec, bundled_names())}


def errors_of(records: Sequence[Record]) -> NDArray[np.bool_]:
    """Whether each run was wrong about each image: bool (runs, images)."""
    run = records[0]["determined_by"]
    wrong = np.zeros((len(records), run["splits"][run["measured_on"]]["images"]), np.bool_)
    for row, record in zip(wrong, records, strict=True):
        row[record["wrong"]] = True
    return wrong


def _optional(template: str, *values: float | None) -> str:
    return "" if None in values else template.format(*values)


def error_cell(row: Row) -> str:
    """Error of the runs with a result, in the paper's notation; then how many have none, as in 9.14(07), 1 diverged."""
    parts = [] if row.error_percent is None else [paper_notation(row.error_percent, row.std_percent)]
    parts += [f"{n} {name}" for n, name in ((row.diverged, DIVERGED), (row.failed, FAILED)) if n]
    return ", ".join(parts)


def paper_note(rows: Iterable[Row]) -> str:
    """Return the note for a table that has the paper's numbers of a layout; empty for others."""
    return NOTE if any(row.paper_percent is not None and row.model not in IMAGE_NETWORKS for row in rows) else ""


def difference_cell(row: Row) -> str:
    """Difference to the baseline in percentage points, with its 95 % interval; empty where there is none."""
    return _optional("{:+.2f} [{:+.2f}, {:+.2f}]", row.difference, row.low, row.high)


COLUMNS: dict[str, Callable[[Row], str]] = {
    "dataset": lambda row: row.dataset,
    "model": lambda row: row.model,
    "error %": error_cell,
    "paper %": lambda row: (
        "" if row.paper_percent is None else paper_notation(row.paper_percent, row.paper_std_percent)
    ),
    "to baseline [95 %]": difference_cell,
    "gain %": lambda row: _optional("{:.1f}", row.gain_percent),
    "paper's": lambda row: _optional("{:.1f}", row.paper_gain_percent),
    "parameters": lambda row: _optional("{:,}", row.parameters),
    "runs": lambda row: str(row.runs),
    "epochs": lambda row: str(row.epochs),
    "seconds": lambda row: _optional("{:.0f}", row.seconds),
}


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Write a Markdown table whose first `texts` columns are text, and whose others are right-aligned numbers."""
    rule = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))


def as_markdown(rows: Sequence[Row]) -> str:
    """Write the table in Markdown."""
    return markdown_table(list(COLUMNS), [[show(row) for show in COLUMNS.values()] for row in rows], texts=2)


def as_csv(rows: Sequence[Row]) -> str:
    """Write every field of every row as CSV, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    writer.writerows(map(astuple, rows))
    return text.getvalue().rstrip("\n")


def as_json(rows: Sequence[Row]) -> str:
    """Write every field of every row as JSON, unrounded."""
    return json.dumps([asdict(row) for row in rows], indent=1)
