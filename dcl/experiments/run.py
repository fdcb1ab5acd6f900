"""One run: a network trained on a dataset, measured and stored."""

import hashlib
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mnistcompose import __version__
from mnistcompose.building.build import build, locked
from mnistcompose.building.verify import spec_of
from mnistcompose.datasets.dataset import ComposedDigits, ShardedDigits, Target
from mnistcompose.digits.bank import Split, load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.spec import LayoutSpec, bundled_names, load_spec
from mnistcompose.storage.shards import MANIFEST, Manifest, SplitName, failing, read_manifest

from ..data.image_sets import ImageSet
from ..models.fusion import MAX_SLOPE
from ..models.networks import IMAGE_NETWORKS, image_network_notation, lenet_notation
from ..models.notation import Network, initial_bias, parse_layers, parse_network, plan_network
from ..models.oracle import Oracle
from ..training.loop import (
    DEFAULT_EPOCHS,
    DEFAULT_RECIPE,
    Data,
    DivergenceError,
    History,
    Precision,
    Recipe,
    evaluate,
    fit,
    load_checkpoint,
    resolve_device,
)
from .run_file import DIVERGED, FINISHED, RECORD_FORMAT, Record, read_record, status_of, write_record

MODELS = ("baseline", "oracle", "A2", "A3S", "A3D", "B2", "B3S", "B3D")  # in the order of the paper's Table 1
PUBLISHED: tuple[SplitName, SplitName] = ("train", "test")  # what is trained on, and what is measured
COMPOSED: tuple[Split, Split] = ("fit", "validation")
INPUT_SHAPE = (1, 28, 28)


# --- data -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dataset:
    """What to train on and what to measure on: a built folder, or the splits for model selection, made in memory."""

    spec: LayoutSpec
    seed: int
    digits: str  # digest of the digit set
    classes: int  # of one digit
    splits: Mapping[Split, Mapping[str, Any]]  # the training one first: number of images and, on disk, digest
    root: Path | None = None

    augmentation = None
    resident = True

    def __post_init__(self) -> None:
        _check_length(self.spec)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.spec.output.channels, self.spec.output.height, self.spec.output.width

    @property
    def name(self) -> str:
        """The layout's."""
        return self.spec.name

    @property
    def slots(self) -> int:
        """Number of digits in a number."""
        return len(self.spec.slots)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the images."""
        return {
            "dataset": self.name,
            "spec": self.spec.digest,
            "digits": self.digits,
            "data_seed": self.seed,
            "splits": {name: dict(entry) for name, entry in self.splits.items()},
            **({"input_shape": list(self.input_shape)} if self.input_shape != INPUT_SHAPE else {}),
        }

    def load(self, split: Split, target: Target, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 (N, C, H, W), and numbers int64 (N,) or digits int64 (N, k). Files are verified."""
        if self.root is not None:
            return ShardedDigits(self.root, cast(SplitName, split), target=target).as_tensors(device)
        length = self.splits[split]["images"]
        return ComposedDigits(self.spec, split, self.seed, length=length, target=target).as_tensors(device)


