"""The oracle of section 4.1.2: one classifier per digit position, each the baseline LeNet."""

import torch
from torch import Tensor, nn

from .networks import lenet


class Oracle(nn.Module):
    """k classifiers, one per digit; a number is correct if all its digits are.

    Its loss is the sum over the positions, so that each classifier is trained independently of the others.

    Parameters
    ----------
    classes : int
        Classes of a digit.
    slots : int
        Number of digits, k.
    """

    def __init__(self, classes: int, slots: int, input_shape: tuple[int, int, int] = (1, 28, 28)) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(lenet(classes, input_shape=input_shape) for _ in range(slots))

    @property
    def notation(self) -> str:
        """Number of classifiers, and the notation of one."""
        return f"{len(self.classifiers)} x {self.classifiers[0].notation}"

    def forward(self, x: Tensor) -> Tensor:
        """Map float (N, C, H, W) to the logits of each position's digit, (N, k, classes)."""
        return torch.stack([classifier(x) for classifier in self.classifiers], dim=1)
