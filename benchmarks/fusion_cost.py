"""Time and memory of the bounded fusion, next to autograd's own chain of operations in the same run.

    python benchmarks/fusion_cost.py        # writes results/fusion/cost.json

Forward and backward of `fuse` on responses of LeNet's first fully-connected layer, interleaved, medians of many rounds.
Memory: bytes that autograd keeps for the backward pass, without the responses, which the ReLUs keep anyway.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
import torch
from torch import Tensor

from dcl.experiments.environment import environment
from dcl.models.fusion import MAX_SLOPE, fuse

SHAPE = (128, 500)  # a batch, and LeNet's FC500


def chain(responses: list[Tensor], eps: float) -> Tensor:
    """The formula in torch's own operations: an exact derivative."""
    product = responses[0]
    for response in responses[1:]:
        product = product * response
    return (product + eps).sqrt() if len(responses) == 2 else (product + eps).pow(1 / len(responses))


def kept_bytes(forward: Callable[[list[Tensor]], Tensor], responses: list[Tensor]) -> int:
    """Bytes of the distinct tensors, other than the responses, that wait for the backward pass."""
    own = {response.data_ptr() for response in responses}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward(responses)
    del result
    return sum(kept.values())


def seconds(forward: Callable[[list[Tensor]], Tensor], responses: list[Tensor], steps: int) -> float:
    """Seconds of a forward and a backward pass."""
    began = time.perf_counter()
    for _ in range(steps):
        forward(responses).sum().backward()  # type: ignore[no-untyped-call]
    return (time.perf_counter() - began) / steps


@click.command()
@click.option("--rounds", default=41, show_default=True, help="Interleaved rounds.")
@click.option("--steps", default=50, show_default=True, help="Steps per round.")
@click.option("--out", type=click.Path(path_type=Path), default="results/fusion/cost.json", show_default=True)
def main(rounds: int, steps: int, out: Path) -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    found = []
    for branches in (2, 3, 4):
        torch.manual_seed(0)
        responses = [torch.randn(SHAPE).relu().requires_grad_() for _ in range(branches)]
        eps = 10.0**-branches
        ways: dict[str, Callable[[list[Tensor]], Tensor]] = {
            "chain": lambda v, eps=eps: chain(v, eps),  # type: ignore[misc]
            "bounded": lambda v, eps=eps: fuse(v, eps, MAX_SLOPE),  # type: ignore[misc]
            "exact": lambda v, eps=eps: fuse(v, eps, None),  # type: ignore[misc]
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                times[name].append(seconds(way, responses, steps))
        typical = {name: median(values) for name, values in times.items()}
        found.append(
            {
                "branches": branches,
                "seconds": typical,
                "ratio_to_chain": {name: value / typical["chain"] for name, value in typical.items()},
                "kept_bytes": {name: kept_bytes(way, responses) for name, way in ways.items()},
            }
        )
    result = {"shape": SHAPE, "results": found, "environment": environment(torch.device("cpu"))}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    click.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
