"""What a build costs besides rendering: files, compression, start-up, growth.

    python benchmarks/build.py                       # all but the largest: some minutes, 3 GB in a temporary folder
    python benchmarks/build.py --largest 10000000    # also ten million images: 9 GB

compression  one shard's images in each of HDF5's filters (those of hdf5plugin, too, where it is installed): bytes,
             writing and reading, one thread
build        whole builds against making the same samples in memory on as many threads, in turns
growth       builds of more and more images, each in a process of its own: seconds an image, and the peak of memory
start        a second process' time to its first image, and all fifteen datasets in one call
"""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import h5py
import numpy as np
from numpy.typing import NDArray
from report import machine, table
from rich.console import Console

from mnistcompose.building.build import build
from mnistcompose.building.worker import compose_shard
from mnistcompose.digits.bank import load_digits
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.names import load_spec
from mnistcompose.storage.digests import pieces_digest
from mnistcompose.storage.hdf5 import encode

CHUNK, SHARD = 1000, 10_000
THREADS = 2


def seconds(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


# --- compression ----------------------------------------------------------------------------------------------------


def filters() -> dict[str, dict[str, Any]]:
    """Arguments of `create_dataset`, by name."""
    chunks: dict[str, Any] = {"chunks": (CHUNK, 28, 28)}
    found = {
        "none": {},
        "lzf": {**chunks, "compression": "lzf"},
        "gzip-1": {**chunks, "compression": "gzip", "compression_opts": 1},
        "gzip-4": {**chunks, "compression": "gzip", "compression_opts": 4},
    }
    try:
        import hdf5plugin
    except ImportError:
        return found
    return found | {
        "zstd-1": {**chunks, "compression": hdf5plugin.Zstd(clevel=1)},
        "zstd-3": {**chunks, "compression": hdf5plugin.Zstd(clevel=3)},
        "blosc2-zstd-1": {**chunks, "compression": hdf5plugin.Blosc2(cname="zstd", clevel=1)},
    }


def compression(images: NDArray[np.uint8], folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Bytes an image, and images a second written and read, by filter; the files stay in the system's cache."""
    taken: dict[str, list[tuple[float, float]]] = {}
    sizes = {}
    for _ in range(rounds):
        for name, options in filters().items():
            path = folder / f"{name}.h5"

            def write(path: Path = path, options: dict[str, Any] = options) -> None:
                with h5py.File(path, "w") as file:
                    file.create_dataset("images", data=images, **options)

            def read(path: Path = path) -> None:
                with h5py.File(path) as file:
                    file["images"][...]

            taken.setdefault(name, []).append((seconds(write), seconds(read)))
            sizes[name] = path.stat().st_size / len(images)
    return {
        name: {
            "bytes": sizes[name],
            "written": len(images) / median(written for written, _ in times),
            "read": len(images) / median(read for _, read in times),
        }
        for name, times in taken.items()
    }


# --- whole builds ---------------------------------------------------------------------------------------------------


def in_memory(spec: LayoutSpec, count: int) -> None:
    """Draw and render, on threads; nothing is kept."""
    bank = load_digits("train")
    starts = range(0, count, SHARD)
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda start: len(compose_shard(bank, spec, "train", 0, start, start + SHARD)), starts):
            pass


def hashed(spec: LayoutSpec, count: int) -> None:
    """As `in_memory`, and encoded and hashed as a file: all but the writing."""
    bank = load_digits("train")

    def shard(start: int) -> str:
        return pieces_digest(encode(compose_shard(bank, spec, "train", 0, start, start + SHARD)))

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(shard, range(0, count, SHARD)):
            pass


def whole(spec: LayoutSpec, count: int, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Images a second, turn by turn."""
    rates: dict[str, list[float]] = {"in memory": [], "and hashed": [], "build": []}
    for turn in range(rounds):
        rates["in memory"].append(count / seconds(lambda: in_memory(spec, count)))
        rates["and hashed"].append(count / seconds(lambda: hashed(spec, count)))
        rates["build"].append(build(spec, folder / f"whole-{turn}", train=count, test=0).images_per_second)
    return rates


NUMBERS: dict[str, Any] = {
    "drawn digit by digit": "any",
    "uniform": {},
    "balanced": {"weights": "balanced"},
    "long tail": {"weights": {"long_tail": 0.01}},
}


def with_numbers(spec: LayoutSpec, count: int, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Images a second of builds of one layout, with and without `numbers`, turn by turn."""
    specs = {name: spec.model_copy(update={"numbers": numbers}) for name, numbers in NUMBERS.items()}
    rates: dict[str, list[float]] = {name: [] for name in specs}
    for turn in range(rounds):
        for name, own in specs.items():
            place = folder / f"numbers-{name}-{turn}"
            rates[name].append(build(own, place, train=count, test=0).images_per_second)
    return rates


_CALL = """
import resource, sys
from mnistcompose.cli import main

code = main()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
raise SystemExit(code)
"""


def command(*arguments: str) -> tuple[list[dict[str, Any]], float, int]:
    """Run `mnistcompose build --json`: its reports, seconds in all, and its peak of memory in kilobytes."""
    begun = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CALL, "build", *arguments, "--json"], capture_output=True, text=True, check=True
    )
    elapsed = perf_counter() - begun
    return [json.loads(line) for line in done.stdout.splitlines()], elapsed, int(done.stderr.split()[-1])


