"""What a network costs: parameters and multiply-adds by the formulas of section 3.4, milliseconds by measurement."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import nn

from ..training.recipe import Recipe, make_optimizer
from ..training.step import loss_of
from .builder import Cost
from .grammar import Dcl, Layer, parse_layers


def break_even(fan_in: int, outputs: int) -> float:
    """Sum of the branches' filters above which DCL has more weights and multiply-adds than the layer (3.4).

    Parameters
    ----------
    fan_in : int
        Inputs of one filter of the layer, u^2 K1.
    outputs : int
        Filters of the layer, K2.
    """
    return fan_in * outputs / (fan_in + outputs)


def total(costs: tuple[Cost, ...]) -> Cost:
    """Sums over a network's layers."""
    weights, biases, multiply_adds = (
        sum(getattr(cost, name) for cost in costs) for name in ("weights", "biases", "multiply_adds")
    )
    return Cost("total", costs[-1].shape, weights, biases, multiply_adds)


def bilinear_counterpart(notation: str) -> str | None:
    """Notation with bilinear fusion of the same branches instead of DCL (3.3); None unless all DCLs have two."""
    layers = parse_layers(notation)
    modules = [layer.dcl for layer in layers if layer.dcl is not None]
    if not modules or any(len(dcl.filters) > 2 or dcl.fusion == "bilinear" for dcl in modules):
        return None
    return "-".join(str(_bilinear(layer)) for layer in layers)


def _bilinear(layer: Layer) -> Layer:
    return layer if layer.dcl is None else replace(layer, dcl=Dcl(layer.dcl.filters, "bilinear"))


@dataclass(frozen=True)
class Timing:
    """Milliseconds per batch, one value per round."""

    forward: list[float]  # in evaluation
    step: list[float]  # forward, backward and the optimiser's step

    @property
    def medians(self) -> tuple[float, float]:
        """Medians of `forward` and `step`."""
        return median(self.forward), median(self.step)


def measure(
    networks: Mapping[str, nn.Module],
    shape: tuple[int, ...],
    classes: int,
    *,
    batch: int = 128,
    rounds: int = 5,
    device: torch.device | None = None,
) -> dict[str, Timing]:
    """Measure milliseconds per batch of each network; the networks take turns, after one round of warm-up.

    Parameters
    ----------
    networks : mapping of nn.Module
        Networks by name, each from float (batch, *shape) to (batch, classes).
    """
    place = device or torch.device("cpu")
    images = torch.rand(batch, *shape, device=place)
    if images.ndim == 4:
        images = images.to(memory_format=torch.channels_last)
    targets = torch.randint(classes, (batch,), device=place)
    timings = {name: Timing([], []) for name in networks}
    steps = {name: _steps(net.to(place), images, targets) for name, net in networks.items()}
    for turn in range(rounds + 1):
        for name, (forward, step) in steps.items():
            for act, kept in ((forward, timings[name].forward), (step, timings[name].step)):
                elapsed = _milliseconds(act, place)
                if turn:
                    kept.append(elapsed)
    return timings


def _steps(net: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> tuple[Callable[[], None], ...]:
    if images.ndim == 4:
        net.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(net, Recipe(lr=1e-6))  # a rate at which nothing diverges

    def forward() -> None:
        net.eval()
        with torch.inference_mode():
            net(images)

    def step() -> None:
        net.train()
        loss_of(net(images), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()  # at the end, so that a network that waits for its turn holds no gradients

    return forward, step


def _milliseconds(act: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    act()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return 1000 * (time.perf_counter() - began)
