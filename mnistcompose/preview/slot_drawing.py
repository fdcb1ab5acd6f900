"""The drawing of a layout: each slot as a box, with its random variation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from ..digits.bank import load_digits
from ..layout.model import WHITE, Fit, FlipChoice, LayoutSpec, Slot
from ..layout.varying import Choice, Normal, Uniform
from ..rendering.draws import ANGLE, FLIPS, POSITION, SCALE, draw
from .style import COLORS, PAPER, font

_DRAWS = 40  # outlines that show a slot's random variation
_NATURAL = 0.8, 1.0  # ink of a typical MNIST digit, slot units
_UNIT = 160  # largest size of a slot unit, pixels
_SMOOTH = 3  # drawings are made this many times larger, then reduced

Point = tuple[float, float]


@dataclass(frozen=True)
class _Box:
    """A digit's box: centre and half sides in slot units, degrees counter-clockwise as seen."""

    x: float
    y: float
    half_width: float
    half_height: float
    angle: float

    def corners(self) -> NDArray[np.float64]:
        """Four points (4, 2): x and y of the corners, in order around the box."""
        dx = self.half_width * np.array([-1, 1, 1, -1])
        dy = self.half_height * np.array([-1, -1, 1, 1])
        cos, sin = np.cos(np.deg2rad(self.angle)), np.sin(np.deg2rad(self.angle))
        return np.stack([self.x + cos * dx + sin * dy, self.y - sin * dx + cos * dy], axis=1)


def layout_drawing(spec: LayoutSpec, width: int, height: int) -> Image.Image:
    """Draw each slot as a box, numbered, and its random variation as faint outlines.

    The boxes are those of a digit of typical proportions. The numbers are flipped and rotated as the digits are. An
    arrow shows the direction of a flip; it has two heads if the flip is random.
    """
    nominal, varied = _nominal(spec), _varied(spec)
    everything = np.concatenate([box.corners() for boxes in (nominal, *varied) for box in boxes])
    low, high = everything.min(0), everything.max(0)
    room = np.array([width, height]) - 24
    unit = min(_UNIT, *(room / (high - low))) * _SMOOTH
    offset = np.array([width, height]) * _SMOOTH / 2 - (low + high) / 2 * unit

    def place(box: _Box) -> list[Point]:
        return [(float(x), float(y)) for x, y in box.corners() * unit + offset]

    page = Image.new("RGB", (width * _SMOOTH, height * _SMOOTH), PAPER)
    pen = ImageDraw.Draw(page, "RGBA")
    for boxes in varied:
        for box, color in zip(boxes, COLORS, strict=False):
            _outline(pen, place(box), f"{color}30", 2)
    for box, color in zip(nominal, COLORS, strict=False):
        pen.polygon(place(box), f"{color}22")
        _outline(pen, place(box), color, 4)
    for index, (box, slot) in enumerate(zip(nominal, spec.placed, strict=True)):
        flips, size = _flips(slot), 0.9 * min(box.half_width, box.half_height) * unit
        glyph = _glyph(str(index + 1), size, max(flips, key=flips.count), box.angle)
        x, y = np.array([box.x, box.y]) * unit + offset
        page.paste(COLORS[index], (round(x - glyph.width / 2), round(y - glyph.height / 2)), glyph)
        for bit, middle, half in (
            (1, (x, y + 0.62 * size), (-0.3 * size, 0.0)),
            (2, (x + 0.55 * size, y), (0.0, 0.3 * size)),
        ):
            flipped = {flip & bit for flip in flips}
            if any(flipped):
                _arrow(pen, middle, half, COLORS[index], heads=len(flipped))
    return page.resize((width, height), Image.Resampling.LANCZOS)


def _arrow(pen: ImageDraw.ImageDraw, middle: Point, half: Point, color: str, heads: int) -> None:
    (x, y), (dx, dy) = middle, half
    pen.line([(x - dx, y - dy), (x + dx, y + dy)], color, 2 * _SMOOTH)
    for sign in (1, -1)[:heads]:
        base = x + sign * 0.5 * dx, y + sign * 0.5 * dy
        wings = (base[0] - dy / 2, base[1] + dx / 2), (base[0] + dy / 2, base[1] - dx / 2)
        pen.polygon([(x + sign * 1.3 * dx, y + sign * 1.3 * dy), *wings], color)


def _outline(pen: ImageDraw.ImageDraw, corners: list[Point], color: str, width: int) -> None:
    pen.line([*corners, *corners[:2]], color, width * _SMOOTH, joint="curve")


def _glyph(text: str, size: float, flip: int, angle: float) -> Image.Image:
    """A mask of the text, flipped and rotated about its centre."""
    face = font(max(round(size), 1))
    left, top, right, bottom = face.getbbox(text)
    mask = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(mask).text((2 - left, 2 - top), text, 255, face)
    mask = ImageOps.mirror(mask) if flip & 1 else mask
    mask = ImageOps.flip(mask) if flip & 2 else mask
    return mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)


def _flips(slot: Slot) -> list[int]:
    """The flips to choose from, encoded as in `Draws.flip`."""
    return [FLIPS[name] for name in (slot.flip.choice if isinstance(slot.flip, FlipChoice) else (slot.flip,))]


def _nominal(spec: LayoutSpec) -> list[_Box]:
    """Each slot's box, with every varying quantity at its mean."""
    return [
        _box(
            slot, slot.center[0] + _mean(slot.dx), slot.center[1] + _mean(slot.dy),
            _mean(slot.scale), _mean(slot.rotation),
        )
        for slot in spec.placed
    ]  # fmt: skip


def _varied(spec: LayoutSpec) -> list[list[_Box]]:
    """The boxes of some samples, each with its drawn centre, scale and rotation."""
    slots = tuple(slot.model_copy(update={"tint": WHITE}) for slot in spec.placed)  # boxes have no colours
    places = {"slots": slots, "length": "all", "numbers": "any", "distinct": False}  # nor do they depend on the numbers
    whole = spec.model_copy(update=places)
    draws = draw(whole, "train", 0, _DRAWS, 0, load_digits("train"))
    x, y = np.moveaxis(draws.center / POSITION, -1, 0)
    values = np.stack([x, y, draws.scale / SCALE, draws.rotation / ANGLE], axis=-1)
    return [[_box(slot, *own) for slot, own in zip(spec.placed, sample, strict=True)] for sample in values.tolist()]


def _box(slot: Slot, x: float, y: float, scale: float, angle: float) -> _Box:
    width, height = _NATURAL
    if isinstance(slot.size, Fit):
        stretch = slot.size.width / width, slot.size.height / height
        across, down = (min(stretch), min(stretch)) if slot.size.keep_aspect else stretch
        width, height = width * across, height * down
    return _Box(x, y, width * scale / 2, height * scale / 2, angle)


def _mean(quantity: float | Uniform | Normal | Choice) -> float:
    match quantity:
        case Uniform(uniform=(low, high)):
            return (low + high) / 2
        case Normal(normal=(mean, _)):
            return mean
        case Choice(choice=values):
            return sum(values) / len(values)
        case _:
            return quantity
