"""How the paper trains its networks on images (section 4.2), by name, and how they are trained on Fashion-MNIST."""

from dataclasses import dataclass, replace

from ..data.augmentation import Augmentation
from ..models.networks import without_dcl
from ..training.recipe import Recipe


@dataclass(frozen=True)
class ImageRecipe:
    """A network's recipe; its length is in epochs or, for some networks of the paper, in samples."""

    recipe: Recipe
    crop: int | None = None
    padding: int = 0
    epochs: int | None = None
    samples: int = 0

    def epochs_of(self, images: int) -> int:
        """Number of epochs for a number of training images, at least 1."""
        return self.epochs or max(1, round(self.samples / images))


# Momentum is Nesterov's, as everywhere in `dcl.training.loop`. Where the paper is silent:
# lenet    its schedule is that of Caffe's CIFAR10 example, and so are batch size, momentum and weight decay
# bignet   batch size, momentum and weight decay are ours
# wrn      "the original implementation", that is 200 epochs at 0.1, 0.02, 0.004, 0.0008, and for SVHN 160 epochs at
#          0.01, 0.001, 0.0001; without the original's dropout on SVHN
# alexnet  nothing; Caffe's doubled learning rate of biases is left out
_OF_PAPER = {
    "lenet": ImageRecipe(Recipe(100, 1e-3, 0.9, 4e-3, "x0.1 at 120,140 of 150", 0), epochs=150),
    "bignet": ImageRecipe(Recipe(128, 1e-2, 0.9, 5e-4, "x0.1 at 6,9 of 10", 0), crop=24, samples=10_000_000),
    "wrn": ImageRecipe(Recipe(128, 0.1, 0.9, 5e-4, "x0.2 at 60,120,160 of 200", 0), padding=4, epochs=200),
    "wrn-svhn": ImageRecipe(Recipe(128, 0.01, 0.9, 5e-4, "x0.1 at 80,120 of 160", 0), epochs=160),
    "alexnet": ImageRecipe(
        Recipe(256, 1e-2, 0.9, 5e-4, "x0.1 at 100,200,300,400 of 450", 0), crop=227, samples=450_000 * 256
    ),
}

# The paper has no Fashion-MNIST. Its schedules for CIFAR10 are shortened to a tenth: 15, 17 (a million samples) and 20
# epochs of 60,000 images. The rate falls after the same shares of them; all else is the paper's.
_SHORTENED = {
    "lenet": replace(_OF_PAPER["lenet"], epochs=15),
    "bignet": replace(_OF_PAPER["bignet"], samples=1_000_000),
    "wrn": replace(_OF_PAPER["wrn"], epochs=20),
}
IMAGE_RECIPES = _OF_PAPER | {f"{network}-fashion-mnist": recipe for network, recipe in _SHORTENED.items()}


def recipe_name(network: str, dataset: str) -> str:
    """Name in `IMAGE_RECIPES` of the recipe of a network, with or without DCL, on a set."""
    plain = without_dcl(network)
    special = f"{plain}-{dataset}"
    return special if special in IMAGE_RECIPES else plain


def augmentation(network: str, dataset: str) -> Augmentation:
    """Augmentation of a set's images for a network: windows of the recipe's size, and flips except of house numbers."""
    recipe = IMAGE_RECIPES[recipe_name(network, dataset)]
    return Augmentation(recipe.crop, recipe.padding, flip=dataset != "svhn")