def growth(layout: str, counts: list[int], folder: Path) -> list[dict[str, float]]:
    """What builds of these numbers of images take, less the start."""
    rows = []
    for count in counts:
        place = folder / f"growth-{count}"
        (report,), elapsed, peak = command(layout, "--train", str(count), "--test", "0", "--out", str(place))
        rows.append({"images": count, "seconds": elapsed, "rendering": report["render_seconds"], "peak_kb": peak})
        for path in place.iterdir():
            path.unlink()
    return rows


# --- all of it ------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--layout", default="MNIST-III-10", show_default=True)
@click.option("--images", default=1_000_000, show_default=True, help="Images of a whole build.")
@click.option("--largest", default=1_000_000, show_default=True, help="Images of the largest build of 'growth'.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/build.json", show_default=True)
def main(layout: str, images: int, largest: int, rounds: int, out: Path) -> None:
    """Measure, print tables, and write JSON."""
    console, spec = Console(), load_spec(layout)
    result: dict[str, Any] = {"layout": layout, "images": images, "rounds": rounds}
    sample = compose_shard(load_digits("train"), spec, "train", 0, 0, SHARD).images
    with TemporaryDirectory() as name:
        folder = Path(name)
        sizes = result["compression"] = compression(sample, folder, rounds)
        rows: list[tuple[str, ...]]
        rows = [(key, f"{v['bytes']:.0f}", f"{v['written']:,.0f}", f"{v['read']:,.0f}") for key, v in sizes.items()]
        console.print(table("images of a shard", ("", "bytes each", "written a second", "read a second"), rows))

        in_memory(spec, SHARD)
        rates = result["whole"] = whole(spec, images // rounds // SHARD * SHARD, folder, rounds)
        pure = median(rates["in memory"])
        rows = [(key, f"{median(v):,.0f}", f"{median(v) / pure:.2f}") for key, v in rates.items()]
        console.print(table(f"{THREADS} cores, {layout}", ("", "images/s", "of making them"), rows))

        rates = result["numbers"] = with_numbers(spec, images // rounds // SHARD * SHARD, folder, rounds)
        usual = median(rates["drawn digit by digit"])
        rows = [(key, f"{median(v):,.0f}", f"{median(v) / usual:.2f}") for key, v in rates.items()]
        console.print(table(f"numbers, {layout}", ("", "images/s", "of drawing digits"), rows))

        counts = [10**n for n in range(5, 10) if 10**n <= largest]
        grown = result["growth"] = growth(layout, counts, folder)
        rows = [
            (f"{r['images']:,}", f"{r['rendering']:.1f}", f"{r['rendering'] / r['images'] * 1e6:.2f}",
             f"{r['peak_kb'] / 1e3:.0f} MB")
            for r in grown
        ]  # fmt: skip
        console.print(table("growth", ("images", "seconds", "us an image", "peak"), rows))

        (first,), one, _ = command(layout, "--train", "1000", "--test", "0", "--out", str(folder / "one"))
        reports, every, peak = command("--all", "--out", str(folder / "all"))
        made, size = (sum(sum(r["counts"].values()) for r in reports), sum(r["bytes"] for r in reports))
        result["start"] = {"before_first_shard": first["startup_seconds"], "whole_call": one}
        result["all"] = {"seconds": every, "images": made, "bytes": size, "peak_kb": peak}
        rows = [
            ("before the first shard", f"{first['startup_seconds']:.2f} s"),
            ("a call for 1,000 images, in all", f"{one:.2f} s"),
            ("all fifteen datasets", f"{every:.1f} s"),
            ("images a second, in all", f"{made / every:,.0f}"),
            ("gigabytes", f"{size / 1e9:.2f}"),
        ]
        console.print(table("calls", ("", ""), rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**result, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
