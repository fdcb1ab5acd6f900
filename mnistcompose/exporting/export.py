"""Write a built dataset in another format, shard by shard, into a folder that appears when it is complete."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from .. import __version__
from ..arguments import at_once, flag, here, is_clutter, whole
from ..building.executors import Progress, tell
from ..building.interruptible import in_order, interruptible
from ..building.processes import process_pool
from ..errors import BuildError, InputError
from ..layout.reading import dump_spec
from ..quantities import human_bytes, listed
from ..storage.digests import split_digest
from ..storage.files import failing, sync_disks
from ..storage.location import locate
from ..storage.locks import locked
from ..storage.manifest import MANIFEST, ShardEntry, read_manifest
from ..storage.schema import SplitName
from .croissant import croissant, export_date
from .dataset_card import card
from .encoding import encode_shard, encode_to_file, take_file
from .formats import Format, FormatName, load_format
from .source import Source

EXPORT = "export.json"  # in every export: what it is, and the names that belong to it
LAYOUT = "layout.yaml"
CARD = "README.md"
CROISSANT = "croissant.json"

_PER_PROCESS = 10_000  # images; fewer are encoded before a process has started


@dataclass(frozen=True)
class ExportReport:
    """What an export made.

    Attributes
    ----------
    root
        The folder.
    counts, digests
        Number of images and digest of each split; the digests of what was read equal those of the manifest.
    files, bytes
        Number of files, and their total size.
    """

    root: Path
    format: FormatName
    counts: dict[SplitName, int]
    digests: dict[SplitName, str]
    files: int
    bytes: int
    seconds: float
    images_per_second: float


def export(
    root: str | Path,
    out: str | Path,
    kind: FormatName,
    *,
    splits: SplitName | Sequence[SplitName] | None = None,
    per_tar: int | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a dataset's splits in another format, with a dataset card and Croissant metadata.

    Every shard is hashed and compared with the manifest. At most `workers` + 1 shards are in memory at once. The same
    dataset gives the same bytes, whatever the number of workers.

    Parameters
    ----------
    root
        The dataset's folder, or a URL that fsspec knows.
    out
        The folder to create, on this machine. Until it is complete, it is named `OUT.export.tmp`.
    kind
        'idx', 'webdataset', 'parquet', 'png', 'npz' or 'coco'.
    splits
        Split or splits to export, None for all; a split without images is left out.
    per_tar
        Samples per tar file, for 'webdataset'. By default a split has at least 16 tars, of 10,000 samples or fewer.
    workers
        Number of shards that are read and encoded at once; None means 1. All formats but 'idx' and 'npz' encode several
        in processes, at most one per 10,000 images: fewer are encoded before a process has started. The processes
        import the main module, so a script needs `if __name__ == "__main__":` around its own calls.
    force
        Replace an existing export. Files that are not part of an export are never removed.
    progress
        Called with the number of images of each finished shard, one at a time, from another thread.

    Raises
    ------
    InputError
        An argument cannot be used; nothing has been written.
    BuildError
        A shard is damaged, or a file cannot be written; no part of the export is left.
    """
    begun = perf_counter()
    root, out = locate(root), here(out).resolve()  # written through a link, next to what it names
    fmt = load_format(kind)
    workers, force = at_once(workers, 1), flag("force", force)
    source, date = _source(root, splits, per_tar), export_date()
    fmt.check(source)
    _check_target(out, force)
    _check_space(out, fmt, source)
    with failing("write", out), _made_aside(out, force) as folder:
        interruptible(partial(_write_splits, root, folder, kind, source, workers, progress))
        (folder / LAYOUT).write_bytes(dump_spec(source.spec).encode())
        (folder / CARD).write_bytes(card(folder, source, kind, fmt).encode())
        (folder / CROISSANT).write_bytes(croissant(folder, source, kind, fmt, date, leave_out=(CARD, EXPORT)).encode())
        _mark(folder, source, kind)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    seconds, splits_made = perf_counter() - begun, {split: source.manifest.splits[split] for split in source.splits}
    return ExportReport(
        root=out,
        format=kind,
        counts={split: entry.count for split, entry in splits_made.items()},
        digests={split: entry.digest for split, entry in splits_made.items()},
        files=len(sizes),
        bytes=sum(sizes),
        seconds=seconds,
        images_per_second=sum(entry.count for entry in splits_made.values()) / seconds,
    )


