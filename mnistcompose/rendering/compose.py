"""Samples from a layout, digits and indices: draw, render, label. All callers use this module."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank, Split
from ..layout.model import LayoutSpec
from .draws import Draws, draw, draw_at
from .render import Boxes, Images, labels, render, render_with_masks


@dataclass(frozen=True, eq=False)
class Composed:
    """A batch of n samples of k slots.

    Attributes
    ----------
    draws : Draws
        The random choices that they were rendered from.
    images : uint8 (n, H, W), in colour (n, H, W, 3)
    boxes : float32 (n, k, 4)
    labels : int64 (n,)
    digits : uint8 (n, k)
    masks : uint8 (n, k, H, W), or None
    """

    draws: Draws
    images: Images
    boxes: Boxes
    labels: NDArray[np.int64]
    digits: NDArray[np.uint8]
    masks: Images | None = None


def compose(
    bank: DigitBank, spec: LayoutSpec, split: Split, seed: int, start: int, stop: int, *, masks: bool = False
) -> Composed:
    """Make samples start .. stop - 1 of a split, with their labels, factors and, if wanted, masks.

    Raises
    ------
    InputError
        The layout leaves a digit without ink, or makes labels of more than 64 bits.
    """
    return _composed(bank, spec, draw(spec, split, start, stop, seed, bank), masks)


def compose_at(bank: DigitBank, spec: LayoutSpec, split: Split, seed: int, indices: NDArray[np.int64]) -> Composed:
    """Make the samples with these indices (int64 (n,)), in this order; each equals that of `compose`.

    Raises
    ------
    InputError
        As `compose`.
    """
    return _composed(bank, spec, draw_at(spec, split, indices, seed, bank), masks=False)


def _composed(bank: DigitBank, spec: LayoutSpec, draws: Draws, masks: bool) -> Composed:
    images, boxes, *covers = (render_with_masks if masks else render)(bank, spec, draws)
    return Composed(draws, images, boxes, *labels(bank, draws), *covers)
