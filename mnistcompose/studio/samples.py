"""The samples of a layout that the page shows."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import load_digits
from ..digits.source import Digits
from ..layout.model import LayoutSpec
from ..rendering.compose import compose
from ..rendering.render import Boxes, Images
from .overlap import overlap

COUNT = 64  # samples on the page


@dataclass(frozen=True, eq=False)
class Samples:
    """Consecutive training samples of a layout, n of k slots.

    Attributes
    ----------
    images : uint8 (n, H, W), in colour (n, H, W, 3)
    boxes : float32 (n, k, 4)
        x0, y0, x1, y1 of each slot's ink in the image, pixels.
    digits : uint8 (n, k)
    overlap : float64 (n,)
        Share of the ink that lies under two digits or more.
    classes
        How many different numbers there can be.
    """

    images: Images
    boxes: Boxes
    digits: NDArray[np.uint8]
    overlap: NDArray[np.float64]
    classes: int


def compose_samples(spec: LayoutSpec, first: int, seed: int, digits: Digits) -> Samples:
    """Make the 64 training samples that start at `first`.

    Raises
    ------
    InputError
        A digit leaves no ink at its size, or the numbers are too large for labels.
    """
    bank = load_digits("train", digits)
    made = compose(bank, spec, "train", seed, first, first + COUNT, masks=True)
    masks = cast(Images, made.masks)
    return Samples(
        made.images,
        made.boxes,
        made.digits,
        overlap(masks),
        bank.classes ** len(spec.slots),
    )