def _source(root: Path, splits: SplitName | Sequence[SplitName] | None, per_tar: int | None) -> Source:
    manifest = read_manifest(root)
    splits = tuple(manifest.splits) if splits is None else (splits,) if isinstance(splits, str) else tuple(splits)
    if not splits:
        raise InputError(f"splits = (): names none of {listed(manifest.splits)}; None means all")
    if wrong := next((split for split in splits if split not in manifest.splits), None):
        raise InputError(f"split = {wrong!r}: there are {listed(manifest.splits)}")
    chosen = tuple(split for split, entry in manifest.splits.items() if split in splits and entry.count)
    if not chosen:
        raise InputError(f"{root}: no images in {listed(splits)}")
    return Source(manifest, manifest.layout, chosen, None if per_tar is None else whole("per_tar", per_tar, 1))


# --- splits ---------------------------------------------------------------------------------------------------------


def _write_splits(
    root: Path,
    folder: Path,
    kind: FormatName,
    source: Source,
    workers: int,
    progress: Progress | None,
    stopped: Callable[[], bool],
) -> None:
    """Encode all shards, and pass each split's to the format; check that it took all of them."""
    fmt = load_format(kind)
    entries = {split: source.manifest.splits[split] for split in source.splits}
    wanted = [(shard, source.manifest.promise(shard)) for entry in entries.values() for shard in entry.shards]
    images = sum(entry.count for entry in entries.values())
    if fmt.ENCODES:
        workers = max(1, min(workers, len(wanted), images // _PER_PROCESS))
    processes = fmt.ENCODES and workers > 1
    encode = partial(encode_to_file if processes else encode_shard, root, folder, kind)
    with _pool(workers, processes=processes) as pool, closing(in_order(pool, encode, wanted, workers)) as encoded:
        parts = map(take_file, encoded) if processes else encoded
        for split, entry in entries.items():
            taken: list[ShardEntry] = []
            fmt.write(folder, source, split, _told(entry.shards, parts, taken, progress, stopped))
            if split_digest(block for shard in taken for block in shard.blocks) != entry.digest:
                raise BuildError(f"{root / MANIFEST}: the {split} digest is not that of the shards that were read")


def _told(
    shards: Sequence[ShardEntry],
    parts: Iterator[Any],
    taken: list[ShardEntry],
    progress: Progress | None,
    stopped: Callable[[], bool],
) -> Iterator[Any]:
    """Yield a split's encoded shards; note and report each that has been written."""
    for shard, part in zip(shards, parts, strict=False):  # the parts go on with the next split
        if stopped():
            raise BuildError("interrupted")
        yield part
        taken.append(shard)
        tell(progress, shard)


@contextmanager
def _pool(workers: int, *, processes: bool) -> Iterator[Executor]:
    try:
        with process_pool(workers) if processes else ThreadPoolExecutor(workers) as pool:
            yield pool
    except BrokenExecutor as error:
        raise BuildError(f"a worker died ({error}); run the same command again") from None


# --- the folder -----------------------------------------------------------------------------------------------------


def _check_target(out: Path, force: bool) -> None:
    """Reject a folder that is not empty; with `force`, only one with files that are not part of an export."""
    with failing("use", out):
        if not out.exists():
            return
        if not out.is_dir():
            raise InputError(f"{out}: is a file; give a folder that does not exist yet, or is empty")
        names = sorted(entry.name for entry in out.iterdir() if not is_clutter(entry.name))
    if not names:
        return
    marked = _marked(out)
    if marked is None:
        raise InputError(f"{out}: holds {names[0]!r} and no export; give a folder of its own")
    if not force:
        raise InputError(
            f"{out}: holds {marked.get('name')} as {marked.get('format')} already; give another folder, or --force to "
            "replace it"
        )
    belonging = marked.get("entries")
    if foreign := next((name for name in names if name not in (belonging or [])), None):
        raise InputError(f"{out}: holds {foreign!r}, which is no part of the export there; move it away first")
    there = _count(out)
    if marked.get("files", there) != there:
        raise InputError(f"{out}: holds {there:,} files, the export there {marked['files']:,}; move yours away first")


def _count(folder: Path) -> int:
    """Number of files in a folder and its subfolders."""
    return sum(path.is_file() and not is_clutter(path.name) for path in folder.rglob("*"))


def _marked(folder: Path) -> dict[str, Any] | None:
    """What a folder's `export.json` says; None if there is none, or it is damaged."""
    path = folder / EXPORT
    try:
        fields = json.loads(path.read_bytes()) if path.is_file() else None
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _mark(folder: Path, source: Source, kind: FormatName) -> None:
    entries = sorted({*(entry.name for entry in folder.iterdir()), EXPORT})
    fields = {
        "mnistcompose": __version__,
        "name": source.spec.name,
        "format": kind,
        "spec_digest": source.manifest.spec_digest,
        "digits_digest": source.manifest.digits_digest,
        "seed": source.manifest.seed,
        "splits": {
            split: {"count": source.count(split), "digest": source.manifest.splits[split].digest}
            for split in source.splits
        },
        "entries": entries,
        "files": _count(folder),  # with this one, which has been there from the start
    }
    (folder / EXPORT).write_text(json.dumps(fields, indent=1) + "\n")


def _check_space(out: Path, fmt: Format, source: Source) -> None:
    """Reject an export that is larger than the free space of the disk."""
    size = sum(map(source.count, source.splits)) * fmt.sample_bytes(source)
    with failing("use", out):
        free = shutil.disk_usage(next(folder for folder in (out, *out.parents) if folder.exists())).free
    if size > free:
        raise InputError(
            f"{out}: {source.spec.name} needs at least {human_bytes(size)}, the disk has {human_bytes(free)} free"
        )


@contextmanager
def _made_aside(out: Path, force: bool) -> Iterator[Path]:
    """Yield a folder next to the target; it gets the target's name on success, and is removed on failure."""
    aside, old = (out.with_name(f"{out.name}.export.{word}") for word in ("tmp", "old"))
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out.with_name(f"{out.name}.export.lock"), f"{out}: another export is writing to it"):
        if not out.exists() and old.is_dir() and _marked(old) is not None:
            old.replace(out)  # an export was killed between its last two renames
        _check_target(out, force)  # again, now that no other export writes
        for left in (aside, old):
            _remove_left(left)
        aside.mkdir()
        try:
            (aside / EXPORT).write_text("{}\n")  # lets the next export remove the folder if this one is killed
            yield aside
            sync_disks()  # the name implies that all is on the disk, even after a power cut
            _exchange(out, aside, old)
        except BaseException:
            with suppress(OSError):
                _remove(aside)
            raise
        with suppress(OSError):
            _remove(old)


def _exchange(out: Path, aside: Path, old: Path) -> None:
    """Give the new folder its name; if that fails, the old one has it again."""
    if not out.exists():
        aside.replace(out)
        return
    for entry in out.iterdir():
        if is_clutter(entry.name) and entry.is_file():
            shutil.copy2(entry, aside)  # a .gitkeep is the user's
    out.replace(old)
    try:
        aside.replace(out)
    except BaseException:
        old.replace(out)
        raise


def _remove_left(folder: Path) -> None:
    """Remove the folder that a killed export left."""
    if not folder.exists():
        return
    if _marked(folder) is None and any(folder.iterdir()):
        raise InputError(f"{folder}: is in the way, and not from an export; move it away")
    _remove(folder)


def _remove(folder: Path) -> None:
    """Remove an export's folder, the mark last: if that is interrupted, the next export can go on."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != EXPORT:
            entry.unlink()
    shutil.rmtree(folder)
