"""The same work as `mnistcompose build`, as one would write it with OpenCV: a loop over images.

    python benchmarks/opencv.py MNIST-III-10 FILE.h5 --processes 2

It has our digits and draws, and writes images and labels into one HDF5 file. `benchmarks/command.py` times it as a
whole, and `benchmarks/render.py` the loop alone.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from mnistcompose.digits.bank import DigitBank, load_digits
from mnistcompose.digits.ink import INK
from mnistcompose.layout.model import SIZE, UNIT, Fit, LayoutSpec
from mnistcompose.layout.names import load_spec
from mnistcompose.rendering.draws import ANGLE, GREY, POSITION, SCALE, SHARE, Draws, draw, numbers
from mnistcompose.storage.schema import SplitName

Images = NDArray[np.uint8]
Array = NDArray[np.float64]
Part = tuple[str, SplitName, int, int]

PART = 2_500  # images at a time


@dataclass(frozen=True, eq=False)
class Job:
    """What to do, in the form that suits an image library.

    Attributes
    ----------
    crops : uint8 (h, w) each, n lists of k
    matrix, offset : (n, k, 2, 2) and (n, k, 2)
        Canvas point = matrix @ source point + offset, x before y; a pixel's centre is at its index + 0.5.
    size
        Width and height of the canvas.
    steps : (n, k, 2)
        Canvas pixels a source pixel.
    angle, flip : (n, k)
        Degrees, counter-clockwise; bit 0: left-right, bit 1: upside down.
    gaussian, impulse : (n,)
        Grey levels, and share of pixels.
    """

    crops: list[list[Images]]
    matrix: Array
    offset: Array
    size: tuple[int, int]
    steps: Array
    angle: Array
    flip: Images
    gaussian: Array
    impulse: Array


def prepare(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> Job:
    if spec.composite != "lighten":
        raise click.UsageError(f"{spec.name} composites by {spec.composite!r}; the peers only know 'lighten'")
    boxes = bank.boxes[draws.source].astype(np.int64)
    sides = (boxes[..., 2:] - boxes[..., :2]).astype(float)
    angle = np.deg2rad(draws.rotation / ANGLE)
    cos, sin = np.cos(angle), np.sin(angle)
    mirror = np.stack([1 - 2.0 * (draws.flip & 1), 1 - 2.0 * (draws.flip >> 1)], axis=-1)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=-2)
    steps = source_steps(spec, sides) * (draws.scale / SCALE)[..., None]
    matrix = turn * (mirror * steps)[..., None, :]
    reach = np.abs(matrix) @ (sides / 2 + 1)[..., None]
    center = draws.center / POSITION * UNIT
    low, high = (center - reach[..., 0]).min((0, 1)), (center + reach[..., 0]).max((0, 1))
    center = center - np.floor(low)
    width, height = np.ceil(high - np.floor(low)).astype(int).tolist()
    rows = zip(bank.images[draws.source], boxes.tolist(), strict=True)
    return Job(
        crops=[[image[y0:y1, x0:x1] for image, (x0, y0, x1, y1) in zip(*row, strict=True)] for row in rows],
        matrix=matrix,
        offset=center - (matrix @ (sides / 2)[..., None])[..., 0],
        size=(width, height),
        steps=steps,
        angle=draws.rotation / ANGLE,
        flip=draws.flip,
        gaussian=draws.gaussian / GREY,
        impulse=draws.impulse / SHARE,
    )


def source_steps(spec: LayoutSpec, sides: Array) -> Array:
    """Canvas pixels a source pixel (n, k, 2), before `scale`."""
    steps = np.ones_like(sides)
    for index, slot in enumerate(spec.placed):
        if isinstance(slot.size, Fit):
            steps[:, index] = np.array([slot.size.width, slot.size.height]) * UNIT / sides[:, index]
            if slot.size.keep_aspect:
                steps[:, index] = steps[:, index].min(-1, keepdims=True)
    return steps


def with_opencv(job: Job, count: int) -> Images:
    """Transform with warpAffine, find the box with boundingRect, resize with INTER_AREA."""
    images, generator = np.empty((count, SIZE, SIZE), np.uint8), np.random.default_rng(0)
    shift = job.offset + 0.5 * job.matrix.sum(-1) - 0.5  # OpenCV's pixel centres are whole numbers
    matrices = np.concatenate([job.matrix, shift[..., None]], axis=-1)
    for n in range(count):
        canvas: Any = None
        for crop, matrix in zip(job.crops[n], matrices[n], strict=True):
            layer = cv2.warpAffine(crop, matrix, job.size, flags=cv2.INTER_LINEAR)
            canvas = layer if canvas is None else np.maximum(canvas, layer)
        x, y, width, height = cv2.boundingRect(cv2.threshold(canvas, INK - 1, 255, cv2.THRESH_BINARY)[1])
        number = cv2.resize(canvas[y : y + height, x : x + width], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        images[n] = noisy(number, job.gaussian[n], job.impulse[n], generator)
    return images


def noisy(image: Images, gaussian: float, impulse: float, generator: np.random.Generator) -> Images:
    if gaussian:
        noise = generator.standard_normal(image.shape, np.float32) * np.float32(gaussian)
        image = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    if impulse:
        chance = generator.random(image.shape, np.float32)
        image = np.where(chance < impulse, np.where(chance < impulse / 2, 0, 255), image).astype(np.uint8)
    return image


def made(part: Part) -> tuple[Images, NDArray[np.int64]]:
    """Images and labels start .. stop - 1 of a split."""
    layout, split, start, stop = part
    bank, spec = load_digits(split), load_spec(layout)
    draws = draw(spec, split, start, stop, 0, bank)
    return with_opencv(prepare(bank, spec, draws), len(draws)), numbers(bank.labels[draws.source], bank.classes)


@click.command()
@click.argument("layout")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--processes", default=1, show_default=True)
def main(layout: str, out: Path, processes: int) -> None:
    """Make a dataset's images and labels."""
    cv2.setNumThreads(1)
    spec = load_spec(layout)
    counts: dict[SplitName, int] = {"train": spec.train, "test": spec.test}
    parts = [
        (layout, split, start, min(start + PART, counts[split]))
        for split in counts
        for start in range(0, counts[split], PART)
    ]
    if processes == 1:
        write(out, parts, list(map(made, parts)))
    else:
        load_digits("train")  # both splits; a forked child has them
        with ProcessPoolExecutor(processes) as pool:
            write(out, parts, list(pool.map(made, parts)))


def write(out: Path, parts: list[Part], done: list[tuple[Images, NDArray[np.int64]]]) -> None:
    with h5py.File(out, "w") as file:
        for split in dict.fromkeys(part[1] for part in parts):
            own = [pair for part, pair in zip(parts, done, strict=True) if part[1] == split]
            file[f"{split}/images"] = np.concatenate([images for images, _ in own])
            file[f"{split}/labels"] = np.concatenate([labels for _, labels in own])


if __name__ == "__main__":
    main()
