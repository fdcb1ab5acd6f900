"""One run: a network trained on a dataset, measured and stored."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mnistcompose.arguments import whole
from mnistcompose.datasets.targets import TargetName
from mnistcompose.digits.bank import Split
from mnistcompose.errors import InputError
from mnistcompose.forking import ThreadLock
from mnistcompose.quantities import shown
from mnistcompose.storage.files import failing
from mnistcompose.storage.locks import locked

from ..data.image_sets import ImageSet
from ..data.numbers import Dataset, to_numbers
from ..models.networks import IMAGE_NETWORKS
from ..training.checkpoint import load_checkpoint
from ..training.device_data import Data, resolve_device
from ..training.evaluation import evaluate
from ..training.history import DivergenceError, History
from ..training.loop import fit
from ..training.precision import Precision
from ..training.recipe import DEFAULT_EPOCHS, DEFAULT_RECIPE, Recipe
from .environment import environment
from .registry import MODELS, fusion_of, make_network, printed_notation, target_of
from .run_file import (
    DIVERGED,
    FINISHED,
    RECORD_FORMAT,
    Record,
    comparable,
    read_record,
    status_of,
    without_images,
    write_record,
)


@dataclass(frozen=True)
class Run:
    """One network trained on one dataset."""

    dataset: Dataset | ImageSet
    model: str
    seed: int = 0
    epochs: int = DEFAULT_EPOCHS
    recipe: Recipe = DEFAULT_RECIPE
    precision: Precision = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, number in {
            "seed": whole("seed", self.seed, 0, MAX_SEED),
            "epochs": whole("epochs", self.epochs, 1),
        }.items():
            object.__setattr__(self, name, number)

    @property
    def measured_on(self) -> Split:
        """Name of the split that the model is measured on."""
        return list(self.dataset.splits)[1]

    @property
    def target(self) -> TargetName:
        """What the model predicts."""
        return target_of(self.model)

    @property
    def file(self) -> str:
        """Where the run is stored under a grid's folder."""
        plain = self.model in (*MODELS, *IMAGE_NETWORKS)
        model = self.model if plain else f"net-{hashlib.sha256(self.model.encode()).hexdigest()[:10]}"
        return f"{self.dataset.name}/{model}-{self.seed}.json"

    def identity(self) -> dict[str, Any]:
        """Everything that determines the run, except for the machine's arithmetic."""
        data = self.dataset
        return {
            **data.identity(),
            "measured_on": self.measured_on,
            "classes": data.classes,
            "slots": data.slots,
            "model": self.model,
            "notation": printed_notation(self.model, data.classes, data.slots, data.input_shape),
            **fusion_of(self.model),
            "seed": self.seed,
            "epochs": self.epochs,
            "recipe": self.recipe.fields(),
            "precision": self.precision,
        }


def run_one(
    run: Run,
    path: Path,
    *,
    keep: bool = False,
    wait: bool = True,
    progress: Callable[[History], None] | None = None,
) -> Record:
    """Train, measure and store one run. A stored run is only read; an interrupted one resumes from its checkpoint.

    A run whose loss diverges is stored as diverged, and is not repeated. A run that is stored as failed is run again.

    Parameters
    ----------
    path : Path
        The run's JSON file. Its checkpoint (`.pt`) and, while it runs, its lock (`.lock`) are next to it.
    keep : bool
        Keep the checkpoint, which holds the weights, when the run has ended.
    wait : bool
        If another process does the same run: wait for it, or raise `LockedError`.

    Raises
    ------
    InputError
        The stored run differs in something that determines it.
    LockedError
        Another process does the run, and `wait` is false.
    """
    if record := _stored(run, path, keep):
        return record  # also from a folder that can only be read
    with _ALONE:
        with failing("make the folder", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), f"{path}: another process does this run", wait=wait):
            return _run_alone(run, path, keep, progress)


MAX_SEED = 2**63 - 1  # of a run; torch knows no seed of more than 64 bits
_ALONE = ThreadLock()  # the whole process shares torch's random numbers, which dropout uses


