"""The renderer in torch operations, for batches that are made where a network trains: the kernel's images, to the bit.

The draws are the kernel's own; geometry is worked out on the host, and what is done for every pixel, on the device. All
of it is integer arithmetic, or sums of whole numbers that the floating-point type holds exactly. What is data-dependent
in the kernel is dense here: tiles and canvases have the size of the batch's largest, and the resize is two products of
matrices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .digits import INK, DigitBank, Split, load_digits
from .render import crops, cut_normals, fits, labels, no_ink, sines
from .sampling import POSITION, SCALE, Draws, draw
from .spec import SIZE, UNIT, LayoutSpec

_FIXED = 20  # fractional bits of source coordinates
_ONE = 1 << _FIXED
_EXACT = 1 << 24  # whole numbers up to it are exact in float32

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DeviceBank:
    """A digit set's crops on a device.

    Attributes
    ----------
    bank
        The digits as they are on the host.
    pixels : uint8 (P,)
        All crops, each with a margin of one zero pixel.
    normals : int32 (4096,)
        Quantiles of the normal distribution, 1/1024.
    """

    bank: DigitBank
    pixels: Tensor
    normals: Tensor

    @staticmethod
    def of(bank: DigitBank, device: torch.device | str) -> "DeviceBank":
        """Copy a digit set to a device."""
        normals = torch.from_numpy(cut_normals().astype(np.int32))
        return DeviceBank(bank, torch.from_numpy(crops(bank)[0]).to(device), normals.to(device))


def render_on_device(digits: DeviceBank, spec: LayoutSpec, draws: Draws) -> tuple[Tensor, Tensor]:
    """Compose the drawn samples, as `render` does.

    Returns
    -------
    images : uint8 (n, 1, 28, 28)
        On the device of `digits`.
    boxes : float32 (n, k, 4)
        Ink box of each slot in the image, x0, y0, x1, y1 in output pixels, before any other digit covers it.

    Raises
    ------
    InputError
        A digit leaves no ink at its size.
    """
    device = digits.pixels.device
    host = geometry(digits.bank, spec, draws)
    tile_size = host.frame.max((0, 1))  # a tile may reach beyond its digit, with zeros
    width, height = ((host.corner + host.frame).max((0, 1)) + tile_size).tolist()
    x, y = (torch.arange(size, device=device) for size in tile_size.tolist())
    place = torch.arange(len(draws), device=device)[:, None, None] * (height * width) + y[:, None] * width + x
    canvas = torch.zeros(len(draws), height, width, dtype=torch.int64, device=device)
    inks = []
    for slot in range(draws.source.shape[1]):
        start, step, down, end, first, corner = (
            torch.from_numpy(values[:, slot]).to(device)[:, :, None, None]
            for values in (host.start, host.step, host.down, host.end, host.first, host.corner)
        )
        tile = _sample(digits.pixels, first, start, step, down, end, x, y[:, None])
        at = place + corner[:, 1] * width + corner[:, 0]
        canvas.view(-1)[at] = _composite(spec.composite, canvas.view(-1)[at], tile)
        inks.append(_ink_box(tile, corner[:, :, 0, 0]))
    ink = torch.stack(inks, dim=1)
    if (failed := (ink[..., 2] < 0).flatten().nonzero()).numel():
        raise no_ink(spec, draws, int(failed[0]))
    low, high = ink[..., :2].amin(1), ink[..., 2:].amax(1)
    if spec.composite in ("add", "screen"):  # two faint edges can make ink
        grown = _ink_box(canvas, torch.zeros_like(low))
        low, high = torch.minimum(low, grown[:, :2]), torch.maximum(high, grown[:, 2:])
    side = high - low
    images = _resize(canvas, low, side)
    if draws.gaussian.any() or draws.impulse.any():
        images = _noisy(images, draws, digits.normals)
    inside = (ink - low.repeat(1, 2)[:, None]) * SIZE
    return images.to(torch.uint8)[:, None], inside.float() / side.float().repeat(1, 2)[:, None]


def fresh_batches(
    spec: LayoutSpec,
    split: Split,
    batch_size: int,
    device: torch.device | str,
    *,
    seed: int = 0,
    start: int = 0,
    digits: Path | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples start, start + 1, ... of a split, made on the device, batch by batch and without end.

    Yields
    ------
    images : uint8 (batch_size, 1, 28, 28)
    numbers : int64 (batch_size,)
    """
    bank = load_digits(split, digits)
    there = DeviceBank.of(bank, device)
    while True:
        draws = draw(spec, split, start, start + batch_size, seed, len(bank.labels))
        images, _ = render_on_device(there, spec, draws)
        yield images, torch.from_numpy(labels(bank, draws)[0]).to(device)
        start += batch_size


