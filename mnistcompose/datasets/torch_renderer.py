"""The renderer in torch operations, for batches made on the training device; bit-identical to the kernel's images.

The draws are the same as the kernel's. Geometry is computed on the host, and pixels on the device. All arithmetic is on
integers, or on sums of whole numbers that the floating-point type holds exactly. Sizes that vary per sample in the
kernel are fixed per batch here: tiles and canvases have the size of the batch's largest, and the resize is two matrix
products. Nothing depends on the caller's settings of torch: autocast, TF32, default types and devices, inference mode.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..arguments import whole
from ..digits.bank import DigitBank, Split, load_digits
from ..digits.ink import INK
from ..digits.source import Digits
from ..errors import InputError
from ..layout.model import SIZE, LayoutSpec
from ..layout.names import as_spec
from ..rendering.crops import crops
from ..rendering.draws import MAX_INDEX, Draws, draw
from ..rendering.geometry import geometry
from ..rendering.placing import FIXED
from ..rendering.render import cut_normals, labels, no_ink


@dataclass(frozen=True, eq=False)
class DeviceBank:
    """A digit set's crops on a device.

    Attributes
    ----------
    bank
        The digits, on the host.
    pixels : uint8 (P,)
        All crops, each with a margin of one zero pixel.
    normals : int32 (4096,)
        Quantiles of the normal distribution, in 1/1024.
    """

    bank: DigitBank
    pixels: Tensor
    normals: Tensor

    @staticmethod
    def of(bank: DigitBank, device: torch.device | str) -> "DeviceBank":
        """Copy a digit set to a device."""
        normals = torch.from_numpy(cut_normals().astype(np.int32))
        return DeviceBank(bank, torch.tensor(crops(bank)[0], device=device), normals.to(device))


def render_on_device(digits: DeviceBank, spec: LayoutSpec | str | Path, draws: Draws) -> tuple[Tensor, Tensor]:
    """Compose the drawn samples, as `render` does. `spec` is a layout, or the name or path of one.

    Returns
    -------
    images : uint8 (n, 1, 28, 28)
        On the device of `digits`.
    boxes : float32 (n, k, 4)
        Ink box of each slot in the image, x0, y0, x1, y1 in output pixels, before any other digit covers it.

    Raises
    ------
    InputError
        A digit leaves no ink at its size; or the layout does not give grey images of 28 x 28 with all slots, cut to the
        ink: only `render` makes others.
    """
    spec = as_spec(spec)
    _check_plain(spec)
    with torch.inference_mode(False):  # so that a batch may be changed in place afterwards
        return _render(digits, spec, draws)


def _check_plain(spec: LayoutSpec) -> None:
    if not spec.is_plain:
        raise InputError(f"{spec.name}: its `output` or `length` cannot be rendered on a device; use `render`")


def _render(digits: DeviceBank, spec: LayoutSpec, draws: Draws) -> tuple[Tensor, Tensor]:
    device = digits.pixels.device
    if not len(draws):
        images = torch.empty((0, 1, SIZE, SIZE), dtype=torch.uint8, device=device)
        return images, torch.empty((0, draws.source.shape[1], 4), dtype=torch.float32, device=device)
    host = geometry(digits.bank, spec, draws)
    corners = host.low - host.low.min(1, keepdims=True)
    tile_size = host.frame.max((0, 1))  # a tile may extend beyond its digit, with zeros
    width, height = ((corners + host.frame).max((0, 1)) + tile_size).tolist()
    x, y = (torch.arange(size, device=device) for size in tile_size.tolist())
    place = torch.arange(len(draws), device=device)[:, None, None] * (height * width) + y[:, None] * width + x
    canvas = torch.zeros(len(draws), height, width, dtype=torch.int64, device=device)
    inks = []
    for slot in range(draws.source.shape[1]):
        start, step, down, end, first, corner = (
            torch.from_numpy(values[:, slot]).to(device)[:, :, None, None]
            for values in (host.start, host.step, host.down, host.end, host.first, corners)
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
    spec: LayoutSpec | str | Path,
    split: Split,
    batch_size: int,
    device: torch.device | str,
    *,
    seed: int = 0,
    start: int = 0,
    digits: Digits = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Make samples start, start + 1, ... of a split on the device, in batches, without end.

    `spec` is a layout, or the name or path of one.

    Yields
    ------
    images : uint8 (batch_size, 1, 28, 28)
    numbers : int64 (batch_size,)

    Raises
    ------
    InputError
        An argument cannot be used, or the layout is one that `render_on_device` cannot make.
    """
    spec, batch_size, start = as_spec(spec), whole("batch_size", batch_size, 1), whole("start", start, 0, MAX_INDEX)
    _check_plain(spec)
    bank = load_digits(split, digits)
    draw(spec, split, 0, 0, seed, bank)  # reject what does not fit now, not when the first batch is made
    return _batches(DeviceBank.of(bank, device), spec, split, batch_size, seed, start)


def _batches(
    there: DeviceBank, spec: LayoutSpec, split: Split, batch_size: int, seed: int, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        draws = draw(spec, split, start, start + batch_size, seed, there.bank)
        images, _ = render_on_device(there, spec, draws)
        with torch.inference_mode(False):
            numbers = torch.from_numpy(labels(there.bank, draws)[0]).to(images.device)
        yield images, numbers
        start += batch_size


# --- on the device --------------------------------------------------------------------------------------------------


def _sample(
    pixels: Tensor, first: Tensor, start: Tensor, step: Tensor, down: Tensor, end: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """Bilinear values of one slot's digits, int64 (n, h, w)."""
    source = start + x * step + y * down
    source = torch.minimum(source.clamp_(min=0), end)
    pixel, part = source >> FIXED, (source >> (FIXED - 12)) & 4095
    stride = first[:, 1]
    place = first[:, 0] + pixel[:, 1] * stride + pixel[:, 0]
    fx, fy = part[:, 0], part[:, 1]

    def at(offset: Tensor | int) -> Tensor:
        return pixels[place + offset].long()

    top = at(0) * (4096 - fx) + at(1) * fx
    bottom = at(stride) * (4096 - fx) + at(stride + 1) * fx
    return (top * (4096 - fy) + bottom * fy + (1 << 23)) >> 24


def _ink_box(values: Tensor, corner: Tensor) -> Tensor:
    """x0, y0, x1, y1 of the ink, int64 (n, 4), on a canvas where the values begin at `corner`; -1 if none."""
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
    along = _weights(height, low[:, 1], side[:, 1])
    across = _weights(width, low[:, 0], side[:, 0])
    totals = _product(_product(along, canvas), across.transpose(1, 2))
    whole = torch.where(side > SIZE, side, 2 * SIZE).prod(1)[:, None, None]
    return torch.div(2 * totals + whole, 2 * whole, rounding_mode="floor")


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Matrix product of whole numbers, exact: neither autocast nor TF32 applies to float64."""
    if one.device.type != "mps":
        return (one.double() @ other.double()).long()
    rows = [(row[..., None] * other).sum(1) for row in one.unbind(1)]  # mps has no float64
    return torch.stack(rows, dim=1)


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
    """SplitMix64's output function, on 64 bits that torch treats as signed."""
    word = (word ^ _shifted(word, 30)) * _signed(0xBF58476D1CE4E5B9)
    word = (word ^ _shifted(word, 27)) * _signed(0x94D049BB133111EB)
    return word ^ _shifted(word, 31)


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64)
