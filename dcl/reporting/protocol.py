"""The paper's protocol: which of our runs its numbers may stand next to."""

from collections.abc import Mapping
from typing import Any

from mnistcompose.digits.bank import load_digits
from mnistcompose.layout.names import bundled_names, load_spec

from ..experiments.image_recipes import IMAGE_RECIPES, recipe_name
from ..models.networks import IMAGE_NETWORKS

NOTE = (
    "The paper's layouts are lost. Ours are made so that the baseline's error is close to the paper's; compare gains, "
    "not errors."
)
EPOCHS, ORACLE_EPOCHS = 20, 10
NUMBERS = {"train": 60_000, "test": 10_000}
IMAGES = {
    "svhn": {"train": 598_388, "test": 26_032},
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar100": {"train": 50_000, "test": 10_000},
    "ilsvrc2012": {"train": 1_281_167, "test": 50_000},
}


def follows_protocol(run: Mapping[str, Any]) -> bool:
    """Whether a run has the protocol's number of images and epochs, and, of numbers, its layout, digits and data seed.

    A layout or a digit set that a run does not name, as those of old versions, passes for the bundled one.

    Parameters
    ----------
    run
        What determined the run.
    """
    model, dataset = run["model"], run["dataset"]
    counts = {split: entry["images"] for split, entry in run["splits"].items()}
    if run["measured_on"] != "test":
        return False
    if model in IMAGE_NETWORKS:
        recipe = IMAGE_RECIPES[recipe_name(model, dataset)]
        return counts == IMAGES.get(dataset) and run["epochs"] == recipe.epochs_of(counts["train"])
    epochs = ORACLE_EPOCHS if model == "oracle" else EPOCHS
    return (
        counts == NUMBERS
        and run["epochs"] == epochs
        and run.get("data_seed", 0) == 0
        and dataset in bundled_names()
        and run.get("spec") in (None, load_spec(dataset).digest)
        and run.get("digits") in (None, load_digits("test").digest)
    )
