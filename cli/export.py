"""`mnistcompose export`: write a dataset in another format."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import AS_JSON, complete_built, split_list, workers_option
from .shared import Location, image_bar

if TYPE_CHECKING:
    from mnistcompose.exporting.export import ExportReport


@click.command()
@click.argument("folder", type=Location(), metavar="DIR|URL", shell_complete=complete_built)
@click.option(
    "--format",
    "kind",
    required=True,
    type=click.Choice(["idx", "webdataset", "parquet", "png", "npz", "coco"]),
    help="For torchvision's MNIST (idx) or ImageFolder (png), webdataset, Hugging Face's datasets (parquet), NumPy, or "
    "pycocotools (one box per digit).",
)
@click.option("-o", "--out", metavar="DIR", help="Folder to make.  [default: DIR-FORMAT; for a URL, here]")
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME",
    callback=split_list,
    help="Only this split, such as train or test; repeatable, or with commas.  [default: all]",
)
@click.option(
    "--per-tar",
    type=int,
    metavar="N",
    help="Samples per tar of webdataset.  [default: at least 16 tars per split, of 10000 or fewer]",
)
@workers_option("Shards encoded at once, in processes where that takes long.  [default: cores]")
@click.option("--force", is_flag=True, help="Replace an existing export.")
@AS_JSON
def export(
    folder: Path,
    kind: str,
    out: str | None,
    splits: tuple[str, ...],
    per_tar: int | None,
    workers: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the dataset in DIR in another format, with a dataset card (README.md) and Croissant metadata.

    Everything read is compared with the manifest's hashes; the new folder appears only when it is complete.
    """
    from dataclasses import asdict

    from mnistcompose.building.executors import cores
    from mnistcompose.exporting import export as exporter
    from mnistcompose.storage.location import is_local
    from mnistcompose.storage.manifest import read_manifest

    if per_tar is not None and kind != "webdataset":
        raise click.UsageError("--per-tar is for --format webdataset")
    total = sum(entry.count for name, entry in read_manifest(folder).splits.items() if not splits or name in splits)
    target = (
        out if out is not None else f"{os.path.normpath(folder.absolute()) if is_local(folder) else folder.name}-{kind}"
    )
    with image_bar(folder.name, total) as advance:
        report = exporter.export(
            folder,
            target,
            kind,  # type: ignore[arg-type]  # click has checked it
            splits=splits or None,  # type: ignore[arg-type]
            per_tar=per_tar,
            workers=workers or cores(),
            force=force,
            progress=advance,
        )
    click.echo(json.dumps(asdict(report), default=str) if as_json else _report(target, report))


def _report(target: str, report: "ExportReport") -> str:
    """Describe what an export made, in one line."""
    from mnistcompose.quantities import counted, counted_by_name, human_bytes

    images = counted_by_name(report.counts, "image")
    return (
        f"{target}: {images} as {report.format}, {counted(report.files, 'file')}, {human_bytes(report.bytes)}, "
        f"{report.seconds:.1f} s, {report.images_per_second:,.0f} images/s; checked against the dataset's digests"
    )
