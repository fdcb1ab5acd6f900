"""Seconds an epoch of `dcl.fit`, of the usual PyTorch loop, and of the bare steps that no loop can do without.

    python benchmarks/train.py                 # a whole epoch each, interleaved, five rounds: minutes
    python benchmarks/train.py --images 6400   # a tenth of it

fit    this project's loop: data on the device as uint8, batches gathered there
usual  a Dataset as torchvision's MNIST class, ToTensor and Normalize, a DataLoader with two workers, loss.item() a step
bare   forward, backward and optimiser step on one batch that is ready, with the network and optimiser of `fit`
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from dcl.experiments.environment import environment
from dcl.experiments.registry import make_network
from dcl.training.device_data import Normalisation
from dcl.training.loop import fit
from dcl.training.recipe import DEFAULT_RECIPE, Recipe, make_optimizer
from dcl.training.step import loss_of
from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.layout.names import load_spec
from mnistcompose.storage.files import write_file

Split = tuple[Tensor, Tensor]
CPU = torch.device("cpu")


class UsualDataset(Dataset[tuple[Tensor, int]]):
    """What torchvision's MNIST class does for a sample."""

    def __init__(self, split: Split, normalisation: Normalisation) -> None:
        self.data, self.targets = split[0][:, 0], split[1]
        mean, std = (tuple(v / 255 for v in values) for values in (normalisation.mean, normalisation.std))
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index].numpy())), int(self.targets[index])


def epoch_of_fit(net: nn.Module, train: Split, recipe: Recipe) -> float:
    return fit(net, train, (train[0][:500], train[1][:500]), epochs=1, device="cpu", recipe=recipe).seconds[0]


def usual_epoch(net: nn.Module, train: Split, recipe: Recipe) -> float:
    dataset = UsualDataset(train, Normalisation.measured(train[0]))
    loader = DataLoader(dataset, recipe.batch_size, shuffle=True, num_workers=2, drop_last=True)
    optimizer = torch.optim.SGD(
        net.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=len(loader))
    began = time.perf_counter()
    running = 0.0
    net.train()
    for images, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        running += loss.item()
    return time.perf_counter() - began


def bare_epoch(net: nn.Module, train: Split, recipe: Recipe) -> float:
    net.to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(net, recipe)
    images = Normalisation.measured(train[0]).on(CPU)(train[0][: recipe.batch_size])
    targets = train[1][: recipe.batch_size]
    steps = len(train[0]) // recipe.batch_size
    began = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(net(images), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - began


CONTESTANTS: dict[str, Callable[[nn.Module, Split, Recipe], float]] = {
    "fit": epoch_of_fit,
    "usual": usual_epoch,
    "bare": bare_epoch,
}


@click.command()
@click.option(
    "--models", default="baseline,A2,A3S,B2", show_default=True, help="Comma-separated; the usual loop for the first."
)
@click.option("--images", default=60_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--batch-size", default=DEFAULT_RECIPE.batch_size, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/train.json", show_default=True)
def main(models: str, images: int, rounds: int, batch_size: int, out: Path) -> None:
    """Measure all contestants in turn, round after round."""
    train = ComposedDigits(load_spec("MNIST-III-10"), "fit", length=images).as_tensors(CPU)
    recipe = Recipe(batch_size=batch_size, lr=0.01)  # untrained networks: no rate that could diverge in one epoch
    names = models.split(",")
    contestants = [(m, name) for m in names for name in CONTESTANTS if name != "usual" or m == names[0]]
    seconds: dict[str, dict[str, list[float]]] = {model: {} for model in names}
    for turn in range(rounds + 1):
        for model, name in contestants:
            torch.manual_seed(turn)
            warm_up = (train[0][: 20 * batch_size], train[1][: 20 * batch_size])
            elapsed = CONTESTANTS[name](make_network(model, 10, 3), train if turn else warm_up, recipe)
            seconds[model].setdefault(name, []).extend([elapsed] if turn else [])
    results: dict[str, Any] = {}
    for model in names:
        own = seconds[model]
        pairs = {"usual / fit": (own.get("usual", []), own["fit"]), "fit / bare": (own["fit"], own["bare"])}
        pairs |= {f"fit / {names[0]}'s": (own["fit"], seconds[names[0]]["fit"])} if model != names[0] else {}
        ratios = {name: median(x / y for x, y in zip(*pair, strict=True)) for name, pair in pairs.items() if pair[0]}
        results[model] = {"seconds": own, "ratios": ratios}
        for name, values in own.items():
            each = median(values)
            click.echo(f"{model:10} {name:6} {each:8.2f} s an epoch, {images / each:8,.0f} images/s")
        click.echo(f"{model:10} " + ", ".join(f"{name} = {ratio:.3f}" for name, ratio in ratios.items()))
    settings = {"images": images, "rounds": rounds, "batch_size": batch_size}
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {"benchmark": "train", **settings, "models": results, "environment": environment(CPU)}
    write_file(out, json.dumps(report, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
