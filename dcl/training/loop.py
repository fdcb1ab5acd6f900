"""The only training loop.

The data lies on the device as uint8 and is gathered there, batch by batch, by index: no DataLoader, and nothing is read
back from the device before the end of an epoch. Everything random follows from the seed and the epoch's number, so that
a resumed run needs no replay: on a CPU it ends with the same bits as an uninterrupted one.
"""

import hashlib
import io
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mnistcompose.errors import BuildError, InputError
from mnistcompose.storage.shards import failing, write_file

Schedule = Literal["one-cycle", "linear", "constant"]
STEPS = re.compile(r"x(0?\.[0-9]{1,9}) at ([0-9]{1,9}(?:,[0-9]{1,9})*) of ([0-9]{1,9})")
Precision = Literal["float32", "bfloat16"]

EVALUATION_BATCH = 500
CHECKPOINT_FORMAT = 1
STEPS_PER_CHECK = 100  # between two looks at whether the loss is still finite


class DivergenceError(ArithmeticError):
    """The loss is NaN or infinite.

    Attributes
    ----------
    history : History
        Of the epochs that ended before.
    """

    def __init__(self, message: str, history: "History") -> None:
        super().__init__(message)
        self.history = history

    @property
    def epoch(self) -> int:
        """Number of the epoch in which it happened, from 1."""
        return self.history.epochs + 1


class TensorSource(Protocol):
    """What `ShardedDigits` and `ComposedDigits` offer, and anything else that holds a whole split."""

    def as_tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Images uint8 (N, C, H, W) and targets int64, (N,) or (N, k), on the device."""
        ...


Data = TensorSource | tuple[Tensor, Tensor]


# --- the recipe -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, but for the number of epochs and the seed.

    Raises
    ------
    InputError
        A value is out of its range.
    """

    batch_size: int = 128
    lr: float = 0.1  # the highest learning rate of the schedule
    momentum: float = 0.9  # Nesterov's
    weight_decay: float = 1e-3  # of weights; biases and normalisation layers have none
    schedule: str = "one-cycle"  # a `Schedule`, or steps, as in "x0.1 at 120,140 of 150"
    warmup: float = 0.3  # share of the steps in which the learning rate rises
    clip: float | None = None  # a gradient with a larger norm, over all parameters, is shortened to it

    def __post_init__(self) -> None:
        checks: dict[str, tuple[bool, str]] = {
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "lr": (0 < self.lr < math.inf, "above 0"),
            "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0"),
            "schedule": (
                self.schedule in get_args(Schedule) or _drops(self.schedule) is not None,
                f"one of {', '.join(get_args(Schedule))}, or steps, as in 'x0.1 at 120,140 of 150'",
            ),
            "warmup": (0 <= self.warmup < 1, "at least 0 and below 1"),
            "clip": (self.clip is None or 0 < self.clip < math.inf, "above 0"),
        }
        for name, (fine, wanted) in checks.items():
            if not fine:
                raise InputError(f"recipe: {name} = {getattr(self, name)!r}: should be {wanted}")

    def fields(self) -> dict[str, str | int | float]:
        """What is set, by name; an option that is added later changes no stored run."""
        return {name: value for name, value in asdict(self).items() if value is not None}


