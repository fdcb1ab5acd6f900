"""How much of a number's ink lies under two digits."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .digits import INK, DigitBank
from .render import Boxes, render
from .sampling import Draws
from .spec import SIZE, LayoutSpec

_FINE = 2 * SIZE  # points along a side of an image at which ink is looked for


def overlap(bank: DigitBank, spec: LayoutSpec, draws: Draws, boxes: Boxes) -> NDArray[np.float64]:
    """Share of each sample's ink that two digits or more cover.

    Every digit is rendered alone, which stretches it to a whole image, and is looked up where its box lies in the
    number: the same ink but for the rounding of a second resize.

    Parameters
    ----------
    boxes : float32 (n, k, 4)
        As `render` gives them for these draws.

    Returns
    -------
    float64 (n,), 0 .. 1

    Raises
    ------
    InputError
        A digit leaves no ink at its size.
    """
    covers = np.zeros((len(draws), _FINE, _FINE), np.uint8)
    sample = np.arange(len(draws))[:, None, None]
    for slot in range(len(spec.slots)):
        ink = np.pad(_alone(bank, spec, draws, slot) >= INK, ((0, 0), (0, 1), (0, 1)))
        x0, y0, x1, y1 = boxes[:, slot].astype(np.float64).T
        covers += ink[sample, _pixels(y0, y1)[:, :, None], _pixels(x0, x1)[:, None, :]]
    shares: NDArray[np.float64] = (covers > 1).sum((1, 2)) / np.maximum((covers > 0).sum((1, 2)), 1)
    return shares


def _alone(bank: DigitBank, spec: LayoutSpec, draws: Draws, slot: int) -> NDArray[np.uint8]:
    """One slot's digits, each stretched to an image, without noise."""
    columns = {name: getattr(draws, name)[:, [slot]] for name in ("source", "center", "scale", "rotation", "flip")}
    still = {name: np.zeros_like(getattr(draws, name)) for name in ("gaussian", "impulse")}
    layout = LayoutSpec(name=spec.name, slots=(spec.placed[slot],))
    return render(bank, layout, replace(draws, **columns, **still))[0]


def _pixels(start: NDArray[np.float64], stop: NDArray[np.float64]) -> NDArray[np.intp]:
    """Pixel of a stretched digit at each point along a side (n, _FINE); SIZE, a blank one, outside the digit's box."""
    points = (np.arange(_FINE) + 0.5) * (SIZE / _FINE)
    place = np.floor((points - start[:, None]) / (stop - start)[:, None] * SIZE).astype(np.intp)
    return np.where((place >= 0) & (place < SIZE), place, SIZE)
