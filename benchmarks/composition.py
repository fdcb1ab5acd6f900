"""Do networks read numbers that they never saw? Measure it on layouts that hold numbers out.

    python benchmarks/composition.py --seeds 3        # trains, stores each run as it ends; the same command resumes
    python benchmarks/composition.py --table          # writes composition.md and composition.png

Three heads name a number: one softmax over all numbers, which can never name an unseen one and is the control;
`positions`, one softmax per position on the shared trunk; and the oracle, one network per position.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from report import ROOT
from torch import nn

import mnistcompose as mc
from dcl import evaluate, fit, lenet
from dcl.experiments.environment import environment
from dcl.experiments.registry import make_network, target_of
from dcl.reporting.figures import COLORS
from dcl.reporting.statistics import mean_and_std
from dcl.reporting.table import markdown_table, paper_notation
from dcl.training.precision import Precision
from mnistcompose.datasets.targets import TargetName
from mnistcompose.quantities import counted
from mnistcompose.storage.files import write_file
from mnistcompose.storage.schema import SplitName

RESULTS = ROOT / "results" / "composition"
LAYOUTS = ("MNIST-III-10-heldout", str(RESULTS / "MNIST-III-10-few.yaml"))  # 20 % and 90 % of the numbers held out
POSITIONS = "-positions"
CONTROL = "baseline"
MODELS = (CONTROL, *(f"{name}{POSITIONS}" for name in (CONTROL, "A2", "A3S")), "oracle")
SPLITS: tuple[SplitName, ...] = ("test", "test_unseen")


def make(model: str, classes: int, slots: int) -> tuple[nn.Module, TargetName]:
    """Make a network and say what it predicts."""
    if model.endswith(POSITIONS):
        net = lenet(classes * slots, model.removesuffix(POSITIONS))
        return nn.Sequential(net, nn.Unflatten(1, (slots, classes))), "digits"
    return make_network(model, classes, slots), target_of(model)


def seen_pairs(train: NDArray[np.uint8], digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many of each number's pairs of digits, at their places, occur in training, int64 (n,)."""
    count = np.zeros(len(digits), np.int64)
    for one, two in combinations(range(digits.shape[1]), 2):
        known = np.zeros((256, 256), bool)
        known[train[:, one], train[:, two]] = True
        count += known[digits[:, one], digits[:, two]]
    return count


def run(root: Path, model: str, seed: int, epochs: int, precision: Precision) -> dict[str, object]:
    """Train one model, and return its errors on seen and unseen numbers, in percent."""
    torch.manual_seed(seed)
    first = mc.ShardedDigits(root, "train")
    net, target = make(model, first.classes, first.slots)
    test, unseen = (mc.ShardedDigits(root, split, target=target) for split in SPLITS)
    train = mc.ShardedDigits(root, "train", target=target)
    history = fit(net, train, test, epochs=epochs, seed=seed, precision=precision)
    measured = zip(SPLITS, (test, unseen), strict=True)
    wrong = {split: evaluate(net, data, history.normalisation, precision=precision).wrong for split, data in measured}
    pairs = seen_pairs(mc.arrays(root, "train")["digits"][:], mc.arrays(root, "test_unseen")["digits"][:])
    by_pairs = {
        int(n): [int((pairs == n).sum()), 100 * float(wrong["test_unseen"][pairs == n].mean())] for n in set(pairs)
    }
    return {
        **{f"{split}_error_percent": 100 * float(wrong[split].mean()) for split in SPLITS},
        "unseen_by_seen_pairs": by_pairs,  # pairs seen in training: images, error
        "train_loss": history.train_loss,
        "seconds": sum(history.seconds),
        "environment": environment(torch.device("cpu")),
    }


@dataclass(frozen=True)
class Errors:
    """Error in percent of all runs of one model on one layout: an array of (runs,) for each group of test numbers."""

    layout: str
    model: str
    seen: NDArray[np.float64]
    unseen: NDArray[np.float64]
    unseen_by_pairs: dict[int, NDArray[np.float64]]  # by how many of a number's pairs occur in training