DEFAULT_RECIPE = Recipe()
DEFAULT_EPOCHS = 20


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of step `step` (from 0) of `steps`: a straight rise to `recipe.lr`, then the schedule's descent.

    one-cycle descends to 0 along half a cosine, linear along a straight line, constant stays; "x0.1 at 120,140 of 150"
    multiplies by 0.1 when 120/150 of the steps are done, and again at 140/150.
    """
    done = (step + 0.5) / steps
    if done < recipe.warmup:
        return recipe.lr * done / recipe.warmup
    descended = (done - recipe.warmup) / (1 - recipe.warmup)
    if recipe.schedule == "one-cycle":
        return recipe.lr * (1 + math.cos(math.pi * descended)) / 2
    drops = _drops(recipe.schedule)
    if drops is not None:
        factor, places, whole = drops
        return recipe.lr * factor ** sum(step * whole >= place * steps for place in places)
    return recipe.lr * (1 - descended) if recipe.schedule == "linear" else recipe.lr


@cache
def _drops(schedule: str) -> tuple[float, tuple[int, ...], int] | None:
    """Factor, places and whole of a schedule in steps; None of what is none, or does not rise within the whole."""
    found = STEPS.fullmatch(schedule)
    if found is None:
        return None
    places, whole = tuple(map(int, found[2].split(","))), int(found[3])
    rising = all(a < b for a, b in pairwise((0, *places, whole)))
    return (float(found[1]), places, whole) if rising and float(found[1]) > 0 else None


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum over the network's parameters, in one fused kernel where the device has one.

    Momentum buffers exist from the start: the branches that sit out an iteration of stochastic DCL have no gradient in
    it, and the fused kernel takes either all buffers or none.
    """
    parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}
    decayed = [p for name, p in parameters.items() if p.ndim > 1 and "bias" not in name]
    others = [p for name, p in parameters.items() if p.ndim <= 1 or "bias" in name]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=all(p.device.type in {"cpu", "cuda"} for p in parameters.values()),
    )
    for p in parameters.values():
        optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
    return optimizer


# --- data on the device ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of the training images' grey levels (0 to 255), a value a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def measured(cls, images: Tensor) -> "Normalisation":
        """Of uint8 images (N, C, H, W); exact integer sums, the same on every device."""
        total = torch.zeros(images.shape[1], dtype=torch.int64, device=images.device)
        squares = torch.zeros_like(total)
        for chunk in torch.split(images, 4096):
            wide = chunk.to(torch.int32)
            total += wide.sum((0, 2, 3))
            squares += wide.square_().sum((0, 2, 3))
        count = images.numel() // images.shape[1]
        mean = [value / count for value in total.tolist()]
        variance = [value / count - m * m for value, m in zip(squares.tolist(), mean, strict=True)]
        return cls(tuple(mean), tuple(math.sqrt(v) if v > 0 else 1.0 for v in variance))

    def on(self, device: torch.device) -> "Normaliser":
        """Make the function that turns a batch of uint8 images on that device into a network's input."""
        shift, scale = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (self.mean, [1 / s for s in self.std])
        )

        def normalise(images: Tensor) -> Tensor:
            floats = images.to(torch.float32, memory_format=torch.channels_last)
            return floats.sub_(shift).mul_(scale)

        return normalise


Normaliser = Callable[[Tensor], Tensor]


def resolve_device(name: str) -> torch.device:
    """`auto` is cuda where there is one, else mps, else cpu.

    Raises
    ------
    InputError
        No such device here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in available.items() if present))
    kind = name.partition(":")[0]
    if not available.get(kind, False):
        here = ", ".join(kind for kind, present in available.items() if present)
        raise InputError(f"device {name!r} is not available; here there is: auto, {here}")
    try:
        return torch.device(name)
    except RuntimeError:
        raise InputError(f"device {name!r} is not understood; write {kind} or {kind}:0") from None


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device does not compute natively: emulated bfloat16 is hundreds of times slower.

    Raises
    ------
    InputError
        bfloat16 on a processor without it, or on mps; another precision.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision = {precision!r}: should be one of {', '.join(get_args(Precision))}")
    if precision == "bfloat16" and not _has_bfloat16(device):
        raise InputError(f"precision = 'bfloat16': this {device.type} device does not compute it natively; use float32")


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not every version of torch has them
    on_cpu = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return device.type == "meta" or (device.type == "cpu" and on_cpu)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Context in which a network of that precision runs."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def to_tensors(data: Data, device: torch.device, name: str = "data", *, resident: bool = True) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, C, H, W) and targets int64 (N,) or (N, k) on the device, checked.

    Unless `resident`, the images stay where they are.

    Raises
    ------
    InputError
        Another shape or dtype, or no image at all.
    """
    images, targets = data if isinstance(data, tuple) else data.as_tensors(device)
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise InputError(f"{name}: images are {images.dtype} {tuple(images.shape)}; should be uint8 (N, C, H, W)")
    if targets.dtype != torch.int64 or targets.ndim not in {1, 2}:
        raise InputError(f"{name}: targets are {targets.dtype} {tuple(targets.shape)}; should be int64 (N,) or (N, k)")
    if len(images) != len(targets) or len(images) == 0:
        raise InputError(f"{name}: {len(images)} images and {len(targets)} targets; should be as many, and at least 1")
    return images.to(device) if resident else images, targets.to(device)


