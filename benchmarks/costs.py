"""Measure what DCL costs against the layer it replaces, and against bilinear fusion (sections 3.3 and 3.4).

    python benchmarks/costs.py

For LeNet's FC500 (800 inputs, batch 128) and its second convolution (20 channels of 12 x 12, 50 filters of 5 x 5, batch
128): weights, and milliseconds of evaluation and of a training step, against the original's, over filters a branch (M)
and branches (T). Section 3.4: DCL has fewer weights while (u^2 K1 + K2) sum M < u^2 K1 K2.
"""

import json
from pathlib import Path
from typing import Any

import click
import torch
from report import machine, table
from rich.console import Console
from torch import nn

from dcl.costs import BilinearFusion, measure
from dcl.fusion import DCLConv2d, DCLLinear

BATCH = 128


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.ndim > 1)


def layers(filters: list[int]) -> dict[str, tuple[tuple[int, ...], int, dict[str, nn.Module]]]:
    """By layer: the batch's shape, the largest sum of M that section 3.4 allows, and the modules."""
    full: dict[str, nn.Module] = {"original": nn.Linear(800, 500)}
    conv: dict[str, nn.Module] = {"original": nn.Conv2d(20, 50, 5)}
    for branches in (2, 3):
        for m in filters:
            full[f"DCL T={branches} M={m}"] = DCLLinear(800, 500, m, branches)
        for m in sorted({max(1, m // 10) for m in filters}):
            conv[f"DCL T={branches} M={m}"] = DCLConv2d(20, 50, 5, m, branches)
    for m in filters:
        if m <= 200:
            full[f"bilinear M={m}"] = BilinearFusion(800, 500, m)
    return {
        "FC500": ((BATCH, 800), 800 * 500 // (800 + 500), full),
        "C5@50": ((BATCH, 20, 12, 12), 25 * 20 * 50 // (25 * 20 + 50), conv),
    }


@click.command()
@click.option("--filters", default="25,50,100,150,200,300", show_default=True)
@click.option("--rounds", default=15, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/costs.json", show_default=True)
def main(filters: str, rounds: int, device: str, out: Path) -> None:
    """Measure, print tables, and write JSON."""
    torch.manual_seed(0)
    result: dict[str, Any] = {}
    for name, (shape, limit, modules) in layers([int(m) for m in filters.split(",")]).items():
        times = dict(zip(modules, measure(list(modules.values()), shape, torch.device(device), rounds), strict=True))
        first, weights = times["original"], {key: size(module) for key, module in modules.items()}
        rows = [
            (key, f"{weights[key]:,}", f"{weights[key] / weights['original']:.2f}", f"{t.forward:.2f} ms",
             f"{t.forward / first.forward:.2f}", f"{t.training:.2f} ms", f"{t.training / first.training:.2f}")
            for key, t in times.items()
        ]  # fmt: skip
        head = ("", "weights", "of original", "forward", "of original", "training step", "of original")
        Console().print(table(f"{name}: fewer weights up to sum M = {limit}", head, rows))
        result[name] = {
            key: {"weights": weights[key], "forward_ms": t.forward, "training_ms": t.training}
            for key, t in times.items()
        }
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {"batch": BATCH, "rounds": rounds, "device": device, "layers": result, "machine": machine("torch")}
    out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
