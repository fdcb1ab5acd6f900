"""Convert pictures to the networks' input: 28 x 28 pixels, white ink on black, cut to the ink."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mnistcompose.digits.ink import INK
from mnistcompose.errors import InputError
from mnistcompose.layout.model import SIZE


def read_picture(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Read a picture of a number from a file, and `prepare` it.

    Raises
    ------
    InputError
        It cannot be read as a picture, or holds no ink.
    """
    try:
        with Image.open(path) as image:
            return prepare(image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture: {getattr(error, 'strerror', None) or error}") from None


def prepare(image: Image.Image) -> tuple[NDArray[np.uint8], str]:
    """Treat a picture as the generator treats a number: cut to its ink box, and stretch it to 28 x 28.

    The background is the median of the border: it becomes black, and the ink white. Ink is what differs most from it,
    lighter or darker. Shades and noise that the border has, too, are background. A picture of 28 x 28 pixels on a black
    background is taken as it is.

    Returns
    -------
    uint8 (28, 28)
        White ink on black.
    str
        What was assumed.

    Raises
    ------
    InputError
        Nothing stands out from the background.
    """
    pixels = _greyscale(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = float(np.median(border))
    if pixels.shape == (SIZE, SIZE) and ground < INK <= pixels.max():
        return np.rint(pixels).astype(np.uint8), "28 x 28, light on dark: taken as it is"
    inverted = ground - pixels.min() > pixels.max() - ground
    raised, edge = (ground - grey if inverted else grey - ground for grey in (pixels, border))
    if raised.max() < INK:
        raise InputError("nothing stands out from the background; the number should be dark on light, or light on dark")
    if edge.max() < raised.max() / 2:  # else ink reaches the border
        raised -= edge.max()
    raised = np.clip(raised * (255 / raised.max()), 0, 255)
    rows, columns = (np.flatnonzero((raised >= INK).any(axis)) for axis in (1, 0))
    cut = raised[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = resampling(cut.shape[0]) @ cut @ resampling(cut.shape[1]).T
    note = f"{'dark on light' if inverted else 'light on dark'}, cut to {cut.shape[1]} x {cut.shape[0]} pixels of ink"
    return np.floor(small + 0.5).astype(np.uint8), note


def _greyscale(image: Image.Image) -> NDArray[np.float64]:
    """Grey levels, float (H, W), upright. Transparent parts take the shade that contrasts with the visible part."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "F" or upright.mode.startswith("I"):  # Pillow would cut their values off at 255
        return _of_eight_bits(upright)
    upright = upright.convert("RGBA")
    grey = np.asarray(upright.convert("L"), np.float64)
    alpha = np.asarray(upright.getchannel("A"), np.float64) / 255
    shade = 0.0 if (grey * alpha).sum() > 127 * alpha.sum() else 255.0
    shown: NDArray[np.float64] = grey * alpha + shade * (1 - alpha)
    return shown


def _of_eight_bits(image: Image.Image) -> NDArray[np.float64]:
    """Grey levels of 0 to 255, of a picture whose levels have 16, 12 or 8 bits, or are fractions."""
    grey = np.asarray(image, np.float64)
    low, high = float(grey.min()), float(grey.max())
    if not 0 <= low <= high <= _LEVELS[-1]:  # also false for NaN
        raise InputError(
            f"grey levels from {low:g} to {high:g}; allowed are 0 to {_LEVELS[-1]}, or fractions from 0 to 1"
        )
    fractions = image.mode == "F" and high <= 1
    return grey * (255 / (1 if fractions else next(level for level in _LEVELS if high <= level)))


_LEVELS = (255, 4095, 65535)  # highest values of 8, 12 and 16 bits


def resampling(length: int, size: int = SIZE) -> NDArray[np.float64]:
    """Weights float64 (size, length) that map an axis as the generator does: by area if it shrinks, else bilinear."""
    outputs, inputs = np.arange(size)[:, None], np.arange(length)
    step = length / size
    weights: NDArray[np.float64]
    if length >= size:
        weights = (np.minimum((outputs + 1) * step, inputs + 1) - np.maximum(outputs * step, inputs)) / step
    else:
        weights = 1 - np.abs(np.clip((outputs + 0.5) * step - 0.5, 0, length - 1) - inputs)
    return weights.clip(0)
