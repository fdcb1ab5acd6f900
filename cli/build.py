"""`mnistcompose build`: make datasets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnistcompose.digits.source import DigitSource
from mnistcompose.rendering.crops import read_ahead

from .options import complete_layouts, counts_options, workers_option
from .shared import Location, cluster_options, digits_options, image_bar, named_once, on_cluster, preparing

if TYPE_CHECKING:
    from mnistcompose.building.build import BuildReport
    from mnistcompose.building.plan import BuildPlan
    from mnistcompose.storage.schema import Compression


@click.command()
@click.argument("layouts", nargs=-1, metavar="NAME|FILE...", shell_complete=complete_layouts)
@click.option("--all", "every", is_flag=True, help="Build all bundled datasets.")
@click.option(
    "-o",
    "--out",
    type=Location(),
    help="The dataset's folder, or a URL such as s3://bucket/NAME; with several datasets or --all, the folder that "
    "holds theirs.  [default: data/NAME]",
)
@click.option("--seed", default=0, show_default=True, help="Data seed; published digests are those of seed 0.")
@counts_options
@click.option(
    "--shard-size", default=10_000, show_default=True, metavar="N", help="Images per file, a multiple of 1000."
)
@workers_option("Shards made at once.  [default: cores + 2]")
@digits_options
@click.option(
    "--compression",
    type=click.Choice(["none", "gzip"]),
    default="none",
    show_default=True,
    help="Compression of the shards.",
)
@click.option("--masks", is_flag=True, help="Also store a mask for every digit; the images stay the same.")
@cluster_options
@click.option("--force", is_flag=True, help="Replace a dataset that was made with another layout, seed or size.")
@click.option("--dry-run", is_flag=True, help="Print what would be made, its size, and the time it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per dataset.")
def build(
    layouts: tuple[str, ...],
    every: bool,
    out: Path | None,
    seed: int,
    train: int | None,
    test: int | None,
    shard_size: int,
    workers: int | None,
    digits: DigitSource,
    compression: "Compression",
    masks: bool,
    scheduler: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the bundled datasets NAME, or those of layout FILEs.

    The images depend only on the layout, the digits, the seed and their index. Run the same command again to resume
    an interrupted build.
    """
    with preparing():
        read_ahead(digits, "train", "test")  # while the rest is imported
        from mnistcompose.building.build import build_config
        from mnistcompose.building.config import make_config
        from mnistcompose.building.plan import plan_build
        from mnistcompose.layout.names import load_spec, spec_names

        if bool(layouts) == every:
            raise click.UsageError("give the names of datasets or layout files, or --all")
        specs = named_once(load_spec(name) for name in (spec_names() if every else layouts))
        configs = [
            make_config(
                spec,
                seed=seed,
                train=train,
                test=test,
                shard_size=shard_size,
                digits=digits,
                compression=compression,
                masks=masks,
            )
            for spec in specs
        ]
    if dry_run:
        for config in configs:
            name, plan = config.spec.name, plan_build(config)
            click.echo(_as_json(name, plan) if as_json else _plan(name, plan, workers))
        return
    alone = len(configs) == 1 and not every
    with on_cluster(scheduler, tls_ca, tls_cert, tls_key) as (executor, threads):
        for config in configs:
            name = config.spec.name
            folder = out if out and alone else (out or Path("data")) / name
            with image_bar(name, sum(config.counts.values())) as advance:
                report = build_config(
                    config, folder, executor=executor, workers=workers or threads, force=force, progress=advance
                )
            click.echo(_as_json(name, report) if as_json else _report(folder, report))


def _as_json(name: str, found: "BuildPlan | BuildReport") -> str:
    from dataclasses import asdict

    return json.dumps({"name": name, **asdict(found)}, default=str)


def _images(found: "BuildPlan | BuildReport") -> str:
    from mnistcompose.quantities import counted_by_name

    return counted_by_name(found.counts, "image")


def _report(folder: Path, report: "BuildReport") -> str:
    """Describe what a build made, in one line."""
    rate = f" ({report.startup_seconds:.1f} s to start, then {report.images_per_second:,.0f} images/s)"
    return (
        f"{folder}: {_images(report)}, {report.bytes / 1e6:,.0f} MB, "
        f"{report.seconds:.1f} s{rate if report.made else ''}; shards: {report.made} made, {report.kept} kept"
    )


def _plan(name: str, plan: "BuildPlan", workers: int | None) -> str:
    """Describe what a build would make, in one line."""
    from datetime import timedelta

    from mnistcompose.building.executors import cores
    from mnistcompose.quantities import counted, human_bytes

    threads = workers or cores()
    shards, machines = counted(sum(plan.shards.values()), "shard"), counted(threads, "core")
    seconds = round(sum(plan.counts.values()) * plan.seconds_per_image / threads)
    return (
        f"{name}: {_images(plan)} in {shards}, {human_bytes(plan.bytes)}, a manifest "
        f"of {human_bytes(plan.manifest_bytes)}; about {timedelta(seconds=seconds)} on {machines} like this "
        f"machine's ({plan.seconds_per_image * 1e6:.1f} us per image and core, measured now, without writing)"
    )