def fingerprint(images: Tensor, targets: Tensor) -> str:
    """SHA-256 of a split's shapes, pixels and targets, in hexadecimal."""
    digest = hashlib.sha256(f"{tuple(images.shape)} {tuple(targets.shape)}".encode())
    for tensor in (images, targets):
        digest.update(tensor.contiguous().cpu().numpy().data)
    return digest.hexdigest()


# --- one step -------------------------------------------------------------------------------------------------------


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, mean over the samples, and sum over the positions where there are any.

    Parameters
    ----------
    outputs : float (N, classes), or (N, k, classes) for a classifier a position
    targets : int64 (N,), or (N, k)
    """
    if targets.ndim == 1:
        return F.cross_entropy(outputs, targets)
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten()) * targets.shape[1]


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: tuple[Tensor, Tensor],
    index: Tensor,
    normalise: Normaliser,
    precision: str = "float32",
    clip: float | None = None,
) -> Tensor:
    """One step on the samples `index` (int64 (n,), on the device). Returns the loss, still on the device.

    `precision` as in `fit`, `clip` as in `Recipe`.
    """
    images, targets = data
    chosen = images.index_select(0, index.to(images.device)).to(index.device)  # as a rule both are no-ops
    batch, wanted = normalise(chosen), targets.index_select(0, index)
    optimizer.zero_grad()
    with autocast(precision, index.device):
        loss = loss_of(net(batch), wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        nn.utils.clip_grad_norm_(net.parameters(), clip)
    optimizer.step()
    return loss.detach()


def eval_step(
    net: nn.Module, images: Tensor, targets: Tensor, normalise: Normaliser, precision: str = "float32"
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of the losses of a batch (of a network in evaluation mode); predictions and ranks in the targets' shape.

    The rank of a target is the number of classes that the network prefers to it.
    """
    with autocast(precision, images.device):
        outputs = net(normalise(images)).float()
    ranks = (outputs > outputs.gather(-1, targets[..., None])).sum(-1)
    return loss_of(outputs, targets) * len(targets), outputs.argmax(-1), ranks


# --- evaluation -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evaluation:
    """What a network makes of a split."""

    loss: float  # mean cross-entropy
    error: float  # share of wrong samples, in percent; with a target a position, one wrong position suffices
    top5_error: float  # share of samples whose target, or one of them, is not among the five best, in percent
    predictions: NDArray[np.int64]  # (N,) or (N, k)
    wrong: NDArray[np.bool_]  # (N,)


def evaluate(
    net: nn.Module,
    data: Data,
    normalisation: Normalisation,
    device: str | torch.device = "auto",
    *,
    precision: str = "float32",
    resident: bool = True,
) -> Evaluation:
    """Loss, error and predictions of a network on a split.

    `normalisation` is the one it was trained with; `precision` and `resident` as in `fit`.

    Raises
    ------
    InputError
        As `to_tensors`, `resolve_device` and `check_precision`.
    """
    place = resolve_device(device) if isinstance(device, str) else device
    check_precision(precision, place)
    images, targets = to_tensors(data, place, resident=resident)
    was_training = net.training
    net.to(place).eval()
    normalise = normalisation.on(place)
    with torch.inference_mode():
        steps = [
            eval_step(
                net,
                images[i : i + EVALUATION_BATCH].to(place),
                targets[i : i + EVALUATION_BATCH],
                normalise,
                precision,
            )
            for i in range(0, len(images), EVALUATION_BATCH)
        ]
        losses, predictions, ranks = zip(*steps, strict=True)
        predicted = torch.cat(predictions)
        loss = float(torch.stack(losses).cpu().double().sum()) / len(targets)
        wrong, missed = (
            per_target.view(len(targets), -1).any(1).cpu().numpy()
            for per_target in (predicted != targets, torch.cat(ranks) >= 5)
        )
    net.train(was_training)
    return Evaluation(loss, 100 * float(wrong.mean()), 100 * float(missed.mean()), predicted.cpu().numpy(), wrong)


