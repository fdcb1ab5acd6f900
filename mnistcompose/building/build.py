"""Make a dataset in a folder: plan the shards, keep what is intact, make the rest, write the manifest."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from .. import __version__
from ..arguments import flag, whole
from ..digits.bank import MNIST_LICENSE, OTHER_LICENSE, load_digits
from ..digits.source import Digits
from ..errors import BuildError, InputError
from ..layout.model import LayoutSpec
from ..storage.digests import split_digest
from ..storage.files import failing, sync_folder, write_file
from ..storage.hdf5 import virtual_bytes
from ..storage.location import check_writable, is_read_only, locate
from ..storage.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    ShardEntry,
    SplitEntry,
    manifest_bytes,
    read_manifest,
)
from ..storage.schema import Compression, SplitName, shard_name
from .config import BuildConfig, make_config
from .executors import Progress, cores, make_all, tell
from .folder import (
    check_folder,
    check_ours,
    check_space,
    folder_lock,
    is_build_of,
    is_intact,
    is_kept,
    known_shards,
    prepare,
    remove_temporary,
)
from .interruptible import map_on_threads
from .notes import JOURNAL, check_notes, remove_notes
from .worker import Task, load_kernel


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes
    ----------
    counts, digests
        Number of images, and digest, of each split.
    seconds, startup_seconds, render_seconds
        Time in total, until the first shard begins, and from then until the last one ends.
    images_per_second
        Images made per second of `render_seconds`; 0 if all existed already.
    bytes
        Size of all shards.
    made, kept
        Number of shards that were made, and that existed already.
    """

    root: Path
    counts: dict[str, int]
    digests: dict[str, str]
    seconds: float
    startup_seconds: float
    render_seconds: float
    images_per_second: float
    bytes: int
    made: int
    kept: int


