"""`mnistcompose compare-images`: the networks of the paper's Table 2, with and without DCL."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnistcompose.errors import BuildError, InputError

from .grids import pool_of, print_data, reports
from .options import BFLOAT16, DEVICE, PROGRESS, LocalPath, grid_options, split_list
from .shared import print_table
from .train import need_torch, watching

if TYPE_CHECKING:
    from dcl.experiments.run import Run


@click.command("compare-images")
@click.argument("datasets", metavar="[svhn|cifar10|cifar100|ilsvrc2012|fashion-mnist]...", nargs=-1)
@click.option("--root", type=LocalPath(), default=Path("data"), show_default=True, help="Folder of the image sets.")
@click.option("--download", is_flag=True, help="Let torchvision download missing sets (not ilsvrc2012).")
@click.option(
    "--networks",
    multiple=True,
    default=["lenet", "bignet", "wrn"],
    show_default=True,
    callback=split_list,
    help="Networks, separated by commas or in repeated options: lenet, bignet, wrn, alexnet. Each is trained without "
    "and with DCL (two branches). Name one with +dcl3s, too, for three stochastic branches.",
)
@grid_options("results/table2")
@click.option(
    "--epochs", type=click.IntRange(1), help="Number of epochs, instead of the recipe's; scales the schedule."
)
@click.option("--lr", type=float, help="Highest learning rate, instead of the recipe's.")
@click.option("--batch-size", type=int, help="Images per step, instead of the recipe's.")
@click.option("--validate", is_flag=True, help="Measure on held-out training images, not on the test set.")
@DEVICE
@BFLOAT16
@PROGRESS
@click.option("--others", is_flag=True, help="Also print the other methods of the paper's table.")
def compare_images(
    datasets: tuple[str, ...],
    root: Path,
    download: bool,
    networks: tuple[str, ...],
    seeds: int,
    first_seed: int,
    epochs: int | None,
    lr: float | None,
    batch_size: int | None,
    validate: bool,
    out: Path,
    keep: bool,
    workers: int,
    device: str,
    bfloat16: bool,
    progress: bool | None,
    others: bool,
    style: str | None,
) -> None:
    """Train networks on image sets, without and with DCL, by the paper's recipes, and print them as its Table 2.

    Every run is stored in the folder --out as it ends; the same command, or a larger one, does only the missing runs.
    Without datasets, the table of the stored runs is printed.
    """
    need_torch()
    from dcl.data.image_sets import open_images
    from dcl.experiments.grid import grid, run_grid
    from dcl.experiments.image_recipes import IMAGE_RECIPES, augmentation, recipe_name
    from dcl.experiments.run_file import read_records
    from dcl.models.networks import IMAGE_NETWORKS, image_network_shape, without_dcl
    from dcl.reporting.table import markdown_table, summarise
    from dcl.reporting.table2 import pivot

    for name in networks:
        image_network_shape(name)  # refuses an unknown name
    wanted = {without_dcl(name) for name in networks} | {_with_dcl(name) for name in networks}
    forms = {
        plain: [name for name in IMAGE_NETWORKS if name in wanted and without_dcl(name) == plain]
        for plain in dict.fromkeys(map(without_dcl, networks))
    }
    grids: dict[str, list[Run]] = {}  # each network on a set has its own recipe and epochs
    for dataset in dict.fromkeys(datasets):
        for network, models in forms.items():
            data = open_images(dataset, root, augmentation(network, dataset), download=download, validation=validate)
            how = IMAGE_RECIPES[recipe_name(network, dataset)]
            grids[f"{dataset}-{network}"] = grid(
                [data],
                models,
                range(first_seed, first_seed + seeds),
                epochs=epochs or how.epochs_of(next(iter(data.splits.values()))["images"]),
                recipe=replace(
                    how.recipe,
                    lr=how.recipe.lr if lr is None else lr,
                    batch_size=how.recipe.batch_size if batch_size is None else batch_size,
                ),
                precision="bfloat16" if bfloat16 else "float32",
                device=device,
            )
    runs = [run for group in grids.values() for run in group]
    records, failed = [], []
    with watching(progress) as show:
        pool = pool_of(workers)
        on_epoch, on_end = reports(runs, show, pool)
        for folder, group in grids.items():
            try:
                records += run_grid(group, out / folder, keep=keep, pool=pool, on_epoch=on_epoch, on_end=on_end)
            except BuildError as error:  # the other grids are done all the same
                failed.append(error)
    if failed:
        raise failed[0]
    if not runs:
        records = [record for stored in sorted(out.glob("*")) for record in read_records(stored).values()]
        if not records:
            raise InputError(f"{out}: holds no runs; give the image sets to train on, or another --out")
    rows = summarise(records)
    if print_data(rows, style):
        return
    head, lines = pivot(rows, others)
    if style == "markdown":
        click.echo(markdown_table(head, lines))
        return
    print_table(head, lines)


def _with_dcl(network: str) -> str:
    """The form with DCL that is trained for a network's name."""
    from dcl.models.networks import DCL

    return network if DCL in network else network + DCL
