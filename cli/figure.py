"""`mnistcompose figure`: the paper's figures, from our datasets and runs."""

import csv
import io
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnistcompose.errors import InputError

from .options import AS_JSON, LocalPath, complete_layouts, models_option, split_paths
from .train import need_torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@click.command()
@click.argument("number", type=click.Choice(["2", "3", "4", "5"]))
@click.option(
    "--runs",
    type=LocalPath(),
    multiple=True,
    default=[Path("results/table1"), Path("results/figures")],
    show_default=True,
    callback=split_paths,
    help="Folder of runs; repeatable, or with commas. Figure 3 needs A2 with several FC500[2xM] and the baseline, "
    "figure 5 A2 and B2 with --keep.",
)
@click.option(
    "--dataset",
    shell_complete=complete_layouts,
    help="Only runs on this dataset.  [default: MNIST-III-10; for figure 5 MNIST-II-05]",
)
@models_option("baseline", "A2", "A3D", "A3S", help="Models of figure 4, separated by commas or in repeated options.")
@click.option(
    "--filters",
    type=click.IntRange(1, 100),
    default=2,
    show_default=True,
    help="Number of filters of each model in figure 5.",
)
@click.option(
    "-o",
    "--out",
    type=LocalPath(),
    help="Path to which .png, .svg and .csv are added.  [default: figureN]",
)
@AS_JSON
def figure(
    number: str,
    runs: tuple[Path, ...],
    dataset: str | None,
    models: tuple[str, ...],
    filters: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw figure NUMBER of the paper.

    2: the fifteen layouts with samples. 3: error against filters in each branch. 4: losses by epoch. 5: what fused
    filters and their branches respond to. The numbers are written as CSV next to the picture.
    """
    if find_spec("matplotlib") is None:
        raise InputError("figures need matplotlib: pip install matplotlib")
    out = out or Path(f"figure{number}")
    if not out.name:
        raise InputError(f"--out {out}: should end in a name, as in figures/figure{number}")
    sentences = _draw(out, number, runs, dataset, models, filters)
    files = [f"{out}.{kind}" for kind in ("png", "svg", "csv")]
    if as_json:
        click.echo(json.dumps({"figure": int(number), "files": files, "sentences": sentences}))
        return
    click.echo("\n".join([*sentences, ", ".join(files)]))


def _draw(
    out: Path, number: str, runs: tuple[Path, ...], dataset: str | None, models: tuple[str, ...], filters: int
) -> list[str]:
    """Write a figure's files; return what it says in words."""
    if number == "2":
        _write(out, *_layouts())
        return []
    need_torch()
    from dcl.reporting import figures

    dataset = dataset or ("MNIST-II-05" if number == "5" else "MNIST-III-10")
    sentences: list[str] = []
    match number:
        case "3":
            rows = figures.branch_filters(_records(runs, dataset))
            _write(out, figures.draw_filters(rows), _csv(figures.FILTERS, rows))
        case "4":
            records = [r for r in _records(runs, dataset) if r["determined_by"]["model"] in models]
            records.sort(key=lambda r: (models.index(r["determined_by"]["model"]), r["determined_by"]["seed"]))
            if not records:
                raise InputError(f"{_listed(runs)}: no run of {', '.join(models)} on {dataset}")
            rows = figures.loss_curves(records)
            _write(out, figures.draw_curves(rows), _csv(figures.CURVES, rows))
        case _:
            rows, sentences = _responses(runs, dataset, filters)
            _write(out, figures.draw_responses(rows), _csv(figures.RESPONSES, rows))
    return sentences


def _csv(header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([tuple(header), *rows])
    return text.getvalue()


def _listed(runs: tuple[Path, ...]) -> str:
    return ", ".join(map(str, runs))


def _records(runs: tuple[Path, ...], dataset: str) -> list[dict[str, Any]]:
    from dcl.experiments.run_file import FINISHED, read_records, status_of
    from dcl.reporting.table import check_alike

    found = {
        path: record
        for folder in runs
        for path, record in read_records(folder).items()
        if record["determined_by"]["dataset"] == dataset and status_of(record) == FINISHED
    }
    if not found:
        raise InputError(
            f"{_listed(runs)}: no runs on {dataset}; mnistcompose compare {dataset} --out {runs[-1]} makes them"
        )
    check_alike(found.values(), found)
    return list(found.values())


def _layouts() -> tuple["Figure", str]:
    """The contact sheet of all layouts, and their fields."""
    import numpy as np
    from matplotlib.figure import Figure

    from mnistcompose.layout.names import load_spec, spec_names
    from mnistcompose.preview import compose_samples, overview

    specs = [load_spec(name) for name in spec_names()]
    sheet = np.asarray(overview([compose_samples(spec, 8) for spec in specs], 4))
    drawn = Figure((7.0, 7.0 * sheet.shape[0] / sheet.shape[1]), dpi=sheet.shape[1] / 7.0)
    drawn.figimage(sheet)
    rows: list[tuple[Any, ...]] = [
        (spec.name, index, spec.composite, json.dumps(spec.noise.model_dump(mode="json")), json.dumps(slot))
        for spec in specs
        for index, slot in enumerate(slot.model_dump(mode="json") for slot in spec.placed)
    ]
    return drawn, _csv(("dataset", "slot", "composite", "noise", "fields"), rows)


def _responses(runs: tuple[Path, ...], dataset: str, filters: int) -> tuple[list[tuple[Any, ...]], list[str]]:
    import torch

    from dcl.experiments.inference import images_of_test, load_trained
    from dcl.reporting.figures import agreeing, mean_responses, response_rows

    rows: list[tuple[Any, ...]] = []
    sentences: list[str] = []
    for model in ("A2", "B2"):
        files = [folder / dataset / f"{model}-0.json" for folder in runs]
        trained = load_trained(next((file for file in files if file.with_suffix(".pt").exists()), files[0]))
        test = images_of_test(trained)
        found = mean_responses(
            trained.net, *test, trained.identity["classes"], trained.normalisation.on(torch.device("cpu"))
        )
        rows += response_rows(model, found, filters)
        own, chance = agreeing(found)
        sentences.append(
            f"{model}: {own:.1%} of the fused filters peak where their branches point, {chance:.1%} by chance"
        )
    return rows, sentences


def _write(out: Path, drawn: "Figure", numbers: str) -> None:
    """Write the picture and the numbers, each file atomically; the same input gives the same bytes."""
    from matplotlib import rc_context

    from mnistcompose.storage.files import write_output

    for kind in ("png", "svg"):
        content = io.BytesIO()
        with rc_context({"svg.hashsalt": "mnistcompose"}):
            drawn.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
        write_output(out.with_name(f"{out.name}.{kind}"), content.getvalue())
    write_output(out.with_name(f"{out.name}.csv"), numbers.encode())
