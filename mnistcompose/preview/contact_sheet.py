"""Contact sheets: how a layout looks, and what its images show."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from ..errors import InputError
from ..rendering.draws import ABSENT
from ..storage.files import write_output
from .samples import Samples
from .slot_drawing import layout_drawing
from .style import COLORS, PAPER, SOFT, font, text_lines

# Pixels of a picture, which is meant to be shown at half its size.
_TILE, _GAP, _CAPTION = 112, 18, 46
_MARGIN, _BETWEEN, _PANEL = 56, 72, 520


def sheet(samples: Samples, columns: int) -> Image.Image:
    """Draw one dataset: its layout on the left, its images with their numbers on the right."""
    spec = samples.spec
    panel = _stacked(
        [
            *(text_lines(spec.name, 44, _PANEL)),
            *(text_lines(spec.description, 26, _PANEL, SOFT)),
            layout_drawing(spec, _PANEL, 440),
            *(text_lines(samples.note, 24, _PANEL, SOFT)),
        ],
    )
    return _framed(_beside([panel, _grid(samples, columns)]))


def overview(datasets: Sequence[Samples], columns: int, across: int = 5) -> Image.Image:
    """Draw several datasets, at most `across` in a row: name, layout, and images in rows of `columns`."""
    width = columns * (_TILE + _GAP) - _GAP
    cards = [
        _stacked([*text_lines(each.spec.name, 34, width), layout_drawing(each.spec, width, 300), _grid(each, columns)])
        for each in datasets
    ]
    across = -(-len(cards) // -(-len(cards) // across))  # rows of about equal length
    rows = [_beside(cards[start : start + across]) for start in range(0, len(cards), across)]
    return _framed(_stacked(rows, _BETWEEN))


def _framed(picture: Image.Image) -> Image.Image:
    return ImageOps.expand(picture, _MARGIN, PAPER)


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    width = sum(picture.width + _BETWEEN for picture in pictures) - _BETWEEN
    page = Image.new("RGB", (width, max(picture.height for picture in pictures)), PAPER)
    left = 0
    for picture in pictures:
        page.paste(picture, (left, 0))
        left += picture.width + _BETWEEN
    return page


def _stacked(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    height = sum(picture.height + gap for picture in pictures) - gap
    page = Image.new("RGB", (max(picture.width for picture in pictures), height), PAPER)
    top = 0
    for picture in pictures:
        page.paste(picture, (0, top))
        top += picture.height + gap
    return page


# --- images ---------------------------------------------------------------------------------------------------------


def _grid(samples: Samples, columns: int) -> Image.Image:
    """The images, enlarged, each with its number below, in the colours of the slots."""
    count = len(samples.images)
    rows = -(-count // columns)
    page = Image.new("RGB", (columns * (_TILE + _GAP) - _GAP, rows * (_TILE + _CAPTION)), PAPER)
    for index, (image, digits) in enumerate(zip(samples.images, samples.digits, strict=True)):
        row, column = divmod(index, columns)
        left, top = column * (_TILE + _GAP), row * (_TILE + _CAPTION)
        page.paste(_tile(image), (left, top))
        _caption(page, digits, left + _TILE / 2, top + _TILE + 4)
    return page


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    """An image scaled to a tile, and centred in it if it is not square."""
    height, width = image.shape[:2]
    size = (round(_TILE * width / max(height, width)), round(_TILE * height / max(height, width)))
    method = Image.Resampling.NEAREST if max(height, width) <= _TILE else Image.Resampling.BOX
    tile = Image.new("RGB", (_TILE, _TILE), PAPER)
    tile.paste(Image.fromarray(image).resize(size, method), ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile


def _caption(page: Image.Image, digits: NDArray[np.uint8], center: float, top: float) -> None:
    """Draw one number; classes of two or more figures are spaced apart."""
    present = digits[digits != ABSENT]
    gap = 1 if present.max() < 10 else 10
    words = [str(digit) for digit in present]
    size = 26 if len(words) < 7 else 18
    widths = [font(size).getlength(word) + gap for word in words]
    x = center - (sum(widths) - gap) / 2
    for word, width, color in zip(words, widths, COLORS, strict=False):
        ImageDraw.Draw(page).text((x, top), word, color, font(size))
        x += width


# --- the file --------------------------------------------------------------------------------------------------------


def check_name(path: Path) -> None:
    """Check the name of a picture.

    Raises
    ------
    InputError
        It does not end in .png.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: pictures are PNG; the name should end in .png")


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG; it appears under its name only when it is complete.

    Raises
    ------
    InputError
        The name does not end in .png.
    BuildError
        The file cannot be written.
    """
    check_name(path)
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    write_output(path, content.getvalue())
