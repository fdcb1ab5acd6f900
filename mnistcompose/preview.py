"""Contact sheets: how a layout looks, and what its images show."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from .digits.bank import load_digits
from .digits.source import Digits
from .errors import InputError
from .layout.model import Choice, Fit, FlipChoice, LayoutSpec, Normal, Slot, Uniform
from .rendering.compose import compose
from .rendering.draws import ABSENT, ANGLE, FLIPS, POSITION, SCALE, draw
from .storage.files import failing, write_file
from .storage.hdf5 import read_shard
from .storage.manifest import read_manifest

_DRAWS = 40  # outlines that show a slot's random variation
_NATURAL = 0.8, 1.0  # ink of a typical MNIST digit, slot units

# Pixels of a picture, which is meant to be shown at half its size.
_TILE, _GAP, _CAPTION = 112, 18, 46
_MARGIN, _BETWEEN, _PANEL = 56, 72, 520
_UNIT = 160  # largest size of a slot unit
_SMOOTH = 3  # drawings are made this many times larger, then reduced

_PAPER, _INK, _SOFT = "#ffffff", "#18181b", "#71717a"
_COLORS = (
    *("#2563eb", "#ea580c", "#059669", "#c026d3", "#a16207"),
    *("#0891b2", "#dc2626", "#7c3aed", "#4d7c0f"),
)

Point = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Samples:
    """Some images of one dataset.

    Attributes
    ----------
    note
        Number of images of each split, number of classes, and seed, as text.
    images : uint8 (n, H, W), in colour (n, H, W, 3)
    digits : uint8 (n, k)
    """

    spec: LayoutSpec
    note: str
    images: NDArray[np.uint8]
    digits: NDArray[np.uint8]


def compose_samples(spec: LayoutSpec, count: int, seed: int = 0, digits: Digits = None) -> Samples:
    """Make a layout's first training images."""
    bank = load_digits("train", digits)
    made = compose(bank, spec, "train", seed, 0, count)
    counts = {"train": spec.train, "test": spec.test}
    note = _note(counts, bank.classes ** len(spec.slots), seed)
    return Samples(spec, note, made.images, made.digits)


def read_samples(root: Path, count: int) -> Samples:
    """Read a built dataset's first training images, or its test images if it has no training images.

    Raises
    ------
    InputError
        The folder holds no finished dataset.
    BuildError
        A file is missing or damaged.
    """
    manifest = read_manifest(root)
    spec = manifest.layout
    counts = {str(name): split.count for name, split in manifest.splits.items()}
    shards = next(split.shards for _, split in sorted(manifest.splits.items(), reverse=True) if split.count)
    wanted = [entry for entry in shards if entry.first < count]
    parts = [read_shard(root / entry.name, entry.sha256, manifest.promise(entry)) for entry in wanted]
    images, digits = (np.concatenate([getattr(part, name) for part in parts])[:count] for name in ("images", "digits"))
    return Samples(spec, _note(counts, manifest.classes ** len(spec.slots), manifest.seed), images, digits)


def _note(counts: dict[str, int], classes: int, seed: int) -> str:
    images = " and ".join(f"{count:,} {name}" for name, count in counts.items())
    return f"{images} images\n{classes:,} classes, seed {seed}"


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG; it appears under its name only when it is complete.

    Raises
    ------
    InputError
        The name does not end in .png.
    BuildError
        The file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: pictures are PNG; the name should end in .png")
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    with failing("make the folder", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content.getvalue())


# --- pages ----------------------------------------------------------------------------------------------------------


