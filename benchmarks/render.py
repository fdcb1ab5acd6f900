"""Images a second: our kernel, and the same work with OpenCV, Pillow, scipy and torchvision, all from the same draws.

The contestants take turns, so that a busy moment of the machine hits all alike, and the median turn counts. Each is
timed from the draws to the images; what a peer can prepare for all samples at once (boxes, matrices), it may.

    python benchmarks/render.py
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import cv2
import numpy as np
import torch
from numba import njit
from opencv import Images, Job, noisy, prepare, with_opencv
from PIL import Image, ImageChops
from report import machine
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from torchvision.ops import masks_to_boxes
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mnistcompose import build
from mnistcompose.digits.bank import DigitBank, load_digits
from mnistcompose.digits.ink import INK
from mnistcompose.layout.model import SIZE, LayoutSpec
from mnistcompose.layout.names import load_spec
from mnistcompose.rendering.draws import Draws, draw
from mnistcompose.rendering.noise import mix
from mnistcompose.rendering.render import render

OURS, THREADED = "mnistcompose", "mnistcompose, 2 threads"
ALONE, BOTH = "registers, 1 thread", "registers, 2 threads"
WORDS = 40_000_000  # some 80 ms


# --- ours -----------------------------------------------------------------------------------------------------------


def part(draws: Draws, start: int, stop: int) -> Draws:
    return replace(draws, **{field.name: getattr(draws, field.name)[start:stop] for field in fields(draws)})


def kernel(bank: DigitBank, spec: LayoutSpec, draws: Draws) -> Images:
    return render(bank, spec, draws)[0]


def kernel_on_threads(bank: DigitBank, spec: LayoutSpec, draws: Draws, threads: int) -> list[Images]:
    """In parts, as a build does it."""
    step = -(-len(draws) // (4 * threads))
    parts = [part(draws, start, min(start + step, len(draws))) for start in range(0, len(draws), step)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(partial(kernel, bank, spec), parts))


@njit(nogil=True)
def mix_words(count: int) -> np.uint64:
    """Arithmetic in registers alone, which shows how much two threads can do on this machine at best."""
    word = np.uint64(0)
    for i in range(count):
        word ^= mix(np.uint64(i) + word)
    return word


def mix_on_threads(count: int, threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(mix_words, [count // (4 * threads)] * (4 * threads)))


# --- the peers ------------------------------------------------------------------------------------------------------


def with_pillow(job: Job, count: int) -> Images:
    """Image.transform, ImageChops.lighter, getbbox, and resize with a box filter."""
    images, generator = np.empty((count, SIZE, SIZE), np.uint8), np.random.default_rng(0)
    inverse = np.linalg.inv(job.matrix[:count])
    shift = 1 - (inverse @ job.offset[:count, ..., None])[..., 0]  # 1 for the margin
    coefficients = np.concatenate([inverse, shift[..., None]], axis=-1).reshape(*shift.shape[:2], 6).tolist()
    table = [0] * INK + [255] * (256 - INK)
    for n in range(count):
        canvas: Any = None
        for crop, data in zip(job.crops[n], coefficients[n], strict=True):
            picture = Image.fromarray(np.pad(crop, 1))
            layer = picture.transform(job.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
            canvas = layer if canvas is None else ImageChops.lighter(canvas, layer)
        number = canvas.resize((SIZE, SIZE), Image.Resampling.BOX, box=canvas.point(table).getbbox())
        images[n] = noisy(np.asarray(number), job.gaussian[n], job.impulse[n], generator)
    return images


def with_scipy(job: Job, count: int) -> Images:
    """ndimage.affine_transform, find_objects and zoom."""
    images, generator = np.empty((count, SIZE, SIZE), np.uint8), np.random.default_rng(0)
    inverse = np.linalg.inv(job.matrix[:count])[..., ::-1, ::-1]  # scipy wants y before x
    shift = (inverse @ (0.5 - job.offset[:count, ..., ::-1])[..., None])[..., 0] - 0.5
    for n in range(count):
        canvas: Any = None
        for crop, matrix, offset in zip(job.crops[n], inverse[n], shift[n], strict=True):
            layer = ndimage.affine_transform(
                crop, matrix, offset, job.size[::-1], order=1, mode="grid-constant", prefilter=False
            )
            canvas = layer if canvas is None else np.maximum(canvas, layer)
        number = canvas[ndimage.find_objects((canvas >= INK).astype(np.int32))[0]]
        factors = SIZE / number.shape[0], SIZE / number.shape[1]
        number = ndimage.zoom(number, factors, order=1, mode="nearest", prefilter=False, grid_mode=True)
        images[n] = noisy(number, job.gaussian[n], job.impulse[n], generator)
    return images


def with_torchvision(job: Job, count: int) -> Images:
    """transforms.v2: resize, flips, pad, affine, and resize of what masks_to_boxes finds; tensors of one image."""
    images, generator = np.empty((count, SIZE, SIZE), np.uint8), np.random.default_rng(0)
    width, height = job.size
    sides = np.array([[crop.shape[::-1] for crop in row] for row in job.crops[:count]])
    targets = np.maximum(np.rint(sides * job.steps[:count]), 1).astype(int)
    centers = job.offset[:count] + (job.matrix[:count] @ (sides / 2)[..., None])[..., 0]
    shifts = centers - np.array([width, height]) / 2
    for n in range(count):
        canvas: Any = None
        for slot, crop in enumerate(job.crops[n]):
            across, along = targets[n, slot].tolist()
            layer = F.resize(torch.from_numpy(crop.copy())[None], [along, across])
            layer = F.horizontal_flip(layer) if job.flip[n, slot] & 1 else layer
            layer = F.vertical_flip(layer) if job.flip[n, slot] & 2 else layer
            left, top = (width - across) // 2, (height - along) // 2
            layer = F.pad(layer, [left, top, width - across - left, height - along - top])
            shift = shifts[n, slot] + [(width - across) / 2 - left, (height - along) / 2 - top]
            layer = F.affine(
                layer, -float(job.angle[n, slot]), shift.tolist(), 1.0, [0.0, 0.0], InterpolationMode.BILINEAR
            )
            canvas = layer if canvas is None else torch.maximum(canvas, layer)
        x0, y0, x1, y1 = masks_to_boxes(canvas >= INK)[0].int().tolist()
        number = F.resized_crop(canvas, y0, x0, y1 + 1 - y0, x1 + 1 - x0, [SIZE, SIZE])
        images[n] = noisy(number[0].numpy(), job.gaussian[n], job.impulse[n], generator)
    return images


Peer = Callable[[Job, int], Images]

PEERS: dict[str, tuple[Peer, int]] = {  # and how many times fewer images they get
    "OpenCV": (with_opencv, 5),
    "Pillow": (with_pillow, 5),
    "scipy.ndimage": (with_scipy, 20),
    "torchvision.transforms.v2": (with_torchvision, 100),
}


# --- measuring ------------------------------------------------------------------------------------------------------


def rate(work: Callable[[], object], count: int) -> float:
    begun = perf_counter()
    work()
    return count / (perf_counter() - begun)


def build_rate(spec: LayoutSpec) -> float:
    """70,000 images, files included, on two threads; without the start."""
    with TemporaryDirectory() as folder:
        return build(spec, Path(folder) / "built", train=60_000, test=10_000, workers=2).images_per_second


def contestants(bank: DigitBank, spec: LayoutSpec, count: int) -> Iterator[tuple[str, Callable[[], object], int]]:
    draws = draw(spec, "train", 0, count, 0, bank)
    yield OURS, partial(kernel, bank, spec, draws), count
    yield THREADED, partial(kernel_on_threads, bank, spec, draws, 2), count
    yield ALONE, partial(mix_on_threads, WORDS, 1), WORDS
    yield BOTH, partial(mix_on_threads, WORDS, 2), WORDS
    for name, (peer, share) in PEERS.items():
        own = part(draws, 0, max(1, count // share))
        yield name, partial(from_draws, peer, bank, spec, own), len(own)


def from_draws(peer: Peer, bank: DigitBank, spec: LayoutSpec, draws: Draws) -> Images:
    return peer(prepare(bank, spec, draws), len(draws))


def disagreement(bank: DigitBank, spec: LayoutSpec, count: int) -> dict[str, float]:
    """Mean absolute difference of each peer's images from ours, noise off, grey levels."""
    draws = draw(spec, "train", 0, count, 0, bank)
    draws = replace(draws, gaussian=np.zeros_like(draws.gaussian), impulse=np.zeros_like(draws.impulse))
    job, ours = prepare(bank, spec, draws), kernel(bank, spec, draws).astype(int)
    return {name: float(np.abs(peer(job, count) - ours).mean()) for name, (peer, _) in PEERS.items()}