# --- the loop -------------------------------------------------------------------------------------------------------


@dataclass
class History:
    """What a training run measured, a value an epoch."""

    normalisation: Normalisation
    train_loss: list[float] = field(default_factory=list)  # mean over the epoch's steps, dropout on
    test_loss: list[float] = field(default_factory=list)
    test_error: list[float] = field(default_factory=list)  # percent
    seconds: list[float] = field(default_factory=list)  # training alone, without evaluation
    images_per_second: list[float] = field(default_factory=list)

    @property
    def error(self) -> float:
        """Test error after the last epoch, in percent."""
        return self.test_error[-1]

    @property
    def epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.train_loss)

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "History":
        """Inverse of `dataclasses.asdict`."""
        normalisation = Normalisation(*(tuple(state["normalisation"][key]) for key in ("mean", "std")))
        return cls(**{**state, "normalisation": normalisation})


def _materialise(net: nn.Module, images: Tensor, place: torch.device) -> None:
    """Let lazy modules, such as `nn.LazyLinear`, see one image, from which they learn their shapes."""
    if any(is_lazy(each) for each in chain(net.parameters(), net.buffers())):
        was_training = net.training
        with torch.no_grad():
            net.eval()(torch.zeros(1, *images.shape[1:], device=place))
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
    resident: bool = True,
    checkpoint: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[History], None] | None = None,
) -> History:
    """Train a network, in place, and leave it on the device in evaluation mode.

    An epoch is a new permutation of the training set; its last samples, where they fill no whole batch, sit that epoch
    out (a training set smaller than a batch is one batch).

    Parameters
    ----------
    net : nn.Module
        From float (N, C, H, W) to (N, classes), or to (N, k, classes) where targets are (N, k).
    train, test : TensorSource or (images, targets)
        uint8 (N, C, H, W) and int64 (N,) or (N, k). The test set is only measured.
    seed : int
        Determines the order of the samples and every random choice in training. The network's initial weights are the
        caller's (`torch.manual_seed` before making it).
    precision : str
        `bfloat16` runs the network under autocast, in training and in evaluation, where the processor multiplies
        bfloat16 natively (`check_precision`). Weights, the fusion and the loss stay in float32.
    augment : callable, optional
        Applied to every batch of training images, uint8 on the device; what it draws from torch's generators follows
        from the seed.
    resident : bool
        False leaves the images where they are, as they may not fit onto the device, and sends them batch by batch.
    checkpoint : str or Path, optional
        Written atomically after every epoch. Where it exists, the run goes on from it; with the same number of threads
        on a CPU it ends with the same bits as an uninterrupted one.
    about : mapping, optional
        Plain values that describe the network, kept in the checkpoint; a checkpoint that says otherwise is refused.
    progress : callable, optional
        Called after every epoch with the history so far.

    Raises
    ------
    InputError
        Data, arguments or a checkpoint that do not go together.
    DivergenceError
        The loss is NaN or infinite. Checked every `STEPS_PER_CHECK` steps, and at the end of each epoch.
    BuildError
        The checkpoint cannot be written, or is damaged.
    """
    place = resolve_device(device)
    check_precision(precision, place)
    if epochs < 1 or seed < 0:
        raise InputError(f"epochs = {epochs}, seed = {seed}: should be at least 1, and at least 0")
    data, held_out = (
        to_tensors(split, place, name, resident=resident) for split, name in ((train, "train"), (test, "test"))
    )
    _materialise(net.to(place), data[0], place)
    net.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    history = History(Normalisation.measured(data[0]))
    normalise = history.normalisation.on(place)
    prepare = normalise if augment is None else lambda images: normalise(augment(images))
    with _seeded(seed, 0, place):
        _check_outputs(net, data, held_out, prepare)
    optimizer = make_optimizer(net, recipe)
    identity = {**(about or {}), "epochs": epochs, "seed": seed, "precision": precision, **asdict(recipe)}
    checkpoint = None if checkpoint is None else Path(checkpoint)
    if checkpoint is not None:
        with failing("make the folder", checkpoint.parent):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
        identity["data"] = [fingerprint(*data), fingerprint(*held_out)]
        if checkpoint.exists():
            history = _restore(checkpoint, identity, net, optimizer)

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
                losses.append(train_step(net, optimizer, data, index, prepare, precision, recipe.clip))
            train_loss = float(torch.stack(losses).cpu().double().mean())
            seconds = time.perf_counter() - began
        _check_finite(history, "train loss", train_loss, recipe)
        measured = evaluate(net, held_out, history.normalisation, place, precision=precision, resident=resident)
        _check_finite(history, "test loss", measured.loss, recipe)
        history.train_loss.append(train_loss)
        history.test_loss.append(measured.loss)
        history.test_error.append(measured.error)
        history.seconds.append(seconds)
        history.images_per_second.append(len(order) / seconds)
        if checkpoint is not None:
            _save(checkpoint, identity, net, optimizer, history)
        if progress is not None:
            progress(history)
    net.eval()
    return history


@contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[torch.Generator]:
    """A generator for the order of an epoch, and torch's own generators seeded for it; these are put back after."""
    order, choices = (int(word) for word in np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(choices)
        yield torch.Generator().manual_seed(order)


def _check_outputs(
    net: nn.Module, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], prepare: Normaliser
) -> None:
    """Refuse a network whose outputs do not fit the targets: on a GPU that would end in a device-side assertion."""
    with torch.inference_mode():
        outputs = net.eval()(prepare(train[0][:1].to(train[1].device)))
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
    """Ask whether losses are finite, of which a device may still be computing some: until it has, they pass for it."""
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


# --- checkpoints ----------------------------------------------------------------------------------------------------


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Returns
    -------
    dict
        `identity` (what determined the run, and `fit`'s `about`), `weights`, `momentum`, `history`.

    Raises
    ------
    InputError
        There is no such file.
    BuildError
        It is damaged, or no checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != CHECKPOINT_FORMAT:
            raise BuildError(
                f"{path}: a checkpoint of format {state['format']!r}; this version reads {CHECKPOINT_FORMAT}"
            )
        return {key: dict(state[key]) for key in ("identity", "weights", "momentum", "history")}
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except BuildError:
        raise
    except Exception as error:  # torch.load has no exception of its own for a damaged file
        raise BuildError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); delete it to start anew"
        ) from None


def _save(path: Path, identity: dict[str, Any], net: nn.Module, optimizer: torch.optim.SGD, history: History) -> None:
    state = {
        "format": CHECKPOINT_FORMAT,
        "identity": identity,
        "weights": net.state_dict(),
        "momentum": {
            name: optimizer.state[p]["momentum_buffer"] for name, p in net.named_parameters() if p.requires_grad
        },
        "history": asdict(history),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_file(path, buffer.getvalue())


def _restore(path: Path, identity: dict[str, Any], net: nn.Module, optimizer: torch.optim.SGD) -> History:
    state = load_checkpoint(path)
    for key, wanted in identity.items():
        if state["identity"].get(key) != wanted:
            raise InputError(
                f"{path}: belongs to a run with another {key} ({state['identity'].get(key)!r}, not {wanted!r}); "
                "delete it, or choose another output"
            )
    try:
        net.load_state_dict(state["weights"])
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                optimizer.state[parameter]["momentum_buffer"].copy_(state["momentum"][name])
        return History.from_dict(state["history"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise BuildError(
            f"{path}: does not fit this network ({type(error).__name__}); delete it to start anew"
        ) from None
