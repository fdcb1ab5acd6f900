"""Images and labels from draws."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank
from ..errors import InputError
from ..layout.model import LayoutSpec, Window
from .crops import crops
from .draws import ABSENT, Draws, numbers
from .geometry import fits, placed
from .kernel import ADD, LIGHTEN, OVER, SCREEN, compose
from .noise import NORMAL, NORMALS

_MODES = {"lighten": LIGHTEN, "add": ADD, "screen": SCREEN, "over": OVER}

Images = NDArray[np.uint8]
Boxes = NDArray[np.float32]


def render(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> tuple[Images, Boxes]:
    """Compose the drawn samples. Releases the GIL.

    Returns
    -------
    images : uint8 (n, H, W), in colour (n, H, W, 3)
        White or coloured ink on black; 28 x 28 unless the layout says otherwise.
    boxes : float32 (n, k, 4)
        Ink box of each slot in the image, x0, y0, x1, y1 in output pixels, before any other digit covers it; zeros
        where the number has no such digit.

    Raises
    ------
    InputError
        A digit leaves no ink at its size, or in the window.
    """
    return _render(bank, spec, draws, np.empty((0, 0, 0), np.uint8))


def render_with_masks(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> tuple[Images, Boxes, Images]:
    """Compose the drawn samples, and a mask for every digit.

    Returns
    -------
    images, boxes
        As `render` returns them, bit for bit.
    masks : uint8 (n, k, H, W)
        How much each slot's digit covers each pixel of the image, 0 to 255, before any other digit covers it and before
        noise; zeros where the number has no such digit.

    Raises
    ------
    InputError
        As `render`.
    """
    height, width = spec.output.shape[:2]
    masks = np.empty((*draws.source.shape, height * width), np.uint8)
    return *_render(bank, spec, draws, masks), masks.reshape(*draws.source.shape, height, width)


def _render(bank: DigitBank, spec: LayoutSpec, draws: Draws, masks: Images) -> tuple[Images, Boxes]:
    """Compose the drawn samples; fill `masks` (n, k, H * W) if it is not empty."""
    count, slots = draws.source.shape
    images = np.empty((count, *spec.output.shape), np.uint8)
    boxes = np.empty((count, slots, 4), np.float32)
    window = spec.output.crop.box if isinstance(spec.output.crop, Window) else (0, 0, 0, 0)
    failed = compose(
        (*crops(bank), np.ascontiguousarray(bank.boxes)),
        (*placed(draws), draws.tint),
        (fits(spec), _MODES[spec.composite], np.array(window), (spec.output.width, spec.output.height)),
        (draws.gaussian, draws.impulse, draws.noise_key, cut_normals()),
        images.reshape(count, math.prod(spec.output.shape)),
        boxes,
        masks,
    )
    if failed >= 0:
        raise no_ink(spec, draws, failed)
    if isinstance(spec.output.crop, Window):
        beyond = np.flatnonzero((draws.source >= 0) & (boxes[..., :2] >= boxes[..., 2:]).any(-1))
        if len(beyond):
            digit = _which(spec, draws, beyond[0])
            raise InputError(f"{digit} lies beyond the window; give `output.crop` a larger one")
    return images, boxes


def labels(bank: DigitBank, draws: Draws) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels of the drawn samples.

    Returns
    -------
    labels : int64 (n,)
        The number that the digits make, see `numbers`; with label noise, possibly another one.
    digits : uint8 (n, k)
        The digit in each slot; 255 where the number has none.

    Raises
    ------
    InputError
        The largest number does not fit into 64 bits.
    """
    digits = np.where(draws.source < 0, np.uint8(ABSENT), bank.labels[draws.source])
    return numbers(digits, bank.classes) + draws.label_shift, digits


def no_ink(spec: LayoutSpec, draws: Draws, number: int) -> InputError:
    """Error for a digit that leaves no ink; `number` is its row in `draws` times k, plus its slot."""
    return InputError(f"{_which(spec, draws, number)} leaves no ink; give the slot a larger scale")


def _which(spec: LayoutSpec, draws: Draws, number: int) -> str:
    sample, slot = divmod(number, draws.source.shape[1])
    return (
        f"{spec.name}: the digit in slot {slot} of sample {draws.index[sample]} (source image "
        f"{draws.source[sample, slot]})"
    )


@cache
def cut_normals() -> NDArray[np.int16]:
    """Quantiles of the standard normal distribution, int16 (4096,), in 1/1024; they end at 3.7 standard deviations."""
    from statistics import NormalDist

    quantile = NormalDist().inv_cdf
    normals = np.array([round(NORMAL * quantile((i + 0.5) / NORMALS)) for i in range(NORMALS)], np.int16)
    normals.setflags(write=False)
    return normals
