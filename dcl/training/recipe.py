"""How a network is trained: the recipe, its learning rate, its optimiser."""

import math
import re
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import nn

from mnistcompose.arguments import real, whole
from mnistcompose.errors import InputError

Schedule = Literal["one-cycle", "linear", "constant"]
STEPS = re.compile(r"x(0?\.[0-9]{1,9}) at ([0-9]{1,9}(?:,[0-9]{1,9})*) of ([0-9]{1,9})")


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
    max_grad_norm: float | None = None  # a gradient with a larger norm, over all parameters, is scaled down to it

    def __post_init__(self) -> None:
        own = {name: real(f"recipe: {name}", value) for name in _REAL if (value := getattr(self, name)) is not None}
        for name, number in {"batch_size": whole("recipe: batch_size", self.batch_size, 1), **own}.items():
            object.__setattr__(self, name, number)  # a checkpoint holds plain values only
        checks: dict[str, tuple[bool, str]] = {
            "lr": (0 < self.lr < math.inf, "above 0"),
            "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0"),
            "schedule": (
                self.schedule in get_args(Schedule) or _drops(str(self.schedule)) is not None,
                f"one of {', '.join(get_args(Schedule))}, or steps, as in 'x0.1 at 120,140 of 150'",
            ),
            "warmup": (0 <= self.warmup < 1, "at least 0 and below 1"),
            "max_grad_norm": (self.max_grad_norm is None or 0 < self.max_grad_norm < math.inf, "above 0"),
        }
        for name, (fine, wanted) in checks.items():
            if not fine:
                raise InputError(f"recipe: {name} = {getattr(self, name)!r}: should be {wanted}")

    def fields(self) -> dict[str, str | int | float]:
        """What is set, by its name in stored runs; an option that is added later changes no stored run."""
        return {_STORED.get(name, name): value for name, value in asdict(self).items() if value is not None}


_REAL = ("lr", "momentum", "weight_decay", "warmup", "max_grad_norm")
_STORED = {"max_grad_norm": "clip"}  # names of older versions, which stored runs keep


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
    """Factor, places and whole of a schedule in steps; None if it is not one, or does not rise within the whole."""
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
