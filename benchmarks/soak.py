"""Build, verify and read, again and again, and see whether memory, file handles or threads grow.

    python benchmarks/soak.py --minutes 60

Every round builds a dataset in a new folder, verifies and renders a part of it again, and reads an epoch of it through
a DataLoader with workers and one without. What the process holds is sampled after each round; growth is the slope of a
line through the second half of the samples, an hour.
"""

import json
import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import click
import numpy as np
from report import machine, table
from rich.console import Console
from torch.utils.data import DataLoader

from mnistcompose import BlockShuffle, ShardedDigits, build, load_spec, verify


def held() -> dict[str, float]:
    """Resident memory in MB, open files, and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory MB": pages * os.sysconf("SC_PAGESIZE") / 1e6,
        "open files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "tasks": len(list(Path("/proc/self/task").iterdir())),
    }


def one_round(turn: int, folder: Path) -> int:
    """Images that were made."""
    root = folder / "x"
    spec = load_spec(("MNIST-III-10", "MNIST-II-04")[turn % 2])
    report = build(
        spec, root, seed=turn, train=20_000, test=2000, shard_size=5000, compression="gzip" if turn % 3 == 0 else "none"
    )
    if not verify(root, rerender=500).ok:
        raise SystemExit(f"round {turn}: the dataset is not sound")
    data = ShardedDigits(root, "train")
    for loader in (
        DataLoader(data, 512, shuffle=True, num_workers=2),
        DataLoader(data, batch_size=None, sampler=BlockShuffle(len(data), 512, seed=turn)),
    ):
        if sum(len(numbers) for _, numbers in loader) != len(data):
            raise SystemExit(f"round {turn}: images are missing")
    for path in root.iterdir():
        path.unlink()
    return sum(report.counts.values())


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/soak.json", show_default=True)
def main(minutes: float, out: Path) -> None:
    """Go on until the time is over, print a table, and write JSON."""
    begun, samples, images, turn = monotonic(), [], 0, 0
    with TemporaryDirectory() as name:
        while monotonic() - begun < 60 * minutes:
            images += one_round(turn, Path(name))
            turn += 1
            samples.append({"seconds": monotonic() - begun, **held()})
    half = samples[len(samples) // 2 :]
    hours = np.array([sample["seconds"] for sample in half]) / 3600
    rows = []
    for key in held():
        values = [sample[key] for sample in samples]
        slope = float(np.polyfit(hours, [s[key] for s in half], 1)[0])
        rows.append((key, f"{values[0]:.0f}", f"{max(values):.0f}", f"{values[-1]:.0f}", f"{slope:+.1f}"))
    title = f"{turn} rounds, {images:,} images, {(monotonic() - begun) / 60:.0f} minutes"
    Console().print(table(title, ("", "first", "most", "last", "growth an hour"), rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    report = {"minutes": minutes, "rounds": turn, "images": images, "samples": samples, "machine": machine("torch")}
    out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
