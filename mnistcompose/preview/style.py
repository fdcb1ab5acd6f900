"""Colours and text of the pictures."""

import math
from collections.abc import Iterator
from functools import cache

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, SOFT = "#ffffff", "#18181b", "#71717a"
COLORS = (  # of the slots
    *("#2563eb", "#ea580c", "#059669", "#c026d3", "#a16207"),
    *("#0891b2", "#dc2626", "#7c3aed", "#4d7c0f"),
)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's own font at a size in pixels."""
    return ImageFont.load_default(size)


def text_lines(text: str, size: int, width: int, color: str = INK) -> Iterator[Image.Image]:
    """Draw a text as one picture per line, broken between words."""
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font(size).getlength(longer) > width:
                yield _line(line, size, width, color)
                longer = word
            line = longer
        yield _line(line, size, width, color)
    yield Image.new("RGB", (1, size // 2), PAPER)


def _line(text: str, size: int, width: int, color: str) -> Image.Image:
    needed = math.ceil(font(size).getlength(text))  # a single word may be wider
    picture = Image.new("RGB", (max(width, needed), round(size * 1.35)), PAPER)
    ImageDraw.Draw(picture).text((0, 0), text, color, font(size))
    return picture
