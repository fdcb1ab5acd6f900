"""How much of a number's ink two digits cover."""

import numpy as np
from numpy.typing import NDArray

_INKED = 48  # least value of ink in a mask; with 48 of 255, the mean share is that of the canvas


def overlap(masks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the share of each sample's ink that two digits or more cover.

    Parameters
    ----------
    masks : uint8 (n, k, H, W)
        As `render_with_masks` returns them.

    Returns
    -------
    float64 (n,), 0 .. 1
    """
    covers = (masks >= _INKED).sum(1)
    shares: NDArray[np.float64] = (covers > 1).sum((1, 2)) / np.maximum((covers > 0).sum((1, 2)), 1)
    return shares
