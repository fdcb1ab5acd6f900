"""The oracle of section 4.1.2: one classifier per digit position, each the baseline LeNet."""

import torch
import torch.nn.functional as F
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


def number_log_probabilities(logits: Tensor) -> Tensor:
    """Log-probability of every number, if its digits are independent given the image.

    Parameters
    ----------
    logits : float (N, k, classes)
        Logits of each position, the most significant first.

    Returns
    -------
    float (N, classes**k)
    """
    joint = torch.zeros(len(logits), 1, dtype=logits.dtype, device=logits.device)
    for digit in F.log_softmax(logits, dim=-1).unbind(1):
        joint = (joint[:, :, None] + digit[:, None, :]).flatten(1)
    return joint
