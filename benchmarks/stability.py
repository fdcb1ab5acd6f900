"""What lets modules of many factors train: an epoch a line, with the number of outputs that are dead by then.

    python benchmarks/stability.py MNIST-II-05 B2 --epochs 5 --images 30000 --initial-bias 0
    python benchmarks/stability.py MNIST-III-10 A3D --epochs 20 --max-grad-norm 2

Trains on the split `fit` and measures on `validation`: the test set is never touched. `--initial-bias` is where
the second stage's biases start, instead of what `dcl.models.notation` sets. Output: results/recipe/stability.
"""

import click
import torch

from dcl.data.numbers import open_dataset
from dcl.models.fusion import DCLLinear
from dcl.models.networks import lenet
from dcl.reporting.claims import dead_outputs
from dcl.reporting.figures import module_responses
from dcl.training.history import History
from dcl.training.loop import fit
from dcl.training.recipe import Recipe

_LOOKED_AT = 5000  # images in which an output that fires for none counts as dead


@click.command()
@click.argument("layout")
@click.argument("model")
@click.option("--epochs", default=5, show_default=True)
@click.option("--images", default=60_000, show_default=True, help="Training images.")
@click.option("--initial-bias", default=0.0, show_default=True)
@click.option("--lr", default=0.1, show_default=True)
@click.option("--max-grad-norm", type=float)
@click.option("--warmup", default=0.3, show_default=True)
def main(
    layout: str,
    model: str,
    epochs: int,
    images: int,
    initial_bias: float,
    lr: float,
    max_grad_norm: float | None,
    warmup: float,
) -> None:
    """Train MODEL on LAYOUT, and print a line an epoch."""
    data, device = open_dataset(layout, validation=True), torch.device("cpu")
    train, held_out = (data.load(split, "number", device) for split in data.splits)
    torch.manual_seed(0)
    net = lenet(data.classes**data.slots, model)
    module = next((each for each in net.modules() if isinstance(each, DCLLinear)), None)
    if module is not None and module.mix_bias is not None:
        with torch.no_grad():
            for bias in module.mix_bias:
                bias += initial_bias - module.initial_bias

    def report(history: History) -> None:
        click.echo(
            f"{history.epochs} train {history.train_loss[-1]:.3f} test {history.test_loss[-1]:.3f} "
            f"err {history.test_error[-1]:.2f} dead {dead(history)} {history.seconds[-1]:.0f}s"
        )

    def dead(history: History) -> int:
        if module is None:
            return 0
        net.eval()
        _, branches = module_responses(net, held_out[0][:_LOOKED_AT], history.normalisation.on(device))
        return dead_outputs(branches, module.fusion)

    recipe = Recipe(lr=lr, max_grad_norm=max_grad_norm, warmup=warmup)
    fit(
        net,
        (train[0][:images], train[1][:images]),
        held_out,
        epochs=epochs,
        recipe=recipe,
        device="cpu",
        progress=report,
    )


if __name__ == "__main__":
    main()