def _run_alone(run: Run, path: Path, keep: bool, progress: Callable[[History], None] | None) -> Record:
    identity = run.identity()
    checkpoint = path.with_suffix(".pt")
    if record := _stored(run, path, keep):
        return record
    device = resolve_device(run.device)
    train, test = (run.dataset.load(split, run.target, device) for split in run.dataset.splits)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(run.seed)
        net = make_network(run.model, run.dataset.classes, run.dataset.slots, run.dataset.input_shape)
    try:
        history = fit(
            net,
            train,
            test,
            epochs=run.epochs,
            seed=run.seed,
            device=run.device,
            recipe=run.recipe,
            precision=run.precision,
            augment=run.dataset.augmentation,
            data_on_device=run.dataset.data_on_device,
            checkpoint=checkpoint,
            metadata={key: value for key, value in without_images(identity).items() if key not in _OF_FIT},
            progress=progress,
        )
    except DivergenceError as error:
        record = unfinished(run, DIVERGED, str(error), environment=environment(device), history=asdict(error.history))
    else:
        record = _finished(run, device, net, test, history)
    write_record(path, record)
    if not keep or status_of(record) == DIVERGED:
        checkpoint.unlink(missing_ok=True)
    return read_record(path)


def _stored(run: Run, path: Path, keep: bool) -> Record | None:
    """Record of a run that need not be done; None if it has no result yet, or lacks the weights that are wanted."""
    if not path.exists():
        return None
    record, identity = read_record(path), run.identity()
    refuse_other(path, record["determined_by"], identity, identity)
    if status_of(record) == FINISHED:
        return None if keep and not has_weights(path.with_suffix(".pt"), run.epochs) else record
    return record if status_of(record) == DIVERGED else None


def has_weights(checkpoint: Path, epochs: int) -> bool:
    """Whether a checkpoint is there, and holds the weights of the last epoch."""
    return checkpoint.exists() and len(load_checkpoint(checkpoint)["history"]["train_loss"]) == epochs


def _finished(run: Run, device: torch.device, net: nn.Module, test: Data, history: History) -> Record:
    measured = evaluate(
        net, test, history.normalisation, device, precision=run.precision, data_on_device=run.dataset.data_on_device
    )
    wrong = np.flatnonzero(measured.wrong)
    predictions = to_numbers(measured.predictions, run.dataset.classes)
    return {
        "format": RECORD_FORMAT,
        "determined_by": run.identity(),
        "environment": environment(device),
        "parameters": sum(p.numel() for p in net.parameters()),
        "seconds": sum(history.seconds),
        "error_percent": measured.error,
        "top5_error_percent": measured.top5_error,
        "wrong": wrong.tolist(),
        "predicted": predictions[wrong].tolist(),
        "predictions_sha256": hashlib.sha256(predictions.astype("<i8").tobytes()).hexdigest(),
        "history": asdict(history),
    }


def unfinished(run: Run, status: str, reason: str, **known: Mapping[str, Any]) -> Record:
    """Record of a run without a result.

    `status` is `DIVERGED` or `FAILED`. `known` is what is known of the `environment`, and of the `history` of its
    complete epochs.
    """
    return {
        "format": RECORD_FORMAT,
        "determined_by": run.identity(),
        "status": status,
        "reason": reason,
        **known,
    }


_OF_FIT = {"seed", "epochs", "recipe", "precision"}  # `fit` puts these into the checkpoint itself


def refuse_other(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a stored run that differs from the wanted one in one of the keys.

    Raises
    ------
    InputError
        They differ; the message names the file, the key and both values.
    """
    stored, wanted = comparable(stored, wanted)
    for key in keys:
        found, expected = stored.get(key), wanted[key]
        if isinstance(found, dict) and isinstance(expected, dict) and found != expected:
            for part in sorted({*found, *expected}):
                if found.get(part) != expected.get(part):
                    key, found, expected = f"{key}.{part}", found.get(part), expected.get(part)
                    break
        if found != expected:
            raise InputError(
                f"{path}: was made with {key} = {shown(found)}, not {shown(expected)}; choose another output folder"
            )