@click.command()
@click.option("--layout", default="MNIST-III-10", show_default=True)
@click.option("--images", default=20_000, show_default=True, help="Images of ours in a round.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--build/--no-build", "with_build", default=True, help="Also measure whole builds of 70,000 images.")
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/render.json", show_default=True)
def main(layout: str, images: int, rounds: int, with_build: bool, out: Path) -> None:
    """Measure, print a table, and write JSON."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    bank, spec = load_digits("train"), load_spec(layout)
    differences = disagreement(bank, spec, min(images, 200))
    entries = list(contestants(bank, spec, images))
    for _, work, _ in entries[:4]:
        work()  # compiles
    rates: dict[str, list[float]] = {name: [] for name, _, _ in entries}
    builds: list[float] = []
    for _ in range(rounds):
        for name, work, count in entries:
            rates[name].append(rate(work, count))
        if with_build:
            builds.append(build_rate(spec))

    medians = {name: median(values) for name, values in rates.items()}
    ours, threaded = medians[OURS], medians[THREADED]
    best = medians[BOTH] / medians[ALONE]
    table = Table("", "images/s", "ratio", "difference", title=f"{layout}, one thread, median of {rounds} turns")
    table.add_row(OURS, f"{ours:,.0f}", "", "")
    for name in PEERS:
        table.add_row(name, f"{medians[name]:,.0f}", f"ours {ours / medians[name]:.1f} x", f"{differences[name]:.2f}")
    table.add_section()
    table.add_row(THREADED, f"{threaded:,.0f}", f"{threaded / ours:.2f} x one thread", "")
    table.add_row("arithmetic alone, 2 threads", "", f"{best:.2f} x one thread", "")
    if builds:
        rendering = f"{median(builds) / threaded:.2f} x rendering"
        table.add_row("whole build, 2 threads", f"{median(builds):,.0f}", rendering, "")
    for column in table.columns[1:]:
        column.justify = "right"
    table.caption = "difference: mean, from ours, grey levels, noise off"
    Console().print(table)

    result = {
        "layout": layout,
        "images": {name: count for name, _, count in entries},
        "rounds": rounds,
        "images_per_second": medians,
        "ours_to_peer": {name: ours / medians[name] for name in PEERS},
        "two_threads_to_one": threaded / ours,
        "two_threads_to_one_in_registers": best,
        "build_images_per_second": median(builds) if builds else None,
        "build_to_rendering": median(builds) / threaded if builds else None,
        "mean_difference": differences,
        "raw": {**rates, "build": builds},
        "machine": machine("opencv-python-headless", "pillow", "scipy", "torch", "torchvision"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