def build(
    spec: LayoutSpec | str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    shard_size: int = 10_000,
    digits: Digits = None,
    compression: Compression = "none",
    masks: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Make a dataset in a folder, or finish one that was interrupted; intact shards are kept.

    Parameters
    ----------
    spec
        A layout, or the name or path of one.
    out
        The dataset's folder, or a URL that fsspec knows, such as s3://bucket/folder. If `executor` runs on other
        machines, all of them must reach it.
    seed
        0 .. 2**63 - 1.
    train, test
        Number of images; None means the layout's.
    shard_size
        Images per file, a multiple of 1000; it does not affect the images.
    digits
        Folder of another digit set than MNIST, or a `DigitSource`; see `load_digits`.
    compression
        'none' or 'gzip', which makes files of a half to three quarters of the size, at a third of the speed.
    masks
        Also store a mask for every digit, as `Shard` describes them; images and digests stay the same.
    executor
        Executor that makes the shards; None means threads of this process.
    workers
        Number of shards made at once; None means one per core, and two more while others wait for the disk. With an
        executor, give its own number.
    force
        Replace a dataset that was made with other arguments. Files that are not part of a dataset are never removed.
    progress
        Called with the number of images of each finished shard, one at a time, from another thread.

    Raises
    ------
    InputError
        An argument cannot be used, and nothing has been written; or the layout leaves a digit without ink, which shows
        only as its image is made: what was written before stays, and `force` replaces it.
    BuildError
        The work could not be finished. The same call resumes it.
    """
    config = make_config(
        spec,
        seed=seed,
        train=train,
        test=test,
        shard_size=shard_size,
        digits=digits,
        compression=compression,
        masks=masks,
    )
    return build_config(config, out, executor=executor, workers=workers, force=force, progress=progress)


def build_config(
    config: BuildConfig,
    out: str | Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Make the dataset of a config; parameters and errors as in `build`."""
    begun = perf_counter()
    root = locate(out).absolute()
    check_writable(root)
    workers, force = None if workers is None else whole("workers", workers, 1), flag("force", force)
    check_folder(root, config.identity, force)
    check_space(root, config)
    tasks = [task for split in config.counts for task in _tasks(config, split, root)]
    work = _all_there(root, config, tasks, workers) if is_read_only(root) else None
    if work:
        for entry in work.kept.values():
            tell(progress, entry)
    else:
        work = _work(root, config, tasks, executor, workers, force, progress)
    manifest, kept, made, rendering, rendered = work
    seconds = rendered - rendering
    return BuildReport(
        root=locate(out),
        counts={split: entry.count for split, entry in manifest.splits.items()},
        digests={split: entry.digest for split, entry in manifest.splits.items()},
        seconds=perf_counter() - begun,
        startup_seconds=rendering - begun,
        render_seconds=seconds,
        images_per_second=sum(entry.count for entry in made.values()) / seconds if made else 0.0,
        bytes=sum(entry.bytes for entry in (kept | made).values()),
        made=len(made),
        kept=len(kept),
    )


class _Work(NamedTuple):
    """A finished dataset, the shards that were kept and made, and when making them began and ended."""

    manifest: Manifest
    kept: dict[str, ShardEntry]
    made: dict[str, ShardEntry]
    began: float
    ended: float


def _work(
    root: Path,
    config: BuildConfig,
    tasks: list[Task],
    executor: Executor | None,
    workers: int | None,
    force: bool,
    progress: Progress | None,
) -> _Work:
    """Make what is missing, alone in the folder."""
    with failing("write", root):
        root.mkdir(parents=True, exist_ok=True)
        with folder_lock(root):
            check_folder(root, config.identity, force)  # again, now that no other build writes
            prepare(root, config.identity, force)
            kept = _kept(root, config, tasks, workers)
            for entry in kept.values():
                tell(progress, entry)
            missing = [task for task in tasks if task.name not in kept]
            if missing and not executor:
                load_kernel(config)  # before the rendering is timed
            began = perf_counter()
            made = make_all(root, missing, executor, workers or cores() + 2, progress)
            ended = perf_counter()
            entries = kept | made
            return _Work(_finish(root, config, [entries[task.name] for task in tasks]), kept, made, began, ended)


def _all_there(root: Path, config: BuildConfig, tasks: list[Task], workers: int | None) -> _Work | None:
    """A dataset of which nothing is missing, so that its folder need not be written to; None if something is."""
    try:
        manifest = read_manifest(root)
        if not is_build_of(root, config.identity) or not all(
            is_intact(root, split.virtual) for split in manifest.splits.values()
        ):
            return None
    except (InputError, BuildError):
        return None
    kept, now = _kept(root, config, tasks, workers), perf_counter()
    return _Work(manifest, kept, {}, now, now) if len(kept) == len(tasks) else None


def _tasks(config: BuildConfig, split: SplitName, root: Path) -> Iterator[Task]:
    count = config.counts[split]
    total = -(-count // config.shard_size)
    for number in range(total):
        start = number * config.shard_size
        name = shard_name(split, number, total)
        yield Task(config, split, start, min(start + config.shard_size, count), root, name)


def _kept(root: Path, config: BuildConfig, tasks: list[Task], workers: int | None) -> dict[str, ShardEntry]:
    """Entries of the planned shards that exist with the content they were written with."""
    known = known_shards(root, config.identity)
    candidates = [(known[task.name], task) for task in tasks if task.name in known]
    intact = map_on_threads(lambda pair: is_kept(root, pair[0], pair[1].promise), candidates, workers or cores())
    return {entry.name: entry for (entry, _), good in zip(candidates, intact, strict=True) if good}


def _finish(root: Path, config: BuildConfig, entries: list[ShardEntry]) -> Manifest:
    """Write the virtual files, then the manifest, and remove the journal."""
    check_ours(root, config.identity)
    check_notes(root, config.identity, (entry.name for entry in entries))
    splits: dict[SplitName, SplitEntry] = {}
    for split in config.counts:
        shards = [entry for entry in entries if entry.split == split]
        content = virtual_bytes(shards, config.form)
        virtual = FileEntry(name=f"{split}.h5", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        if not is_intact(root, virtual):
            write_file(root / virtual.name, content)
        splits[split] = SplitEntry(
            count=config.counts[split],
            digest=split_digest(block for shard in shards for block in shard.blocks),
            virtual=virtual,
            shards=shards,
        )
    manifest = Manifest(
        mnistcompose=__version__,
        license=MNIST_LICENSE if _of_mnist(config) else OTHER_LICENSE,
        classes=config.classes,
        splits=splits,
        **{key: value for key, value in config.identity.items() if key in Manifest.model_fields},
    )
    content, path = manifest_bytes(manifest), root / MANIFEST
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, content)
    (root / JOURNAL).unlink(missing_ok=True)
    remove_notes(root)
    remove_temporary(root)  # of workers that were killed
    sync_folder(root)
    return manifest


def _of_mnist(config: BuildConfig) -> bool:
    """Whether the digits are MNIST's, from wherever they were read."""
    return config.digits.folder is None or config.digits_digest == load_digits("train").digest
