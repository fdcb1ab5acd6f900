"""Load a trained network from its checkpoint, and read images with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.datasets.targets import TargetName
from mnistcompose.digits.bank import load_digits
from mnistcompose.errors import BuildError, InputError
from mnistcompose.layout.names import load_spec
from mnistcompose.quantities import counted

from ..data.augmentation import Augmentation
from ..data.image_sets import ImageSet, open_images
from ..data.numbers import INPUT_SHAPE, Dataset, to_digits, to_numbers
from ..training.checkpoint import load_checkpoint
from ..training.device_data import Normalisation
from ..training.history import History
from ..training.precision import Precision, autocast, usable
from .registry import make_network, target_of
from .run_file import FINISHED, Record, read_record, status_of


@dataclass(frozen=True)
class Trained:
    """A network from a checkpoint, with its normalisation and its identity."""

    net: nn.Module
    normalisation: Normalisation
    identity: Mapping[str, Any]
    epochs: int  # trained so far

    @property
    def target(self) -> TargetName:
        """What the network predicts."""
        return target_of(self.identity["model"])

    @property
    def precision(self) -> Precision:
        """The precision that it was trained and measured with."""
        precision: Precision = self.identity.get("precision", "float32")
        return precision

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image."""
        return tuple(self.identity.get("input_shape", INPUT_SHAPE))

    def check_fits(self, dataset: Dataset | ImageSet) -> None:
        """Check that a dataset's images and numbers have the form that the network was trained on.

        Raises
        ------
        InputError
            Number of digits, classes or input shape differ.
        """
        trained_with = {**self.identity, "input_shape": self.input_shape}
        for field in ("slots", "classes", "input_shape"):
            found, wanted = getattr(dataset, field), trained_with[field]
            if found != wanted:
                raise InputError(f"{dataset.name}: {field} = {found}, the model was trained with {wanted}")

    def check_reads_numbers(self) -> None:
        """Check that the network reads numbers, in grey images of 28 x 28.

        Raises
        ------
        InputError
            It was trained on other images.
        """
        if self.input_shape != INPUT_SHAPE or "preparation" in self.identity:  # which sets of images have
            model, dataset = self.identity["model"], self.identity["dataset"]
            raise InputError(f"{model} was trained on {dataset}; only models of grey numbers, 28 x 28, read pictures")

    def image_set(self, name: str, root: Path) -> ImageSet:
        """Open a set of natural images with the augmentation that this network was trained with."""
        prepared = self.identity.get("preparation", {})
        return open_images(
            name, root, Augmentation(**{k: prepared[k] for k in ("crop", "padding", "flip") if prepared})
        )