def sheet(samples: Samples, columns: int) -> Image.Image:
    """Draw one dataset: its layout on the left, its images with their numbers on the right."""
    spec = samples.spec
    panel = _stacked(
        [
            *(text_lines(spec.name, 44, _PANEL)),
            *(text_lines(spec.description, 26, _PANEL, _SOFT)),
            layout_drawing(spec, _PANEL, 440),
            *(text_lines(samples.note, 24, _PANEL, _SOFT)),
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
    return ImageOps.expand(picture, _MARGIN, _PAPER)


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    width = sum(picture.width + _BETWEEN for picture in pictures) - _BETWEEN
    page = Image.new("RGB", (width, max(picture.height for picture in pictures)), _PAPER)
    left = 0
    for picture in pictures:
        page.paste(picture, (left, 0))
        left += picture.width + _BETWEEN
    return page


def _stacked(pictures: Sequence[Image.Image], gap: int = 0) -> Image.Image:
    height = sum(picture.height + gap for picture in pictures) - gap
    page = Image.new("RGB", (max(picture.width for picture in pictures), height), _PAPER)
    top = 0
    for picture in pictures:
        page.paste(picture, (0, top))
        top += picture.height + gap
    return page


# --- text -----------------------------------------------------------------------------------------------------------


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_lines(text: str, size: int, width: int, color: str = _INK) -> Iterator[Image.Image]:
    """Draw a text as one picture per line, broken between words."""
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and _font(size).getlength(longer) > width:
                yield _line(line, size, width, color)
                longer = word
            line = longer
        yield _line(line, size, width, color)
    yield Image.new("RGB", (1, size // 2), _PAPER)


def _line(text: str, size: int, width: int, color: str) -> Image.Image:
    picture = Image.new("RGB", (width, round(size * 1.35)), _PAPER)
    ImageDraw.Draw(picture).text((0, 0), text, color, _font(size))
    return picture


# --- images ---------------------------------------------------------------------------------------------------------


def _grid(samples: Samples, columns: int) -> Image.Image:
    """The images, enlarged, each with its number below, in the colours of the slots."""
    count = len(samples.images)
    rows = -(-count // columns)
    page = Image.new("RGB", (columns * (_TILE + _GAP) - _GAP, rows * (_TILE + _CAPTION)), _PAPER)
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
    tile = Image.new("RGB", (_TILE, _TILE), _PAPER)
    tile.paste(Image.fromarray(image).resize(size, method), ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile


def _caption(page: Image.Image, digits: NDArray[np.uint8], center: float, top: float) -> None:
    """Draw one number; classes of two or more figures are spaced apart."""
    present = digits[digits != ABSENT]
    gap = 1 if present.max() < 10 else 10
    words = [str(digit) for digit in present]
    size = 26 if len(words) < 7 else 18
    widths = [_font(size).getlength(word) + gap for word in words]
    x = center - (sum(widths) - gap) / 2
    for word, width, color in zip(words, widths, _COLORS, strict=False):
        ImageDraw.Draw(page).text((x, top), word, color, _font(size))
        x += width


# --- the layout -----------------------------------------------------------------------------------------------------


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

    page = Image.new("RGB", (width * _SMOOTH, height * _SMOOTH), _PAPER)
    pen = ImageDraw.Draw(page, "RGBA")
    for boxes in varied:
        for box, color in zip(boxes, _COLORS, strict=False):
            _outline(pen, place(box), f"{color}30", 2)
    for box, color in zip(nominal, _COLORS, strict=False):
        pen.polygon(place(box), f"{color}22")
        _outline(pen, place(box), color, 4)
    for index, (box, slot) in enumerate(zip(nominal, spec.placed, strict=True)):
        flips, size = _flips(slot), 0.9 * min(box.half_width, box.half_height) * unit
        glyph = _glyph(str(index + 1), size, max(flips, key=flips.count), box.angle)
        x, y = np.array([box.x, box.y]) * unit + offset
        page.paste(_COLORS[index], (round(x - glyph.width / 2), round(y - glyph.height / 2)), glyph)
        for bit, middle, half in (
            (1, (x, y + 0.62 * size), (-0.3 * size, 0.0)),
            (2, (x + 0.55 * size, y), (0.0, 0.3 * size)),
        ):
            flipped = {flip & bit for flip in flips}
            if any(flipped):
                _arrow(pen, middle, half, _COLORS[index], heads=len(flipped))
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
    font = _font(max(round(size), 1))
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(mask).text((2 - left, 2 - top), text, 255, font)
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
    draws = draw(spec, "train", 0, _DRAWS, 0, load_digits("train"))
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
