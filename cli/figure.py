"""`mnistcompose figure`: the paper's figures, from our datasets and runs."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnistcompose.errors import InputError

from .options import LocalPath
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
    help="Folder of runs; repeatable. Figure 3 needs A2 with several FC500[2xM] and the baseline, figure 5 A2 and B2 "
    "with --keep.",
)
@click.option("--dataset", help="Only runs on this dataset.  [default: MNIST-III-10; for figure 5 MNIST-II-05]")
@click.option("--models", default="baseline,A2,A3D,A3S", show_default=True, help="Models of figure 4.")
@click.option("--filters", default=2, show_default=True, help="Number of filters of each model in figure 5.")
@click.option(
    "-o",
    "--out",
    type=LocalPath(),
    help="Path to which .png, .svg and .csv are added.  [default: figureN]",
)
def figure(
    number: str, runs: tuple[Path, ...], dataset: str | None, models: str, filters: int, out: Path | None
) -> None:
    """Draw figure NUMBER of the paper.

    2: the fifteen layouts with samples. 3: error against filters in each branch. 4: losses by epoch. 5: what fused
    filters and their branches respond to. The numbers are written as CSV next to the picture.
    """
    need_torch()
    try:
        from dcl.reporting import figures
    except ModuleNotFoundError as error:
        raise InputError(f"figures need {error.name}: pip install matplotlib") from None
    dataset = dataset or ("MNIST-II-05" if number == "5" else "MNIST-III-10")
    out = out or Path(f"figure{number}")
    match number:
        case "2":
            _write(out, *_layouts())
        case "3":
            rows = figures.branch_filters(_records(runs, dataset))
            _write(out, figures.draw_filters(rows), figures.as_csv(figures.FILTERS, rows))
        case "4":
            order = models.split(",")
            records = [r for r in _records(runs, dataset) if r["determined_by"]["model"] in order]
            records.sort(key=lambda r: (order.index(r["determined_by"]["model"]), r["determined_by"]["seed"]))
            if not records:
                raise InputError(f"{_listed(runs)}: no run of {models} on {dataset}")
            rows = figures.loss_curves(records)
            first = records[0]["determined_by"]["seed"]
            _write(out, figures.draw_curves([r for r in rows if r[2] == first]), figures.as_csv(figures.CURVES, rows))
        case _:
            rows, sentences = _responses(runs, dataset, filters)
            _write(out, figures.draw_responses(rows), figures.as_csv(figures.RESPONSES, rows))
            for sentence in sentences:
                click.echo(sentence)
    click.echo(f"{out}.png, {out}.svg, {out}.csv")


def _listed(runs: tuple[Path, ...]) -> str:
    return ", ".join(map(str, runs))


def _records(runs: tuple[Path, ...], dataset: str) -> list[dict[str, Any]]:
    from dcl.experiments.run_file import FINISHED, read_records, status_of

    stored = [record for folder in runs for record in read_records(folder).values()]
    found = [each for each in stored if each["determined_by"]["dataset"] == dataset and status_of(each) == FINISHED]
    if not found:
        raise InputError(
            f"{_listed(runs)}: no runs on {dataset}; mnistcompose compare {dataset} --out {runs[-1]} makes them"
        )
    return found


def _layouts() -> tuple["Figure", str]:
    """The contact sheet of all layouts, and their fields."""
    import json

    import numpy as np
    from matplotlib.figure import Figure

    from dcl.reporting.figures import as_csv
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
    return drawn, as_csv(("dataset", "slot", "composite", "noise", "fields"), rows)


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

    from mnistcompose.storage.files import failing, write_file

    with failing("write", out):
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        content = io.BytesIO()
        with rc_context({"svg.hashsalt": "mnistcompose"}):
            drawn.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else {"Software": None})
        write_file(out.with_name(f"{out.name}.{kind}"), content.getvalue())
    write_file(out.with_name(f"{out.name}.csv"), numbers.encode())
