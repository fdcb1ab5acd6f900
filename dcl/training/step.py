"""One step: gather a batch, normalise, forward, backward, update."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .device_data import Normaliser
from .precision import autocast


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, averaged over the samples, and summed over the positions if there are any.

    Parameters
    ----------
    outputs : float (N, classes), or (N, k, classes) for one classifier per position
    targets : int64 (N,), or (N, k)
    """
    if targets.ndim == 1:
        return F.cross_entropy(outputs, targets)
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten()) * targets.shape[1]


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: tuple[Tensor, Tensor],
    index: Tensor,
    normalise: Normaliser,
    precision: str = "float32",
    max_grad_norm: float | None = None,
) -> Tensor:
    """Train on the samples `index` (int64 (n,), on the device); return the loss, still on the device.

    `precision` as in `fit`, `max_grad_norm` as in `Recipe`.
    """
    images, targets = data
    chosen = images.index_select(0, index.to(images.device)).to(index.device)  # usually both are no-ops
    batch, wanted = normalise(chosen), targets.index_select(0, index)
    optimizer.zero_grad()
    with autocast("float32", index.device):  # a caller's autocast would reach the backward pass as well
        with autocast(precision, index.device):
            loss = loss_of(net(batch), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
    if max_grad_norm is not None:
        nn.utils.clip_grad_norm_(net.parameters(), max_grad_norm)
    optimizer.step()
    return loss.detach()


def eval_step(
    net: nn.Module, images: Tensor, targets: Tensor, normalise: Normaliser, precision: str = "float32"
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of the losses of a batch (of a network in evaluation mode); predictions and ranks in the targets' shape.

    The rank of a target is the number of classes that the network prefers to it.
    """
    with autocast(precision, images.device):
        outputs = net(normalise(images)).float()
    ranks = (outputs > outputs.gather(-1, targets[..., None])).sum(-1)
    return loss_of(outputs, targets) * len(targets), outputs.argmax(-1), ranks
