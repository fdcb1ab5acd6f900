"""What grows with the number of shards: the manifest, the virtual file, the client's plan, the scheduler's load.

    python benchmarks/scale.py

The inputs of docs/explanation/scale.md. The entries are invented, of shards of 100,000 images; nothing is rendered. The
scheduler and its workers are processes on the loopback interface, and their tasks do nothing.
"""

import json
import pickle
import tracemalloc
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
from report import machine, table
from rich.console import Console

from mnistcompose import __version__
from mnistcompose.building.cluster import cluster
from mnistcompose.building.config import make_config
from mnistcompose.building.worker import Task
from mnistcompose.layout.names import load_spec
from mnistcompose.storage.digests import split_digest
from mnistcompose.storage.hdf5 import virtual_bytes
from mnistcompose.storage.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    ShardEntry,
    SplitEntry,
    manifest_bytes,
    read_manifest,
)
from mnistcompose.storage.schema import BLOCK, MAX_SHARD, SampleSchema, SplitName, shard_name

SPEC = load_spec("MNIST-III-10")
HASH = "0" * 64


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = perf_counter()
    return work(), perf_counter() - begun


def entries(count: int) -> list[ShardEntry]:
    blocks = [HASH] * (MAX_SHARD // BLOCK)
    return [
        ShardEntry(
            name=shard_name("train", index, count),
            bytes=1,
            sha256=HASH,
            split="train",
            first=index * MAX_SHARD,
            count=MAX_SHARD,
            blocks=blocks,
        )
        for index in range(count)
    ]


def split(shards: list[ShardEntry], name: str) -> SplitEntry:
    digest = split_digest(block for shard in shards for block in shard.blocks)
    virtual = FileEntry(name=name, bytes=0, sha256=HASH)
    return SplitEntry(count=len(shards) * MAX_SHARD, digest=digest, virtual=virtual, shards=shards)


def bookkeeping(count: int, folder: Path) -> dict[str, float]:
    """Seconds and bytes of what is written once for so many shards, and of what the client plans."""
    shards = entries(count)
    splits: dict[SplitName, SplitEntry] = {"train": split(shards, "train.h5"), "test": split([], "test.h5")}
    manifest = Manifest(
        mnistcompose=__version__,
        license="",
        spec=SPEC.model_dump(mode="json", exclude_unset=True),
        spec_digest=SPEC.digest,
        digits_digest=HASH,
        classes=10,
        seed=0,
        shard_size=MAX_SHARD,
        compression="none",
        splits=splits,
    )
    content, writing = timed(lambda: manifest_bytes(manifest))
    (folder / MANIFEST).write_bytes(content)
    _, reading = timed(lambda: read_manifest(folder))
    virtual, joining = timed(lambda: virtual_bytes(shards, SampleSchema(len(SPEC.slots))))
    tracemalloc.start()
    plan = [task(index, count) for index in range(count)]
    planned = tracemalloc.get_traced_memory()[0] / len(plan)
    tracemalloc.stop()
    return {
        "shards": count,
        "manifest_bytes": len(content),
        "manifest_written": writing,
        "manifest_read": reading,
        "virtual_bytes": len(virtual),
        "virtual_written": joining,
        "plan_bytes_per_shard": planned,
    }


CONFIG = make_config(SPEC, shard_size=MAX_SHARD)


def task(index: int, total: int) -> Task:
    start, name = index * MAX_SHARD, shard_name("train", index, total)
    return Task(CONFIG, "train", start, start + MAX_SHARD, Path("/data"), name)


def nothing(given: Task) -> ShardEntry:
    """As large a task, and as large a result, as a shard's."""
    return entries(1)[0].model_copy(update={"name": given.name})


def scheduling(tasks: int, workers: int) -> dict[str, float]:
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, processes=True
        ) as local,
        cluster(local.scheduler_address) as (executor, _),
    ):
        wait([executor.submit(nothing, task(0, tasks)) for _ in range(workers)])
        _, seconds = timed(lambda: wait([executor.submit(nothing, task(i, tasks)) for i in range(tasks)]))
    return {
        "tasks": tasks,
        "workers": workers,
        "tasks_a_second": tasks / seconds,
        "task_bytes": len(pickle.dumps(task(0, tasks))),
        "result_bytes": len(pickle.dumps(entries(1)[0])),
    }


@click.command()
@click.option("--largest", default=10_000, show_default=True, help="Shards.")
@click.option("--tasks", default=2000, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/scale.json", show_default=True)
def main(largest: int, tasks: int, workers: int, out: Path) -> None:
    """Measure, print tables, and write JSON."""
    console = Console()
    with TemporaryDirectory() as name:
        grown = [bookkeeping(10**n, Path(name)) for n in range(2, 8) if 10**n <= largest]
    rows: list[tuple[str, ...]]
    rows = [
        (f"{r['shards']:,}", f"{r['manifest_bytes'] / 1e6:.1f} MB", f"{r['manifest_written']:.2f} s",
         f"{r['manifest_read']:.2f} s", f"{r['virtual_bytes'] / 1e6:.1f} MB", f"{r['virtual_written']:.2f} s",
         f"{r['plan_bytes_per_shard']:.0f}")
        for r in grown
    ]  # fmt: skip
    names = ("shards", "manifest", "written", "read", "virtual file", "written", "plan, bytes each")
    console.print(table("bookkeeping of shards of 100,000 images", names, rows))
    load = scheduling(tasks, workers)
    rows = [(key.replace("_", " "), f"{value:,.0f}") for key, value in load.items()]
    console.print(table("tasks that do nothing", ("", ""), rows))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"bookkeeping": grown, "scheduling": load, "machine": machine()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