def load_trained(run: Path) -> Trained:
    """Load a run's network from its folder, its JSON file or its checkpoint.

    Raises
    ------
    InputError
        There is no checkpoint.
    BuildError
        It is damaged, or belongs to another epoch than the run that is stored next to it.
    """
    path = run / "run.pt" if run.is_dir() else run.with_suffix(".pt")
    stored = path.with_suffix(".json")
    if not path.exists():
        if stored.is_file():
            raise InputError(f"{stored}: its weights were not kept; repeat its command with --keep")
        raise InputError(f"{run}: there is no such checkpoint; mnistcompose train DATASET --out {run} makes one")
    state = load_checkpoint(path)
    if stored.exists():
        _check_agrees(path, state, read_record(stored))
    try:
        identity, history = state["identity"], History.from_dict(state["history"])
        channels, height, width = identity.get("input_shape", INPUT_SHAPE)
        net = make_network(identity["model"], identity["classes"], identity["slots"], (channels, height, width))
        net.load_state_dict(state["weights"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BuildError(f"{path}: not the checkpoint of a run of this version ({type(error).__name__})") from None
    return Trained(net.eval(), history.normalisation, identity, history.epochs)


def _check_agrees(path: Path, state: Mapping[str, Any], record: Record) -> None:
    """Refuse weights that are not those of the finished run that is stored next to them."""
    of_weights, of_run = state["history"]["train_loss"], record.get("history", {}).get("train_loss", [])
    if status_of(record) == FINISHED and of_weights != of_run:
        raise BuildError(
            f"{path}: weights after epoch {len(of_weights)}, but the run next to them has "
            f"{counted(len(of_run), 'epoch')} or other losses; delete the weights and train with --keep again"
        )


def images_of_test(trained: Trained) -> tuple[Tensor, Tensor]:
    """Test images uint8 (N, C, H, W) and digits int64 (N, k) of the bundled layout that a network was trained on.

    Raises
    ------
    InputError
        The layout has changed since then, or the digits were not the bundled ones.
    """
    name = trained.identity["dataset"]
    spec = load_spec(name)
    if spec.digest != trained.identity["spec"]:
        raise InputError(f"{trained.identity['model']}: trained on another layout than {name} is now")
    if trained.identity["digits"] != load_digits("test").digest:
        raise InputError(
            f"{trained.identity['model']}: trained on {name} of other digits (digest {trained.identity['digits']:.12});"
            " only images of the bundled MNIST can be made again"
        )
    return ComposedDigits(spec, "test", trained.identity["data_seed"], target="digits").as_tensors()


def error_by_position(
    predictions: NDArray[np.int64], targets: NDArray[np.int64], classes: int, slots: int
) -> list[float]:
    """Share of wrong digits at each position, in percent, from numbers (N,) or digits (N, k)."""
    read, shown = (to_digits(each, classes, slots) for each in (predictions, targets))
    return [100 * float(share) for share in (read != shown).mean(0)]


def read_numbers(
    trained: Trained, images: Sequence[NDArray[np.uint8]], device: torch.device, best: int = 3
) -> list[list[tuple[str, float]]]:
    """Best guesses for images uint8 (28, 28), with probabilities; one classifier per position gives one guess.

    As `weigh`, it computes in the precision of the training, where the device has it, else in float32.
    """
    slots, classes = trained.identity["slots"], trained.identity["classes"]
    normalise = trained.normalisation.on(device)
    with torch.inference_mode():
        with autocast(usable(trained.precision, device), device):
            outputs = trained.net.to(device)(normalise(torch.from_numpy(np.stack(images)[:, None]).to(device)))
        shares, guesses = outputs.float().softmax(-1).topk(1 if outputs.ndim == 3 else min(best, outputs.shape[-1]))
    if outputs.ndim == 3:
        shares, guesses = shares.prod(1), torch.from_numpy(to_numbers(guesses[..., 0].cpu().numpy(), classes))[:, None]
    return [
        [(written(number, classes, slots), share) for number, share in zip(*both, strict=True)]
        for both in zip(guesses.tolist(), shares.tolist(), strict=True)
    ]


def weigh(
    trained: Trained, images: Tensor, numbers: NDArray[np.int64], device: torch.device, batch: int = 500
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Numbers that a network reads in images, and their probabilities.

    Parameters
    ----------
    images : uint8 (N, 1, 28, 28)
    numbers : int64 (N,)
        True numbers of the images.

    Returns
    -------
    guesses : int64 (N,)
    of_guess, of_truth : float64 (N,)
        Probabilities of the guesses and of the true numbers; with one classifier per position, their products.
    """
    classes, slots = trained.identity["classes"], trained.identity["slots"]
    normalise, net = trained.normalisation.on(device), trained.net.to(device)
    truth = torch.from_numpy(to_digits(numbers, classes, slots) if trained.target == "digits" else numbers)
    with torch.inference_mode(), autocast(usable(trained.precision, device), device):
        outputs = torch.cat([net(normalise(part.to(device))) for part in torch.split(images, batch)])
    shares = outputs.cpu().double().softmax(-1)
    guesses, of_truth = shares.argmax(-1), shares.gather(-1, truth[..., None])[..., 0]
    of_guess = shares.amax(-1)
    if trained.target == "digits":
        of_guess, of_truth = of_guess.prod(1), of_truth.prod(1)
    return to_numbers(guesses.numpy(), classes), of_guess.numpy(), of_truth.numpy()


def written(number: int, classes: int, slots: int) -> str:
    """Write a number with its leading zeros; with more than ten classes, hyphens separate its digits."""
    digits = [number // classes**power % classes for power in range(slots - 1, -1, -1)]
    return ("" if classes <= 10 else "-").join(map(str, digits))
