"""The content of a report about stored runs, as plain data; `dcl.reporting.html` renders it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistcompose import __version__
from mnistcompose.building.digests import published_digests
from mnistcompose.digits.source import Digits
from mnistcompose.errors import InputError
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.quantities import counted

from ..experiments.run_file import FINISHED, Record, status_of
from .charts import Chart, Dot, Line, dot_chart, line_chart
from .misreadings import Reading, find_truth, reading_of
from .published import agreement, as_sentences
from .table import Row, check_alike, error_cell, model_order, summarise

PLACES = ("run.json", "*/*.json", "*/*/run.json")  # of one run, of a grid, of several calls of `train`


@dataclass(frozen=True)
class Section:
    """The part of a report about one dataset."""

    name: str
    description: str
    rows: list[Row]
    measured_on: str
    images: int
    data_seed: int
    digests: list[tuple[str, int | None, str, bool]]  # of what, images, SHA-256, whether it is the published one
    charts: list[Chart]
    key: list[tuple[str, int]]  # models and their colours
    reading: Reading | None
    unread: str  # why there is no `reading`


@dataclass(frozen=True)
class Report:
    """A whole report."""

    title: str
    version: str
    rows: list[Row]
    models: list[str]
    datasets: list[str]
    sentences: list[str]  # how our Table 1 and the paper's agree
    sections: list[Section]
    runs: list[dict[str, Any]]
    seconds: float
    epochs: list[int]
    measured_on: list[str]
    machines: list[tuple[dict[str, Any], int, float]]  # environment, runs, their seconds
    recipes: list[tuple[dict[str, Any], int]]
    networks: list[tuple[str, str, int]]  # model, notation, parameters

    @property
    def beside_paper(self) -> bool:
        """Whether a number of the paper stands next to one of ours."""
        return any(row.paper_percent is not None for row in self.rows)


def make_report(
    records: Mapping[Path, Record],
    *,
    root: Path,
    layouts: Iterable[LayoutSpec] = (),
    digits: Digits = None,
    title: str | None = None,
) -> Report:
    """Gather the content of a report about runs.

    Parameters
    ----------
    records : mapping
        Runs by path, at least one; weights are looked for next to them.
    root : Path
        Folder to which the paths in the report are relative.
    layouts : iterable of LayoutSpec
        Layouts in which those of the runs are looked up by their digests.
    digits : Path or DigitSource, optional
        Folder of the digit set that the images were made of; without it, the bundled MNIST.

    Raises
    ------
    InputError
        The runs do not belong in one table.
    BuildError
        A run contradicts the images, or kept weights are damaged.
    """
    check_alike(records.values(), records)
    rows = summarise(records.values())
    records = {path: record for path, record in records.items() if status_of(record) == FINISHED}
    if not records:
        raise InputError(f"{root}: none of its runs has a result; {error_cell(rows[0])}")
    models = list(dict.fromkeys(row.model for row in sorted(rows, key=lambda row: model_order(row.model))))
    colors = {model: index for index, model in enumerate(models)}
    known = {layout.digest: layout for layout in layouts}
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.runs))
    by_dataset: dict[str, dict[Path, Record]] = {name: {} for name in datasets}
    for path, record in sorted(records.items(), key=lambda item: _place(item[1])):
        by_dataset[record["determined_by"]["dataset"]][path] = record
    ordered = [(path, record) for runs in by_dataset.values() for path, record in runs.items()]
    machines = _distinct((_environment(r), r) for _, r in ordered)
    recipes = _distinct(
        ({**r["determined_by"]["recipe"], "precision": r["determined_by"]["precision"]}, r) for _, r in ordered
    )
    return Report(
        title or f"{counted(len(records), 'run')} on {counted(len(datasets), 'dataset')}",
        __version__,
        rows,
        models,
        datasets,
        [line.removeprefix("- ") for line in as_sentences(agreement(rows)).splitlines()],
        [
            _section(runs, [row for row in rows if row.dataset == name], colors, known, digits)
            for name, runs in by_dataset.items()
        ],
        [
            {
                **{key: record["determined_by"][key] for key in ("dataset", "model", "seed", "epochs")},
                "error": record["error_percent"],
                "seconds": record["seconds"],
                "machine": next(i for i, (each, _) in enumerate(machines, 1) if each == _environment(record)),
                "ended": record.get("environment", {}).get("ended", ""),
                "file": path.relative_to(root).as_posix(),
            }
            for path, record in ordered
        ],
        sum(record["seconds"] for _, record in ordered),
        sorted({record["determined_by"]["epochs"] for _, record in ordered}),
        sorted({record["determined_by"]["measured_on"] for _, record in ordered}),
        [(each, len(runs), sum(run["seconds"] for run in runs)) for each, runs in machines],
        [(each, len(runs)) for each, runs in recipes],
        sorted(
            {
                (r["determined_by"]["model"], r["determined_by"].get("notation") or "", r["parameters"])
                for _, r in ordered
            },
            key=lambda each: (model_order(each[0]), each),
        ),
    )


def _environment(record: Record) -> dict[str, Any]:
    """Software and machine of a run, without the time."""
    return {key: value for key, value in record.get("environment", {}).items() if key != "ended"}


def _place(record: Record) -> tuple[str, tuple[int, str], int]:
    run = record["determined_by"]
    return run["dataset"], model_order(run["model"]), run["seed"]


def _distinct(found: Iterable[tuple[dict[str, Any], Record]]) -> list[tuple[dict[str, Any], list[Record]]]:
    """Group runs by equal values, in the order in which the values are found."""
    groups: list[tuple[dict[str, Any], list[Record]]] = []
    for each, record in found:
        group = next((runs for same, runs in groups if same == each), None)
        if group is None:
            groups.append((each, group := []))
        group.append(record)
    return groups


def _section(
    runs: Mapping[Path, Record],
    rows: list[Row],
    colors: Mapping[str, int],
    layouts: Mapping[str, LayoutSpec],
    digits: Digits,
) -> Section:
    run = next(iter(runs.values()))["determined_by"]
    layout = layouts.get(run.get("spec") or "")
    reading, unread = None, ""
    try:
        reading = reading_of(runs, rows, find_truth(run, layouts, digits))
    except InputError as error:
        unread = str(error)
    published = published_digests().get(run["dataset"], {})
    splits = [
        (name, entry["images"], entry.get("sha256") or "", published.get(name) == entry.get("sha256") is not None)
        for name, entry in run["splits"].items()
    ]
    others = [(name, None, run[key], False) for name, key in (("layout", "spec"), ("digits", "digits")) if run.get(key)]
    return Section(
        run["dataset"],
        " ".join(layout.description.split()) if layout else "",
        rows,
        run["measured_on"],
        run["splits"][run["measured_on"]]["images"],
        run.get("data_seed", 0),
        [*others, *splits],
        _charts(list(runs.values()), rows, colors),
        [(row.model, colors[row.model]) for row in rows],
        reading,
        unread,
    )


def _charts(records: Sequence[Record], rows: Sequence[Row], colors: Mapping[str, int]) -> list[Chart]:
    def lines(key: str, note: str = "", dashed: bool = False) -> list[Line]:
        return [
            Line(f"{run['model']}, seed {run['seed']}{note}", colors[run["model"]], tuple(r["history"][key]), dashed)
            for r in records
            for run in [r["determined_by"]]
        ]

    split = records[0]["determined_by"]["measured_on"]
    dots = [
        Dot(row.model, colors[row.model], row.parameters, row.error_percent, row.std_percent or 0)
        for row in rows
        if row.parameters is not None and row.error_percent is not None
    ]
    return [
        line_chart(f"Error on {split} images by epoch", "error, %", lines("test_error"), " %"),
        line_chart(
            f"Loss by epoch, in training (dashed) and on {split} images",
            "loss",
            [*lines("train_loss", ", training", True), *lines("test_loss", f", {split}")],
        ),
        dot_chart("One dot per model; bars: standard deviations over run seeds", "parameters", "error, %", dots, " %"),
    ]
