"""What modules cost to run: sections 3.3 and 3.4, by the clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BilinearFusion(nn.Module):
    """The bilinear CNN's way to fuse two branches, z_k = y(1)' W_k y(2), to compare DCL with (section 3.3).

    Parameters
    ----------
    in_features, out_features : int
    filters : int
        M, of each of the two branches; each output has M^2 weights, where DCL's have 2 M.
    """

    def __init__(self, in_features: int, out_features: int, filters: int) -> None:
        super().__init__()
        self.theta = nn.ModuleList(nn.Linear(in_features, filters) for _ in range(2))
        self.mix = nn.Bilinear(filters, filters, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, in_features) to z (N, out_features)."""
        one, two = (F.relu(branch(x)) for branch in self.theta)
        fused: Tensor = self.mix(one, two)
        return fused


@dataclass(frozen=True)
class Times:
    """Milliseconds a batch: evaluation, and a step of training without the optimiser."""

    forward: float
    training: float


def measure(
    modules: Sequence[nn.Module],
    shape: tuple[int, ...],
    device: torch.device,
    rounds: int = 15,
    repeats: int = 3,
    inner: bool = True,
) -> list[Times]:
    """Median times of modules on a batch of random numbers, taken in turns, so that a busy moment hits all alike.

    Parameters
    ----------
    shape
        Of the batch.
    repeats
        Passes that are timed together.
    inner
        Whether a gradient flows on, to layers before; a whole network has none.
    """
    x = torch.rand(shape, device=device, requires_grad=inner)

    def forward(module: nn.Module) -> None:
        with torch.inference_mode():
            module(x)

    def training(module: nn.Module) -> None:
        module.zero_grad()
        module(x).square().mean().backward()

    def milliseconds(work: Callable[[nn.Module], None], module: nn.Module) -> float:
        _wait(device)
        begun = perf_counter()
        for _ in range(repeats):
            work(module)
        _wait(device)
        return 1000 * (perf_counter() - begun) / repeats

    taken: list[tuple[list[float], list[float]]] = [([], []) for _ in modules]
    for module in modules:
        module.to(device)
        training(module)  # what is made once is not counted
    for _ in range(rounds):
        for module, (forwards, trainings) in zip(modules, taken, strict=True):
            forwards.append(milliseconds(forward, module.eval()))
            trainings.append(milliseconds(training, module.train()))
    return [Times(median(forwards), median(trainings)) for forwards, trainings in taken]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
