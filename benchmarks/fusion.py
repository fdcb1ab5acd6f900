"""The study behind the fusion's bound and the initialisation of DCL's two stages: results/fusion.

    python benchmarks/fusion.py MNIST-III-10,MNIST-II-05 A2,A3D --max-slope 0.5,1,2,5 --epochs 6
    python benchmarks/fusion.py --table        # what is stored so far

Trains on the split `fit` and measures on `validation`: the test set is never touched. Each run is stored as it ends;
the same command again does what is missing.
"""

import json
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click
import torch
from torch import Tensor, nn

from dcl.data.numbers import open_dataset
from dcl.experiments.grid import process_pool
from dcl.models.fusion import DCLLinear
from dcl.models.networks import lenet
from dcl.reporting.claims import dead_outputs
from dcl.reporting.figures import module_responses
from dcl.reporting.table import markdown_table
from dcl.training.device_data import Normaliser
from dcl.training.history import DivergenceError
from dcl.training.loop import fit
from mnistcompose.storage.files import write_file

_LOOKED_AT = 2000  # images in which an output that fires for none counts as dead
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Trial:
    """One training run of the study."""

    layout: str
    model: str
    max_slope: float | None
    initial_bias: float  # mean of the second stage's biases
    initialisation: str  # torch: uniform within 1 / sqrt(fan in); caffe: within sqrt(3 / fan in), biases 0
    seed: int
    epochs: int
    precision: str

    @property
    def file(self) -> str:
        """Name of the run's file."""
        slope = "exact" if self.max_slope is None else f"{self.max_slope:g}"
        return (
            f"{self.layout}/{self.model}-slope{slope}-bias{self.initial_bias:g}-{self.initialisation}-e{self.epochs}"
            f"-{self.precision}-{self.seed}.json"
        )


def prepared(trial: Trial, classes: int) -> tuple[nn.Module, DCLLinear | None]:
    """The network as the trial starts it, and its DCL module if it has one."""
    torch.manual_seed(trial.seed)
    net = lenet(classes, trial.model)
    module = next((each for each in net.modules() if isinstance(each, DCLLinear)), None)
    with torch.no_grad():
        if trial.initialisation == "caffe":
            for parameter in net.parameters():
                bound = 0.0 if parameter.ndim == 1 else (3 / parameter[0].numel()) ** 0.5
                parameter.uniform_(-bound, bound)
        if module is not None and module.mix_bias is not None:
            module.max_slope = trial.max_slope
            present = 0.0 if trial.initialisation == "caffe" else module.initial_bias
            for bias in module.mix_bias:
                bias += trial.initial_bias - present
    return net, module


def dead(net: nn.Module, module: DCLLinear | None, images: Tensor, normalise: Normaliser) -> int | None:
    """Outputs of the module that never fire on the images."""
    if module is None:
        return None
    _, branches = module_responses(net.eval(), images[:_LOOKED_AT], normalise)
    return dead_outputs(branches, module.fusion)


def run(trial: Trial, path: Path) -> dict[str, Any]:
    """Train, and store what came of it; a trial that diverges is stored as such."""
    if path.exists():
        stored: dict[str, Any] = json.loads(path.read_text())
        return stored
    data = open_dataset(trial.layout, validation=True)
    train, held_out = (data.load(split, "number", CPU) for split in data.splits)
    net, module = prepared(trial, data.classes**data.slots)
    fires: list[int | None] = []
    errors: list[float] = []
    losses: list[float] = []

    def report(history: Any) -> None:
        if not fires:
            start, of_start = prepared(trial, data.classes**data.slots)
            fires.append(dead(start, of_start, held_out[0], history.normalisation.on(CPU)))
        fires.append(dead(net, module, held_out[0], history.normalisation.on(CPU)))
        errors.append(history.test_error[-1])
        losses.append(history.train_loss[-1])

    outcome = "ended"
    try:
        fit(
            net,
            train,
            held_out,
            epochs=trial.epochs,
            seed=trial.seed,
            device="cpu",
            precision=trial.precision,  # type: ignore[arg-type]
            progress=report,
        )
    except DivergenceError as error:
        outcome = str(error)
    result = {**asdict(trial), "outcome": outcome, "error_percent": errors, "train_loss": losses, "dead": fires}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, f"{json.dumps(result)}\n".encode())
    return result


def table(results: Sequence[dict[str, Any]]) -> str:
    """Markdown: last validation error, and dead outputs at the start, after the first and the last epoch."""
    layouts = sorted({each["layout"] for each in results}, reverse=True)
    keys = ("model", "initialisation", "initial_bias", "max_slope", "epochs", "precision")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for each in results:
        groups.setdefault(tuple(each[key] for key in keys), []).append(each)
    lines = []
    for key, group in sorted(groups.items(), key=lambda item: str((item[0][4:], item[0][:4]))):
        cells = []
        for layout in layouts:
            found = [each for each in group if each["layout"] == layout]
            last = [each["error_percent"][-1] for each in found if each["outcome"] == "ended"]
            spread = f"({round(100 * stdev(last)):02d})" if len(last) > 1 else ""
            failed = len(found) - len(last)
            cells += [
                (f"{mean(last):.2f}{spread}" if last else "") + (f" {failed} diverged" if failed else ""),
                ", ".join(str(found[0]["dead"][at]) for at in (0, 1, -1))
                if last and found[0]["dead"][0] is not None
                else "",
                str(len(found)),
            ]
        lines.append([*("exact" if part is None else str(part) for part in key), *cells])
    heads = [f"{layout} {what}".strip() for layout in layouts for what in ("", "dead", "seeds")]
    return markdown_table([*keys, *heads], lines, texts=2)


def _numbers(text: str) -> list[float | None]:
    return [None if part == "exact" else float(part) for part in text.split(",")]


@click.command()
@click.argument("layouts", default="")
@click.argument("models", default="")
@click.option("--max-slope", default="1", show_default=True, help="Bounds, or 'exact', separated by commas.")
@click.option("--initial-bias", default="0", show_default=True)
@click.option("--initialisation", default="torch", show_default=True)
@click.option("--seeds", default="0", show_default=True)
@click.option("--epochs", default=20, show_default=True)
@click.option("--precision", default="float32", show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/fusion", show_default=True)
@click.option("--table", "only_table", is_flag=True, help="Train nothing.")
def main(
    layouts: str,
    models: str,
    max_slope: str,
    initial_bias: str,
    initialisation: str,
    seeds: str,
    epochs: int,
    precision: str,
    workers: int,
    out: Path,
    only_table: bool,
) -> None:
    """Train every combination of comma-separated values, and print the table."""
    if not only_table:
        trials = [
            Trial(layout, model, slope, float(bias or 0), start, int(seed), epochs, precision)
            for seed, start, bias, slope, layout, model in product(
                seeds.split(","),
                initialisation.split(","),
                _numbers(initial_bias),
                _numbers(max_slope),
                layouts.split(","),
                models.split(","),
            )
        ]
        with process_pool(workers) as pool:
            waiting = {pool.submit(run, trial, out / trial.file): trial for trial in trials}
            for number, done in enumerate(as_completed(waiting), 1):
                result = done.result()
                last = result["error_percent"][-1:] if result["outcome"] == "ended" else result["outcome"]
                click.echo(f"{number}/{len(trials)} {waiting[done].file}: {last}, dead {result['dead']}", err=True)
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*/*.json"))]
    click.echo(table(results))


if __name__ == "__main__":
    main()