# --- on the host ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Geometry:
    """Where each digit's pixels are, on the canvas and in the source; all int64 (n, k, 2), x before y.

    Attributes
    ----------
    corner, frame
        The digit's first pixel on the canvas, and how many it takes.
    start
        Source coordinates of the frame's first pixel, 20 fractional bits, from the corner of the crop's margin.
    step, down
        What they grow by, to the right and downwards.
    end
        The largest within the margin.
    first
        Where the crop begins among all crops' pixels, and its pixels from one row to the next.
    """

    corner: Ints
    frame: Ints
    start: Ints
    step: Ints
    down: Ints
    end: Ints
    first: Ints


def geometry(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> Geometry:
    """Work out where each digit's pixels are, in the kernel's own operations."""
    boxes = bank.boxes[draws.source].astype(np.int64)
    side = boxes[..., 2:] - boxes[..., :2]
    cos, sin = sines(draws)
    size = np.repeat((draws.scale / SCALE)[..., None], 2, axis=-1)
    for slot, (width, height, keep) in enumerate(fits(spec)):
        if width > 0:
            size[:, slot] *= np.array([width, height]) / side[:, slot]
            if keep:
                size[:, slot] = size[:, slot].min(-1, keepdims=True)
    reach = size * (side + 1) / 2
    turned = np.stack([reach[..., 0], reach[..., 1]], -1), np.stack([reach[..., 1], reach[..., 0]], -1)
    half = np.abs(cos)[..., None] * turned[0] + np.abs(sin)[..., None] * turned[1]
    center = draws.center.astype(np.int64)
    at = center * UNIT / POSITION
    low, high = np.floor(at - half).astype(np.int64), np.ceil(at + half).astype(np.int64)
    step = np.rint(np.stack([cos, sin], -1) / size * _ONE).astype(np.int64)
    down = np.rint(np.stack([-sin, cos], -1) / size * _ONE).astype(np.int64)
    unit = POSITION // 4  # a centre is 5 / unit pixels a quantum
    away = low * unit + unit // 2 - 5 * center
    end = (side + 1) * _ONE
    start = end // 2 + (step * away[..., :1] + down * away[..., 1:]) // unit
    flipped = np.stack([draws.flip & 1, draws.flip >> 1], -1).astype(bool)
    start = np.where(flipped, end - start - 1, start) + (1 << (_FIXED - 13))  # rounds to 12 bits
    step, down = np.where(flipped, -step, step), np.where(flipped, -down, down)
    return Geometry(
        corner=low - low.min(1, keepdims=True),
        frame=high - low,
        start=start,
        step=step,
        down=down,
        end=end,
        first=np.stack([crops(bank)[1][draws.source], side[..., 0] + 2], -1),
    )


# --- on the device --------------------------------------------------------------------------------------------------


def _sample(
    pixels: Tensor, first: Tensor, start: Tensor, step: Tensor, down: Tensor, end: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """Bilinear values of one slot's digits, int64 (n, h, w)."""
    source = start + x * step + y * down
    source = torch.minimum(source.clamp_(min=0), end)
    whole, part = source >> _FIXED, (source >> (_FIXED - 12)) & 4095
    stride = first[:, 1]
    place = first[:, 0] + whole[:, 1] * stride + whole[:, 0]
    fx, fy = part[:, 0], part[:, 1]

    def at(offset: Tensor | int) -> Tensor:
        return pixels[place + offset].long()

    top = at(0) * (4096 - fx) + at(1) * fx
    bottom = at(stride) * (4096 - fx) + at(stride + 1) * fx
    return (top * (4096 - fy) + bottom * fy + (1 << 23)) >> 24


def _ink_box(values: Tensor, corner: Tensor) -> Tensor:
    """x0, y0, x1, y1 of the ink, int64 (n, 4), on a canvas where the values begin at `corner`; -1 without any."""
    ink = values >= INK
    low, high = [], []
    for inked in (ink.any(1), ink.any(2)):
        after = torch.arange(1, inked.shape[1] + 1, device=values.device) * inked
        high.append(after.amax(1))
        low.append(torch.where(inked, after, values.shape[-1] + values.shape[-2]).amin(1) - 1)
    box = torch.stack(low + high, dim=1) + corner.repeat(1, 2)
    return torch.where(high[0][:, None] > 0, box, -1)


def _composite(mode: str, below: Tensor, above: Tensor) -> Tensor:
    match mode:
        case "lighten":
            return torch.maximum(below, above)
        case "add":
            return (below + above).clamp(max=255)
        case "screen":
            return 255 - torch.div((255 - below) * (255 - above) * 2 + 254, 510, rounding_mode="floor")
        case _:
            return torch.where(above >= INK, above, torch.maximum(below, above))


def _resize(canvas: Tensor, low: Tensor, side: Tensor) -> Tensor:
    """Stretch each number's box to 28 x 28; int64 (n, 28, 28)."""
    _, height, width = canvas.shape
    largest = 255 * max(width, 2 * SIZE) * max(height, 2 * SIZE)
    dtype = torch.float32 if largest < _EXACT else torch.float64
    along = _weights(height, low[:, 1], side[:, 1]).to(dtype)
    across = _weights(width, low[:, 0], side[:, 0]).to(dtype)
    totals = (along @ canvas.to(dtype) @ across.transpose(1, 2)).long()
    whole = torch.where(side > SIZE, side, 2 * SIZE).prod(1)[:, None, None]
    return torch.div(2 * totals + whole, 2 * whole, rounding_mode="floor")


def _weights(length: int, low: Tensor, side: Tensor) -> Tensor:
    """Weights that map canvas pixels to 28, int64 (n, 28, length): areas where it shrinks, else tents."""
    low, side = low[:, None, None], side[:, None, None]
    pixel = torch.arange(length, device=low.device) - low
    out = torch.arange(SIZE, device=low.device)[:, None]
    area = torch.minimum((pixel + 1) * SIZE, (out + 1) * side) - torch.maximum(pixel * SIZE, out * side)
    position = torch.minimum(((2 * out + 1) * side - SIZE).clamp(min=0), 2 * SIZE * (side - 1))
    tent = 2 * SIZE - (position - 2 * SIZE * pixel).abs()
    return torch.where(side > SIZE, area, tent).clamp(min=0)


def _noisy(images: Tensor, draws: Draws, normals: Tensor) -> Tensor:
    """Add normal noise, then replace some pixels by black or white."""
    device = images.device
    gaussian, impulse = (
        torch.from_numpy(values.astype(np.int64)).to(device)[:, None, None]
        for values in (draws.gaussian, draws.impulse)
    )
    key = torch.from_numpy(draws.noise_key.view(np.int64)).to(device)[:, None]
    counter = torch.arange(1, SIZE * SIZE + 1, device=device)
    words = _mix(key + counter * _signed(0x9E3779B97F4A7C15)).view(-1, SIZE, SIZE)
    images = (images + ((normals[_shifted(words, 52)] * gaussian + (1 << 17)) >> 18)).clamp(0, 255)
    extreme = torch.where(words & 0x10000 != 0, 255, 0)
    return torch.where((words & 0xFFFF) < impulse, extreme, images)


def _mix(word: Tensor) -> Tensor:
    """SplitMix64's output function, on 64 bits that torch takes for signed."""
    word = (word ^ _shifted(word, 30)) * _signed(0xBF58476D1CE4E5B9)
    word = (word ^ _shifted(word, 27)) * _signed(0x94D049BB133111EB)
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, bits: int) -> Tensor:
    """To the right, zeros coming in."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64)
