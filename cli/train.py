"""`mnistcompose train`, `evaluate` and `predict`: one model."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnistcompose.errors import BuildError, InputError
from mnistcompose.quantities import counted

from .options import (
    AS_JSON,
    BFLOAT16,
    DEVICE,
    EPOCHS,
    PROGRESS,
    SEED,
    LocalPath,
    complete_layouts,
    models_option,
    together,
)

if TYPE_CHECKING:
    from dcl.training.history import History
    from dcl.training.recipe import Recipe
    from mnistcompose.storage.schema import SplitName

RECIPE = {
    "batch_size": (int, "Images per step."),
    "lr": (float, "Highest learning rate."),
    "momentum": (float, "Nesterov's momentum."),
    "weight_decay": (float, "Weight decay; biases have none."),
    "schedule": (str, "Schedule after the warm-up: one-cycle, linear, constant, or as in 'x0.1 at 6,9 of 10'."),
    "warmup": (float, "Share of the steps in which the learning rate rises."),
    "max_grad_norm": (float, "Largest norm of a gradient, over all parameters; a larger one is scaled down."),
}

ALIASES = {"max_grad_norm": ("--clip",)}

Epoch = Callable[[str, int, "History"], None]  # what is trained, number of epochs, history so far


def need_torch() -> None:
    """Check that PyTorch is installed.

    Raises
    ------
    InputError
        It is not; the message says what to install.
    """
    if find_spec("torch") is None:
        raise InputError("this command needs PyTorch: pip install torch torchvision")


training_options = together(
    EPOCHS,
    *(
        click.option(
            name,
            f"--{name.replace('_', '-')}",
            *ALIASES.get(name, ()),
            type=kind,
            help=f"{text} Default: the recipe's.",
        )
        for name, (kind, text) in RECIPE.items()
    ),
    DEVICE,
    BFLOAT16,
    click.option(
        "--validate", is_flag=True, help="Train and measure on the splits for model selection, not on train and test."
    ),
    click.option(
        "--data-seed", type=SEED, help="Seed of a dataset given by name; a built folder has its own.  [default: 0]"
    ),
    PROGRESS,
)


def recipe_of(options: dict[str, Any]) -> "Recipe":
    """Take the recipe's options out of a command's options; those not given keep their defaults."""
    from dataclasses import replace

    from dcl.training.recipe import DEFAULT_RECIPE

    given = {name: options.pop(name) for name in RECIPE}
    return replace(DEFAULT_RECIPE, **{name: value for name, value in given.items() if value is not None})


@contextmanager
def watching(wanted: bool | None) -> Iterator[Epoch]:
    """Show epochs as they end, with the remaining time of the run: a bar on a terminal, else lines."""
    terminal = sys.stderr.isatty()
    if wanted is False or (wanted is None and not terminal):
        yield lambda *_: None
        return
    from mnistcompose.quantities import duration

    clock: dict[str, tuple[float, int]] = {}
    began = time.perf_counter()

    def describe(label: str, epochs: int, history: "History") -> str:
        nonlocal began
        start, first = clock.setdefault(label, (began, history.epochs - 1))
        began = time.perf_counter()
        left = (began - start) / (history.epochs - first) * (epochs - history.epochs)
        return (
            f"{label}: epoch {history.epochs}/{epochs}, {duration(left)} left, error {history.test_error[-1]:.2f} %, "
            f"train loss {history.train_loss[-1]:.4f}, {history.images_per_second[-1]:,.0f} images/s"
        )

    if not terminal:
        yield lambda *epoch: click.echo(describe(*epoch), err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = BarColumn(10), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2, transient=True) as bars:
        bar = bars.add_task("first epoch", total=None)
        yield lambda label, epochs, history: bars.update(
            bar, description=describe(label, epochs, history), total=epochs, completed=history.epochs
        )


def building(folder: str) -> None:
    """Print that a dataset is built first."""
    click.echo(f"building {folder}", err=True)


@click.command()
@click.argument("dataset", shell_complete=complete_layouts)
@models_option("A3S", help="Model: baseline, A2, A3S, ... oracle, or a NOTATION.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the run.")
@click.option("-o", "--out", type=LocalPath(), help="Folder of the run.  [default: runs/LAYOUT/MODEL-SEED]")
@training_options
@click.option("--tensorboard", type=LocalPath(), metavar="DIR", help="Folder for TensorBoard's event files.")
@click.option("--json", "as_json", is_flag=True, help="Print the stored run as JSON.")
def train(
    dataset: str,
    models: tuple[str, ...],
    seed: int,
    out: Path | None,
    epochs: int,
    device: str,
    bfloat16: bool,
    validate: bool,
    data_seed: int | None,
    progress: bool | None,
    tensorboard: Path | None,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Train a model on DATASET: the name of a bundled layout, a built folder, or a layout file.

    A dataset that is not built yet is built. The run's folder gets run.json and run.pt (the weights); an interrupted
    run resumes from its last epoch.
    """
    need_torch()
    from dcl.data.numbers import open_dataset
    from dcl.experiments.registry import check_model
    from dcl.experiments.run import Run, run_one
    from dcl.experiments.run_file import FINISHED, status_of
    from dcl.experiments.tensorboard import event_log, need_tensorboard
    from dcl.training.history import History

    if len(models) != 1:
        raise click.UsageError(f"train takes one model, not {len(models)}; compare trains several")
    model = models[0]
    check_model(model)
    if tensorboard:
        need_tensorboard()  # before a dataset is built
    how = recipe_of(recipe)
    data = open_dataset(dataset, seed=data_seed, validation=validate, building=building)
    run = Run(data, model, seed, epochs, how, "bfloat16" if bfloat16 else "float32", device)
    path = (out or Path("runs") / run.file.removesuffix(".json")) / "run.json"
    stored = True
    label = f"{data.spec.name} {model}"
    events = (
        event_log(tensorboard / run.file.removesuffix(".json"), run) if tensorboard else nullcontext(lambda _: None)
    )
    with watching(progress) as show, events as log:

        def on_epoch(history: History) -> None:
            nonlocal stored
            stored = False
            show(label, epochs, history)
            log(history)

        record = run_one(run, path, keep=True, progress=on_epoch)
        if record.get("history", {}).get("train_loss"):
            log(History.from_dict(record["history"]))  # for a run that was already stored
    if as_json:
        click.echo(json.dumps(record))
        if status_of(record) != FINISHED:
            raise click.exceptions.Exit(1)
        return
    if status_of(record) != FINISHED:
        raise BuildError(f"{path}: {record['reason']}")
    wrong, count = len(record["wrong"]), data.splits[run.measured_on]["images"]
    click.echo(
        f"{label}, {counted(epochs, 'epoch')}: error {record['error_percent']:.2f} % ({wrong:,} of {count:,} "
        f"{run.measured_on} images), {record['seconds']:.0f} s of training; {path.parent}"
        + (", stored before" if stored else "")
    )


