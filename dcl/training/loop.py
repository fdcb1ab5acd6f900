"""The only training loop.

The data lies on the device as uint8 and is gathered there, batch by batch, by index: no DataLoader, and nothing is read
back from the device before the end of an epoch. Everything random follows from the seed and the epoch's number, so that
a resumed run needs no replay: on a CPU it ends with the same bits as an uninterrupted one.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mnistcompose.arguments import here, whole
from mnistcompose.errors import InputError
from mnistcompose.storage.files import failing

from .checkpoint import check_metadata, restore_checkpoint, save_checkpoint
from .device_data import Data, Normalisation, Normaliser, fingerprint, resolve_device, to_tensors
from .evaluation import evaluate
from .history import DivergenceError, History
from .precision import Precision, check_precision
from .recipe import DEFAULT_EPOCHS, DEFAULT_RECIPE, Recipe, learning_rate, make_optimizer
from .step import train_step

STEPS_PER_CHECK = 100  # between two checks that the loss is still finite


def _materialise(net: nn.Module, image: Tensor) -> None:
    """Run one image through lazy modules, such as `nn.LazyLinear`, which sets their shapes."""
    if any(is_lazy(each) for each in chain(net.parameters(), net.buffers())):
        was_training = net.training
        with torch.no_grad():
            net.eval()(image)
        net.train(was_training)


def fit(
    net: nn.Module,
    train: Data,
    test: Data,
    *,
    epochs: int = DEFAULT_EPOCHS,
    seed: int = 0,
    device: str = "auto",
    recipe: Recipe = DEFAULT_RECIPE,
    precision: Precision = "float32",
    augment: Callable[[Tensor], Tensor] | None = None,
    data_on_device: bool = True,
    checkpoint: str | Path | None = None,
    metadata: Mapping[str, Any] | None = None,
    progress: Callable[[History], None] | None = None,
) -> History:
    """Train a network, in place, and leave it on the device in evaluation mode.

    Each epoch draws a new permutation of the training set and drops the last incomplete batch. A training set that is
    smaller than a batch is one batch.

    Parameters
    ----------
    net : nn.Module
        From float (N, C, H, W) to (N, classes), or to (N, k, classes) where targets are (N, k).
    train, test : TensorSource, two tensors, Dataset or DataLoader
        Images uint8 (N, C, H, W) and targets int64 (N,) or (N, k). The test set is evaluated after each epoch and
        changes nothing. Any torch dataset or DataLoader of pairs (image, target), such as a `Subset`, is read once,
        before the training: its random transforms give the same images in each epoch (use `augment`), and its batch
        size and order mean nothing. Images may be PIL images, or floats of 0 to 1 as `ToTensor` makes them; images that
        `Normalize` changed are refused.
    seed : int
        Determines the order of the samples and every random choice in training, but not the initial weights: call
        `torch.manual_seed` before you make the network.
    precision : str
        `bfloat16` runs the network under autocast, in training and in evaluation, where the processor multiplies
        bfloat16 natively (`check_precision`). Weights, the fusion and the loss stay in float32.
    augment : callable, optional
        Applied to every batch of training images, uint8 on the device; what it draws from torch's generators follows
        from the seed.
    data_on_device : bool
        False keeps the images where they are and sends them to the device batch by batch. Use it for sets that do not
        fit into the device's memory.
    checkpoint : str or Path, optional
        Written atomically after every epoch. If it exists, training resumes from it. On a CPU, with the same number of
        threads, a resumed run ends with the same bits as an uninterrupted one.
    metadata : mapping, optional
        Plain values that describe the network: numbers, text, and lists and mappings of them. They are stored in the
        checkpoint; a checkpoint with other values is refused.
    progress : callable, optional
        Called after every epoch with the history so far.

    Raises
    ------
    InputError
        The data, the arguments and the checkpoint do not match.
    DivergenceError
        The loss is NaN or infinite. Checked every `STEPS_PER_CHECK` steps, and at the end of each epoch.
    BuildError
        The checkpoint cannot be written, or is damaged.
    """
    place = resolve_device(device)
    check_precision(precision, place)
    epochs, seed = whole("epochs", epochs, 1), whole("seed", seed, 0)
    identity = {"epochs": epochs, "seed": seed, "precision": precision, **asdict(recipe)}
    check_metadata(metadata or {}, reserved=[*identity, "data"])
    data, held_out = (
        to_tensors(split, place, name, data_on_device=data_on_device)
        for split, name in ((train, "train"), (test, "test"))
    )
    history = History(Normalisation.measured(data[0]))
    normalise = history.normalisation.on(place)
    prepare = normalise if augment is None else lambda images: normalise(augment(images))
    with _seeded(seed, 0, place):
        image = prepare(data[0][:1].to(place))
    _materialise(net.to(place), image)
    net.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with _seeded(seed, 0, place):
        _check_outputs(net, image, data, held_out, normalise)
    optimizer = make_optimizer(net, recipe)
    identity = {**(metadata or {}), **identity}
    checkpoint = None if checkpoint is None else here(checkpoint)
    if checkpoint is not None:
        with failing("make the folder", checkpoint.parent):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
        identity["data"] = [fingerprint(*data), fingerprint(*held_out)]
        if checkpoint.exists():
            history = restore_checkpoint(checkpoint, identity, net, optimizer)

    batch = min(recipe.batch_size, len(data[0]))
    batches = len(data[0]) // batch
    for epoch in range(history.epochs, epochs):
        with _seeded(seed, epoch, place) as generator:
            began = time.perf_counter()
            net.train()
            order = torch.randperm(len(data[0]), generator=generator)[: batches * batch].to(place)
            losses: list[Tensor] = []
            check = _always_finite
            for step, index in enumerate(torch.split(order, batch), epoch * batches):
                if losses and len(losses) % STEPS_PER_CHECK == 0:
                    if not check():
                        break
                    check = _finite_later(losses[-STEPS_PER_CHECK:])
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, step, epochs * batches)
                losses.append(train_step(net, optimizer, data, index, prepare, precision, recipe.max_grad_norm))
            train_loss = float(torch.stack(losses).cpu().double().mean())
            seconds = time.perf_counter() - began
        _check_finite(history, "train loss", train_loss, recipe)
        measured = evaluate(
            net, held_out, history.normalisation, place, precision=precision, data_on_device=data_on_device
        )
        _check_finite(history, "test loss", measured.loss, recipe)
        history.train_loss.append(train_loss)
        history.test_loss.append(measured.loss)
        history.test_error.append(measured.error)
        history.seconds.append(seconds)
        history.images_per_second.append(len(order) / seconds)
        if checkpoint is not None:
            save_checkpoint(checkpoint, identity, net, optimizer, history)
        if progress is not None:
            progress(history)
    net.eval()
    return history


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[torch.Generator]:
    """Yield a generator for the order of an epoch, and seed torch's own generators; these are restored afterwards."""
    order, choices = (int(word) for word in np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(choices)
        yield torch.Generator().manual_seed(order)


def _check_outputs(
    net: nn.Module,
    image: Tensor,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    normalise: Normaliser,
) -> None:
    """Refuse test images of a shape that the network cannot take, and a network whose outputs do not fit the targets.

    On a GPU the latter would end in a device-side assertion. `image` is a prepared training image.
    """
    with torch.inference_mode():
        outputs = net.eval()(image)
        if (found := test[0].shape[1:]) != image.shape[1:]:
            try:
                net(normalise(test[0][:1].to(test[1].device)))
            except RuntimeError:
                raise InputError(
                    f"test: images {tuple(found)}; should be {tuple(image.shape[1:])}, as those of train"
                ) from None
    for name, (_, targets) in (("train", train), ("test", test)):
        lowest, highest = targets.min().item(), targets.max().item()
        if outputs.shape[1:-1] != targets.shape[1:] or lowest < 0 or highest >= outputs.shape[-1]:
            raise InputError(
                f"{name}: targets {tuple(targets.shape)} from {lowest} to {highest} do not fit a network with outputs "
                f"(N, {', '.join(map(str, outputs.shape[1:]))})"
            )


def _always_finite() -> bool:
    return True


def _finite_later(losses: list[Tensor]) -> Callable[[], bool]:
    """Return a function that says whether losses are finite; True as long as the device still computes them."""
    finite = torch.isfinite(torch.stack(losses)).all().to("cpu", non_blocking=True)
    if losses[0].device.type != "cuda":
        return lambda: bool(finite)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(losses[0].device))
    return lambda: not copied.query() or bool(finite)  # type: ignore[no-untyped-call]


def _check_finite(history: History, name: str, loss: float, recipe: Recipe) -> None:
    if not math.isfinite(loss):
        raise DivergenceError(
            f"training diverged in epoch {history.epochs + 1}: {name} {loss:g}; "
            f"try a learning rate below {recipe.lr:g}",
            history,
        )