def open_dataset(
    name: str,
    *,
    seed: int = 0,
    validation: bool = False,
    folder: Path = Path("data"),
    building: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Find a dataset by the name of a bundled layout, its folder or a YAML file; build it if it is not there.

    Parameters
    ----------
    seed : int
        The data seed; a built folder brings its own.
    validation : bool
        Instead of `train` and `test`: `fit` and `validation`, for model selection. Both are composed of training
        digits, of disjoint ones; the test digits stay unseen.
    folder : Path
        Holds the datasets that are found by name; those of another seed than 0 bear it in their folder's name.
    building : callable
        Called with the folder's name before it is built.

    Raises
    ------
    InputError
        No such layout or folder, or a folder of another dataset.
    BuildError
        The folder fails verification.
    """
    root = Path(name)
    if name not in bundled_names() and root.is_dir():
        manifest = read_manifest(root)
        spec, seed = spec_of(root, manifest), manifest.seed
        if not validation:
            return _verified(spec, manifest, root)
        if manifest.digits_digest != load_digits("fit").digest:
            raise InputError(f"{root}: made of other digits than MNIST; splits for model selection exist of MNIST only")
    else:
        spec = load_spec(name)
        root = folder / (spec.name if seed == 0 else f"{spec.name}-seed{seed}")
    _check_length(spec)  # before anything is built
    return _composed(spec, seed) if validation else _built(spec, seed, root, building)


def _check_length(spec: LayoutSpec) -> None:
    if spec.length != "all":
        raise InputError(
            f"{spec.name}: numbers of varying length; the models here read a fixed number of digits (others get them "
            "from ShardedDigits)"
        )


def _composed(spec: LayoutSpec, seed: int) -> Dataset:
    bank = load_digits("fit")
    counts = zip(COMPOSED, (spec.train, spec.test), strict=True)
    return Dataset(spec, seed, bank.digest, bank.classes, {name: {"images": count} for name, count in counts})


def _built(spec: LayoutSpec, seed: int, root: Path, building: Callable[[str], None]) -> Dataset:
    if not (root / MANIFEST).exists():
        building(str(root))
        build(spec, root, seed=seed)
    manifest = read_manifest(root)
    counts = {split: entry.count for split, entry in manifest.splits.items()}
    for field, found, wanted in (
        ("layout", manifest.spec_digest, spec.digest),
        ("seed", manifest.seed, seed),
        ("size", counts, {"train": spec.train, "test": spec.test}),
    ):
        if found != wanted:
            raise InputError(
                f"{root}: holds a dataset of another {field} ({found}, not {wanted}); give a folder, or move it away"
            )
    return _verified(spec, manifest, root)


def _verified(spec: LayoutSpec, manifest: Manifest, root: Path) -> Dataset:
    for split in PUBLISHED:
        ShardedDigits(root, split)  # verifies
    entries = manifest.splits
    splits: dict[Split, dict[str, Any]] = {
        name: {"images": entries[name].count, "sha256": entries[name].digest} for name in PUBLISHED
    }
    return Dataset(spec, manifest.seed, manifest.digits_digest, manifest.classes, splits, root)


# --- models ---------------------------------------------------------------------------------------------------------


def check_model(model: str) -> None:
    """Refuse what is neither one of `MODELS`, nor of `IMAGE_NETWORKS`, nor a network in the paper's notation.

    Raises
    ------
    InputError
        With the name that may have been meant, or the place in the notation.
    """
    if "-" in model:
        parse_layers(model)
    elif model not in (*MODELS, *IMAGE_NETWORKS):
        names = {name.upper(): name for name in (*MODELS, *IMAGE_NETWORKS)}
        close = get_close_matches(model.upper(), names, n=1, cutoff=0.4)
        hint = f"did you mean {names[close[0]]}?" if close else f"there are {', '.join(MODELS)}"
        raise InputError(f"no model {model!r}; {hint} (a network in the paper's notation will do as well)")


def make_network(
    model: str, classes: int, slots: int, input_shape: tuple[int, int, int] = INPUT_SHAPE
) -> Network | Oracle:
    """A model as `check_model` knows it, for numbers of `slots` digits of `classes` classes."""
    check_model(model)
    if model == "oracle":
        return Oracle(classes, slots, input_shape)
    return parse_network(notation_of(model, classes, slots), input_shape, classes**slots)


def notation_of(model: str, classes: int, slots: int) -> str:
    """A model but the oracle in the paper's notation."""
    if model in MODELS:
        return lenet_notation(classes**slots, model)
    return image_network_notation(model, classes**slots) if model in IMAGE_NETWORKS else model


# --- one run --------------------------------------------------------------------------------------------------------


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

    @property
    def measured_on(self) -> Split:
        """Name of the split that the model is measured on."""
        return list(self.dataset.splits)[1]

    @property
    def target(self) -> Target:
        """What the model predicts."""
        return target_of(self.model)

    @property
    def file(self) -> str:
        """Where the run is stored under a grid's folder."""
        plain = self.model in (*MODELS, *IMAGE_NETWORKS)
        model = self.model if plain else f"net-{hashlib.sha256(self.model.encode()).hexdigest()[:10]}"
        return f"{self.dataset.name}/{model}-{self.seed}.json"

    def identity(self) -> dict[str, Any]:
        """Everything that determines the run, but for the machine's arithmetic."""
        data = self.dataset
        return {
            **data.identity(),
            "measured_on": self.measured_on,
            "classes": data.classes,
            "slots": data.slots,
            "model": self.model,
            "notation": _notation(self.model, data.classes, data.slots, data.input_shape),
            **fusion_of(self.model),
            "seed": self.seed,
            "epochs": self.epochs,
            "recipe": self.recipe.fields(),
            "precision": self.precision,
        }


def target_of(model: str) -> Target:
    """What a model predicts: the oracle a number's digits, all others the number."""
    return "digits" if model == "oracle" else "number"


@cache
def _notation(model: str, classes: int, slots: int, input_shape: tuple[int, int, int]) -> str:
    if model == "oracle":
        with torch.random.fork_rng([]), torch.device("meta"):
            return Oracle(classes, slots, input_shape).notation
    return plan_network(notation_of(model, classes, slots), input_shape, classes**slots)[0]


def fusion_of(model: str) -> dict[str, Any]:
    """How the model's DCL modules are initialised and trained, as part of a run's identity; empty without DCL."""
    if model == "oracle":
        return {}
    layers = parse_layers(notation_of(model, classes=10, slots=3))
    biases = {initial_bias(layer) for layer in layers if layer.dcl is not None and layer.dcl.fusion != "bilinear"}
    return {"fusion": {"max_slope": MAX_SLOPE, "initial_bias": max(biases)}} if biases else {}


def run_one(
    run: Run,
    path: Path,
    *,
    keep: bool = False,
    wait: bool = True,
    progress: Callable[[History], None] | None = None,
) -> Record:
    """Train, measure and store one run; a stored one is only read, an interrupted one resumes from its checkpoint.

    A run whose loss diverges is stored as diverged, and is not repeated. A run that is stored as failed is run again.

    Parameters
    ----------
    path : Path
        The run's JSON file. Its checkpoint (`.pt`) and, while it runs, its lock (`.lock`) lie next to it.
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
    with _ALONE:
        with failing("make the folder", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), f"{path}: another process does this run", wait=wait):
            return _run_alone(run, path, keep, progress)


_ALONE = Lock()  # torch's random numbers, which dropout takes, are those of the whole process


def _run_alone(run: Run, path: Path, keep: bool, progress: Callable[[History], None] | None) -> Record:
    identity = run.identity()
    checkpoint = path.with_suffix(".pt")
    if path.exists():
        record = read_record(path)
        refuse_other(path, record["determined_by"], identity, identity)
        if status_of(record) == DIVERGED or (status_of(record) == FINISHED and not (keep and _lacks(checkpoint, run))):
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
            resident=run.dataset.resident,
            checkpoint=checkpoint,
            about={key: value for key, value in identity.items() if key not in _OF_FIT},
            progress=progress,
        )
    except DivergenceError as error:
        record = unfinished(run, DIVERGED, str(error), asdict(error.history))
    else:
        record = _finished(run, device, net, test, history)
    write_record(path, record)
    if not keep or status_of(record) == DIVERGED:
        checkpoint.unlink(missing_ok=True)
    return read_record(path)


def _lacks(checkpoint: Path, run: Run) -> bool:
    """Whether the weights of the last epoch are missing."""
    return not checkpoint.exists() or len(load_checkpoint(checkpoint)["history"]["train_loss"]) < run.epochs


def _finished(run: Run, device: torch.device, net: nn.Module, test: Data, history: History) -> Record:
    measured = evaluate(
        net, test, history.normalisation, device, precision=run.precision, resident=run.dataset.resident
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


def unfinished(run: Run, status: str, reason: str, history: Mapping[str, Any] | None = None) -> Record:
    """Record of a run without a result: `status` is `DIVERGED` or `FAILED`, `history` that of its whole epochs."""
    return {
        "format": RECORD_FORMAT,
        "determined_by": run.identity(),
        "environment": environment(resolve_device(run.device)),
        "status": status,
        "reason": reason,
        **({} if history is None else {"history": history}),
    }


_OF_FIT = {"seed", "epochs", "recipe", "precision"}  # what `fit` puts into the checkpoint by itself


def to_numbers(predictions: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Numbers int64 (N,) of predictions that are numbers (N,), or digits (N, k), the most significant first."""
    if predictions.ndim == 1:
        return predictions
    numbers: NDArray[np.int64] = predictions @ classes ** np.arange(predictions.shape[1] - 1, -1, -1, dtype=np.int64)
    return numbers


def to_digits(numbers: NDArray[np.int64], classes: int, slots: int) -> NDArray[np.int64]:
    """Digits int64 (N, k) of numbers (N,), the most significant first; digits stay as they are."""
    if numbers.ndim == 2:
        return numbers
    digits: NDArray[np.int64] = numbers[:, None] // classes ** np.arange(slots - 1, -1, -1, dtype=np.int64) % classes
    return digits


def environment(device: torch.device) -> dict[str, Any]:
    """What a run was made with, and on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "mnistcompose": __version__,
        "code": code_digest(),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def code_digest() -> str:
    """First 16 hexadecimal digits of a SHA-256 of this project's sources: the code version of a run."""
    digest = hashlib.sha256()
    for package in ("dcl", "mnistcompose"):
        for source in sorted(Path(str(files(package))).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor()


def refuse_other(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a stored run that differs from the wanted one in one of the keys.

    Raises
    ------
    InputError
        Names the file, the key and both values.
    """
    for key in keys:
        found, expected = stored.get(key), wanted[key]
        if isinstance(found, dict) and isinstance(expected, dict) and found != expected:
            for part in sorted({*found, *expected}):
                if found.get(part) != expected.get(part):
                    key, found, expected = f"{key}.{part}", found.get(part), expected.get(part)
                    break
        if found != expected:
            raise InputError(f"{path}: was made with {key} = {found!r}, not {expected!r}; choose another output folder")
