"""Loss, error and predictions of a network on a split."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .device_data import Data, Normalisation, resolve_device, to_tensors
from .precision import check_precision
from .step import eval_step

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Evaluation:
    """Loss, errors and predictions of a network on a split."""

    loss: float  # mean cross-entropy
    error: float  # share of wrong samples, in percent; with one target per position, one wrong position suffices
    top5_error: float  # share of samples whose target, or one of them, is not among the five best, in percent
    predictions: NDArray[np.int64]  # (N,) or (N, k)
    wrong: NDArray[np.bool_]  # (N,)


def evaluate(
    net: nn.Module,
    data: Data,
    normalisation: Normalisation,
    device: str | torch.device = "auto",
    *,
    precision: str = "float32",
    data_on_device: bool = True,
) -> Evaluation:
    """Loss, error and predictions of a network on a split.

    `normalisation` is the one it was trained with; `precision` and `data_on_device` as in `fit`.

    Raises
    ------
    InputError
        As `to_tensors`, `resolve_device` and `check_precision`.
    """
    place = resolve_device(device) if isinstance(device, str) else device
    check_precision(precision, place)
    images, targets = to_tensors(data, place, data_on_device=data_on_device)
    was_training = net.training
    net.to(place).eval()
    normalise = normalisation.on(place)
    with torch.inference_mode():
        steps = [
            eval_step(
                net,
                images[i : i + EVALUATION_BATCH].to(place),
                targets[i : i + EVALUATION_BATCH],
                normalise,
                precision,
            )
            for i in range(0, len(images), EVALUATION_BATCH)
        ]
        losses, predictions, ranks = zip(*steps, strict=True)
        predicted = torch.cat(predictions)
        loss = float(torch.stack(losses).cpu().double().sum()) / len(targets)
        wrong, missed = (
            per_target.view(len(targets), -1).any(1).cpu().numpy()
            for per_target in (predicted != targets, torch.cat(ranks) >= 5)
        )
    net.train(was_training)
    return Evaluation(loss, 100 * float(wrong.mean()), 100 * float(missed.mean()), predicted.cpu().numpy(), wrong)