def stored() -> list[Errors]:
    """The stored runs, by layout and model."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*/*.json")):
        groups.setdefault((path.parent.name, path.stem.rpartition("-")[0]), []).append(json.loads(path.read_text()))
    return [
        Errors(
            layout,
            model,
            np.array([each["test_error_percent"] for each in runs]),
            np.array([each["test_unseen_error_percent"] for each in runs]),
            {
                int(pairs): np.array([each["unseen_by_seen_pairs"][pairs][1] for each in runs])
                for pairs in sorted(runs[0]["unseen_by_seen_pairs"], reverse=True)
            },
        )
        for (layout, model), runs in sorted(groups.items(), key=lambda item: (item[0][0], MODELS.index(item[0][1])))
    ]


def table(found: Sequence[Errors]) -> str:
    """Markdown: a row per layout and model, mean and standard deviation over run seeds."""

    def cell(errors: NDArray[np.float64] | None) -> str:
        return "" if errors is None else paper_notation(*mean_and_std(errors.tolist()))

    pairs = sorted({count for each in found for count in each.unseen_by_pairs}, reverse=True)
    head = ["layout", "model", "seen", "unseen", *(f"unseen, {counted(count, 'pair')} seen" for count in pairs), "runs"]
    lines = [
        [
            each.layout,
            each.model,
            *map(cell, (each.seen, each.unseen, *(each.unseen_by_pairs.get(count) for count in pairs))),
            str(len(each.seen)),
        ]
        for each in found
    ]
    return markdown_table(head, lines, texts=2)


def picture(found: Sequence[Errors]) -> Figure:
    """A panel per layout: errors on seen numbers, and on unseen ones by how many of their pairs were seen.

    Of the control, which misreads every unseen number, only the error on seen numbers is drawn.
    """
    layouts = sorted({each.layout for each in found})
    figure = Figure((7, 2.6), dpi=200, layout="constrained")
    for ax, layout in zip(figure.subplots(1, len(layouts), squeeze=False).flat, layouts, strict=True):
        mine = [each for each in found if each.layout == layout]
        places = ["seen", *(f"unseen,\n{counted(count, 'pair')}" for count in mine[0].unseen_by_pairs)]
        for shift, (each, color) in enumerate(zip(mine, COLORS, strict=False)):
            groups = (each.seen, *(() if each.model == CONTROL else each.unseen_by_pairs.values()))
            at = np.arange(len(groups)) + 0.08 * (shift - len(mine) / 2)
            ax.plot(at, [group.mean() for group in groups], "o-", ms=3, lw=0.8, color=color, label=each.model)
            for x, group in zip(at, groups, strict=True):
                ax.plot(np.full(len(group), x), group, "_", ms=4, color=color)
        ax.set_xticks(range(len(places)), places, fontsize=7)
        ax.set_ylim(bottom=0)
        ax.tick_params(labelsize=7)
        ax.set_title(layout, fontsize=8)
        ax.set_ylabel("numbers misread, %", fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=7, frameon=False)
    return figure


@click.command()
@click.option("--models", default=",".join(MODELS), show_default=True)
@click.option("--layouts", default=",".join(LAYOUTS), show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--epochs", default=20, show_default=True, help="The oracle has half of it, as in Table 1.")
@click.option("--bfloat16", is_flag=True)
@click.option("--table", "only_table", is_flag=True, help="Write table and picture of the stored runs; train nothing.")
def main(models: str, layouts: str, seeds: int, epochs: int, bfloat16: bool, only_table: bool) -> None:
    """Train what is not stored yet."""
    precision: Precision = "bfloat16" if bfloat16 else "float32"
    for seed in range(0 if only_table else seeds):
        for layout in layouts.split(","):
            spec = mc.load_spec(layout)
            mc.build(spec, root := ROOT / "data" / spec.name)
            for model in models.split(","):
                path = RESULTS / spec.name / f"{model}-{seed}.json"
                if path.exists():
                    continue
                last = epochs // 2 if model == "oracle" else epochs
                found = {"layout": spec.digest, "model": model, "seed": seed, "epochs": last, "precision": precision}
                found |= run(root, model, seed, last, precision)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, json.dumps(found, indent=1).encode() + b"\n")
                click.echo(
                    f"{spec.name} {model} {seed}: " + ", ".join(f"{found[f'{s}_error_percent']:.2f}" for s in SPLITS)
                )
    results = stored()
    (RESULTS / "composition.md").write_text(table(results) + "\n")
    picture(results).savefig(RESULTS / "composition.png")


if __name__ == "__main__":
    main()