@click.command()
@click.argument("run", type=LocalPath())
@click.argument("dataset", metavar="DIR|NAME", shell_complete=complete_layouts)
@click.option(
    "--root",
    type=LocalPath(),
    default=Path("data"),
    show_default=True,
    help="Folder of a set of natural images.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "test", "test_unseen"]),
    default="test",
    show_default=True,
    help="Split to measure on; test_unseen is that of numbers held out.",
)
@DEVICE
@AS_JSON
def evaluate(run: Path, dataset: str, root: Path, split: "SplitName", device: str, as_json: bool) -> None:
    """Measure the trained model in the folder RUN on a dataset.

    The dataset is a built folder, a bundled layout or, for a network for natural images, svhn, cifar10, cifar100,
    ilsvrc2012 or fashion-mnist.
    """
    need_torch()
    from dcl.data.image_sets import SETS
    from dcl.data.numbers import open_dataset
    from dcl.experiments.inference import error_by_position, load_trained
    from dcl.training.device_data import resolve_device
    from dcl.training.evaluation import evaluate as measure
    from dcl.training.precision import usable

    place = resolve_device(device)
    trained = load_trained(run)
    if dataset in SETS and split == "test_unseen":
        raise click.UsageError("--split test_unseen is for datasets of numbers")
    data = trained.image_set(dataset, root) if dataset in SETS else open_dataset(dataset, building=building)
    trained.check_fits(data)
    images, targets = data.load(split, trained.target, place)
    if data.augmentation is not None:
        images = data.augmentation.central(images)
    precision = usable(trained.precision, place)
    measured = measure(
        trained.net,
        (images, targets),
        trained.normalisation,
        place,
        precision=precision,
        data_on_device=data.data_on_device,
    )
    positions = error_by_position(measured.predictions, targets.cpu().numpy(), data.classes, data.slots)
    result = {
        "model": trained.identity["model"],
        "trained_on": trained.identity["dataset"],
        "epochs": trained.epochs,
        "dataset": data.name,
        "split": split,
        "precision": precision,
        "images": len(targets),
        "loss": measured.loss,
        "error_percent": measured.error,
        "top5_error_percent": measured.top5_error,
        "position_error_percent": positions,
    }
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(
        f"{result['model']} trained on {result['trained_on']} ({counted(trained.epochs, 'epoch')}), "
        f"{data.name} {split}: "
        f"error {measured.error:.2f} % ({measured.wrong.sum():,} of {len(targets):,}), loss {measured.loss:.4f}; "
        + (
            f"by position {', '.join(f'{e:.2f} %' for e in positions)}"
            if data.slots > 1
            else f"top-5 error {measured.top5_error:.2f} %"
        )
        + (f"; in {precision}, trained in {trained.precision}" if trained.precision != "float32" else "")
    )


@click.command()
@click.argument("run", type=LocalPath())
@click.argument("pictures", metavar="PICTURE...", nargs=-1, required=True, type=LocalPath())
@DEVICE
@AS_JSON
def predict(run: Path, pictures: tuple[Path, ...], device: str, as_json: bool) -> None:
    """Read the number in each PICTURE with the trained model in the folder RUN.

    A picture may have any size and any format that Pillow reads. The number may be dark on light or light on dark; it
    is cut to its ink and stretched to 28 x 28 pixels, as in the datasets.
    """
    need_torch()
    from dcl.experiments.inference import load_trained, read_numbers
    from dcl.experiments.preprocessing import read_picture
    from dcl.training.device_data import resolve_device

    trained = load_trained(run)
    trained.check_reads_numbers()
    images, notes = zip(*map(read_picture, pictures), strict=True)
    for path, note, guesses in zip(pictures, notes, read_numbers(trained, images, resolve_device(device)), strict=True):
        if as_json:
            best = [{"number": number, "probability": probability} for number, probability in guesses]
            click.echo(json.dumps({"picture": str(path), "assumed": note, "guesses": best}))
        else:
            click.echo(f"{path}: {', '.join(f'{number} ({100 * p:.1f} %)' for number, p in guesses)}  [{note}]")
