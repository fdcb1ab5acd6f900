"""Plan, make and resume a dataset: one task a shard, on any `concurrent.futures.Executor`."""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from .. import __version__
from ..digits.bank import DigitBank, load_digits
from ..errors import BuildError, InputError
from ..layout.spec import LayoutSpec
from ..rendering.draws import ABSENT, ANGLE, POSITION, SCALE, draw
from ..storage.location import is_local, listing, locate
from ..storage.shards import (
    BLOCK,
    FORMAT,
    MANIFEST,
    MAX_SHARD,
    Compression,
    FileEntry,
    Form,
    Manifest,
    Shard,
    ShardEntry,
    SplitEntry,
    SplitName,
    block_digests,
    encode,
    failing,
    file_digest,
    manifest_bytes,
    pieces_digest,
    read_manifest,
    shard_name,
    split_digest,
    sync_folder,
    virtual_bytes,
    write_file,
)
from .interruptible import aside, map_on_threads

BUILD = "build.json"
JOURNAL = "journal.jsonl"
NOTES = "journal"  # instead of the journal where nothing can be appended to: a folder of one file a shard
LOCK = ".lock"
MAX_SEED = 2**63 - 1
MAX_SHARD_BYTES = 4 << 30  # a shard is made and read in memory, and several at once
MNIST_LICENSE = (
    "CC BY-SA 3.0 (https://creativecommons.org/licenses/by-sa/3.0/); made from MNIST, copyright Yann LeCun and "
    "Corinna Cortes, a derivative work of the NIST datasets"
)
OTHER_LICENSE = "that of the digit set it was made from"

SPLITS: tuple[SplitName, ...] = get_args(SplitName)
OWN = re.compile(
    r"((train|test)(-\d{5,}-of-\d{5,})?\.h5|manifest\.json|build\.json|journal\.jsonl)(?P<temporary>\.[0-9a-f]{8}\.tmp)?"
)

_REQUESTS = 32  # to a store at once
_AHEAD = 64  # tasks that an executor is given at least, so that workers who join it find some

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes
    ----------
    counts, digests
        Number of images, and digest, of each split.
    seconds, startup_seconds, render_seconds
        In total; until the first shard was begun; from there to the last one's end.
    images_per_second
        Images made, by `render_seconds`; 0 where all were there already.
    bytes
        Size of all shards.
    made, kept
        Number of shards that were made, and that were there already.
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


@dataclass(frozen=True)
class _Task:
    """All that a worker, on this machine or another, needs to make one shard."""

    spec: LayoutSpec
    digits: Path | None
    digits_digest: str
    split: SplitName
    seed: int
    start: int
    stop: int
    folder: Path
    name: str
    compression: Compression
    masks: bool


def compose(
    bank: DigitBank, spec: LayoutSpec, split: SplitName, seed: int, start: int, stop: int, *, masks: bool = False
) -> Shard:
    """Make samples start .. stop - 1 of a split, with their labels, factors and, if wanted, masks.

    Raises
    ------
    InputError
        The layout leaves a digit without ink, or makes labels of more than 64 bits.
    """
    from ..rendering.render import (
        labels,
        render,
        render_with_masks,
    )  # numba is slow to import, and a check without rendering needs none

    draws = draw(spec, split, start, stop, seed, bank)
    covers = None
    if masks:
        images, boxes, covers = render_with_masks(bank, spec, draws)
    else:
        images, boxes = render(bank, spec, draws)
    numbers, digits = labels(bank, draws)
    return Shard(
        split=split,
        seed=seed,
        first=start,
        spec_digest=spec.digest,
        digits_digest=bank.digest,
        classes=bank.classes,
        images=images,
        labels=numbers,
        digits=digits,
        source_index=draws.source,
        center=(draws.center / POSITION).astype(np.float32),
        scale=(draws.scale / SCALE).astype(np.float32),
        rotation=(draws.rotation / ANGLE).astype(np.float32),
        flip=draws.flip,
        box=boxes,
        masks=covers,
    )


def make_shard(task: _Task) -> ShardEntry:
    """Draw, render, encode, hash and write one shard; what returns is small."""
    bank = load_digits(task.split, task.digits)
    if bank.digest != task.digits_digest:
        raise BuildError(f"{task.digits or 'bundled MNIST'}: the digit files here are not those of the build")
    shard = compose(bank, task.spec, task.split, task.seed, task.start, task.stop, masks=task.masks)
    content = encode(shard, task.compression)
    write_file(task.folder / task.name, content)
    entry = ShardEntry(
        name=task.name,
        bytes=sum(map(len, content)),
        sha256=pieces_digest(content),
        split=task.split,
        first=task.start,
        count=len(shard),
        blocks=list(block_digests(shard.images, shard.labels)),
    )
    if not is_local(task.folder):
        write_file(task.folder / NOTES / f"{task.name}.json", entry.model_dump_json().encode())
    return entry


# --- plan -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BuildPlan:
    """What a build would make.

    Attributes
    ----------
    counts, shards
        Number of images, and of files, of each split.
    bytes, manifest_bytes
        Size of all shards, and of the manifest that lists them.
    seconds_per_image
        What one thread of this machine takes to make, encode and hash an image, measured; writing is not in it.
    """

    counts: dict[SplitName, int]
    shards: dict[SplitName, int]
    bytes: int
    manifest_bytes: int
    seconds_per_image: float


def plan_build(
    spec: LayoutSpec,
    *,
    seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    shard_size: int = 10_000,
    digits: Path | None = None,
    compression: Compression = "none",
    masks: bool = False,
) -> BuildPlan:
    """Say what `build` would make with these arguments; makes some thousand images in memory, and no file.

    Raises
    ------
    InputError
        Something asked for cannot be.
    """
    bank = load_digits("train", digits)
    counts = _counts(spec, train, test)
    _check(spec, bank, seed, counts, shard_size, compression, None, masks)
    compose(bank, spec, "train", seed, 0, 0, masks=masks)  # loads or compiles the kernel
    sizes = []
    for blocks in (1, 2):
        begun = perf_counter()
        sample = compose(bank, spec, "train", seed, 0, blocks * BLOCK, masks=masks)
        content = encode(sample, compression)
        hashes = pieces_digest(content), block_digests(sample.images, sample.labels)
        seconds = (perf_counter() - begun) / len(sample)
        sizes.append(sum(map(len, content)))
    each, shards = (sizes[1] - sizes[0]) / BLOCK, {split: -(-count // shard_size) for split, count in counts.items()}
    entry = ShardEntry(
        name=shard_name("train", 0, max(shards.values())),
        bytes=sizes[1],
        sha256=hashes[0],
        split="train",
        first=0,
        count=shard_size,
        blocks=[hashes[1][0]] * (shard_size // BLOCK),
    )
    total = sum(shards.values())
    return BuildPlan(
        counts=counts,
        shards=shards,
        bytes=round(sum(counts.values()) * each + total * (sizes[0] - BLOCK * each)),
        manifest_bytes=total * len(json.dumps(entry.model_dump(), indent=1)),
        seconds_per_image=seconds,
    )


def _counts(spec: LayoutSpec, train: int | None, test: int | None) -> dict[SplitName, int]:
    """Number of images of each split; the layout's where nothing else is asked for."""
    return {"train": spec.train if train is None else train, "test": spec.test if test is None else test}


# --- build ----------------------------------------------------------------------------------------------------------


def build(
    spec: LayoutSpec,
    out: str | Path,
    *,
    seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    shard_size: int = 10_000,
    digits: Path | None = None,
    compression: Compression = "none",
    masks: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Make a dataset in a folder, or finish one that was interrupted; what is there and intact is kept.

    Parameters
    ----------
    out
        The dataset's folder, or a URL that fsspec knows, such as s3://bucket/folder. Where `executor` works on other
        machines, one that all of them reach.
    seed
        0 .. 2**63 - 1.
    train, test
        Number of images; without them the layout's.
    shard_size
        Images in a file, a multiple of 1000; it changes no image.
    digits
        Folder of another digit set than MNIST; see `load_digits`.
    compression
        'gzip' makes files of a half to three quarters of the size, at a third of the speed.
    masks
        Also store a mask for every digit, as `Shard` describes them; images and digests stay the same.
    executor
        Where shards are made; without it, on threads of this process.
    workers
        How many shards are made at once; without it, one a core, and two while others wait for the disk. Give an
        executor's own number with it.
    force
        Replace a dataset that was made in other ways. Files that are no part of a dataset are never removed.
    progress
        Called with the number of images of each shard that is done, one after the other, from another thread.

    Raises
    ------
    InputError
        Something asked for cannot be; nothing has been written.
    BuildError
        The work could not be finished. The same call goes on from there.
    """
    begun = perf_counter()
    root = locate(out).absolute()
    digits = digits and Path(digits).absolute()
    bank = load_digits("train", digits)
    counts = _counts(spec, train, test)
    form = _check(spec, bank, seed, counts, shard_size, compression, workers, masks)
    identity = _identity(spec, bank, seed, counts, shard_size, compression, masks)
    _check_folder(root, identity, force)
    _check_space(root, spec.name, form, counts, compression)

    def tasks(split: SplitName) -> Iterator[_Task]:
        total = -(-counts[split] // shard_size)
        for index in range(total):
            start = index * shard_size
            stop = min(start + shard_size, counts[split])
            name = shard_name(split, index, total)
            yield _Task(spec, digits, bank.digest, split, seed, start, stop, root, name, compression, masks)

    plan = [task for split in SPLITS for task in tasks(split)]
    with failing("write", root):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            _check_folder(root, identity, force)  # again, now that nobody else writes
            _prepare(root, identity)
            kept = _kept(root, plan, workers)
            for entry in kept.values():
                tell(progress, entry)
            missing = [task for task in plan if task.name not in kept]
            if missing and not executor:
                compose(
                    bank, spec, "train", seed, 0, 0, masks=masks
                )  # loads or compiles the kernel, which is no rendering
            rendering = perf_counter()
            made = _make_all(root, missing, executor, workers or cores() + 2, progress)
            rendered = perf_counter()
            entries = kept | made
            manifest = _finish(
                root, identity, form, bank.classes, digits is None, [entries[task.name] for task in plan]
            )
    seconds = rendered - rendering
    return BuildReport(
        root=locate(out),
        counts={split: entry.count for split, entry in manifest.splits.items()},
        digests={split: entry.digest for split, entry in manifest.splits.items()},
        seconds=perf_counter() - begun,
        startup_seconds=rendering - begun,
        render_seconds=seconds,
        images_per_second=sum(entry.count for entry in made.values()) / seconds if made else 0.0,
        bytes=sum(entry.bytes for entry in entries.values()),
        made=len(made),
        kept=len(kept),
    )


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tell(progress: Progress | None, entry: ShardEntry) -> None:
    """Report a shard's images as done, to whoever listens."""
    if progress:
        progress(entry.count)


def _check(
    spec: LayoutSpec,
    bank: DigitBank,
    seed: int,
    counts: dict[SplitName, int],
    shard_size: int,
    compression: str,
    workers: int | None,
    masks: bool,
) -> Form:
    """Refuse values that no build can have, and say what the samples look like."""
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed = {seed}: allowed are 0 to {MAX_SEED}")
    for split, count in counts.items():
        if count < 0:
            raise InputError(f"{split} = {count}: a number of images is 0 or more")
    if not any(counts.values()):
        raise InputError(f"{spec.name}: train = 0 and test = 0 leave nothing to build")
    if not BLOCK <= shard_size <= MAX_SHARD or shard_size % BLOCK:
        raise InputError(f"shard_size = {shard_size}: allowed are multiples of {BLOCK}, up to {MAX_SHARD}")
    if compression not in get_args(Compression):
        raise InputError(f"compression = {compression!r}: allowed are {' and '.join(get_args(Compression))}")
    if workers is not None and workers < 1:
        raise InputError(f"workers = {workers}: at least 1 is needed")
    if bank.classes ** len(spec.slots) > 2**63:
        raise InputError(
            f"{spec.name}: {len(spec.slots)} slots of {bank.classes} classes make labels of more than 64 bits; "
            "use fewer slots"
        )
    if spec.length != "all" and bank.classes > ABSENT:
        raise InputError(f"{spec.name}: length: {bank.classes} classes leave no value for a digit that is absent")
    form = Form(len(spec.slots), spec.output.shape, masks)
    if shard_size * form.sample_bytes > MAX_SHARD_BYTES:
        most = MAX_SHARD_BYTES // form.sample_bytes // BLOCK * BLOCK
        raise InputError(
            f"shard_size = {shard_size}: {human(shard_size * form.sample_bytes)} in a file, which is made in memory; "
            f"with samples of this size at most {most}"
        )
    return form


def _identity(
    spec: LayoutSpec,
    bank: DigitBank,
    seed: int,
    counts: dict[SplitName, int],
    shard_size: int,
    compression: Compression,
    masks: bool,
) -> dict[str, Any]:
    """What a folder's dataset is made from; builds that differ in any of it don't share a folder."""
    return {
        "format": FORMAT,
        "spec": spec.model_dump(mode="json", exclude_unset=True),  # a slot may set a default again
        "spec_digest": spec.digest,
        "digits_digest": bank.digest,
        "seed": seed,
        "train": counts["train"],
        "test": counts["test"],
        "shard_size": shard_size,
        "compression": compression,
        **({"masks": True} if masks else {}),
    }


def _check_folder(root: Path, identity: dict[str, Any], force: bool) -> None:
    """Refuse a folder that holds something else; with force, only one that holds no dataset at all."""
    path = root / BUILD
    with failing("use", root):
        if is_local(root) and (blocked := next((each for each in root.parents if each.is_file()), None)):
            raise InputError(f"{root}: {blocked} is a file; give a folder that is there, or can be made")
        if not root.exists():
            return
        if not root.is_dir():
            raise InputError(f"{root}: a file; give a folder that does not exist yet, is empty, or holds this dataset")
        foreign = [] if path.exists() else sorted(e.name for e in root.iterdir() if not _leftover(e.name))
    if foreign:
        raise InputError(f"{root}: holds {foreign[0]!r} and no dataset; give a folder of its own")
    if force or not path.exists():
        return
    theirs = _read_build(path)
    if theirs is None:
        raise InputError(f"{path}: damaged; choose another folder, or --force to make the dataset anew")
    if difference := next(_differences(theirs, identity), None):
        field, there, here = difference
        raise InputError(
            f"{path}: {field} is {there} there, and {here} in this build; choose another folder, or --force to replace "
            "what is there"
        )


def _leftover(name: str) -> bool:
    """Whether a build that was killed before it began may have left this."""
    own = OWN.fullmatch(name)
    return name == LOCK or bool(own and own["temporary"])


def _read_build(path: Path) -> dict[str, Any] | None:
    with failing("read", path):
        content = path.read_bytes()
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _differences(theirs: Any, ours: Any, field: str = "") -> Iterator[tuple[str, str, str]]:
    """Fields in which two builds differ, with both values; the layout is told field by field."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            yield from _differences(theirs.get(key), ours.get(key), f"{field}.{key}" if field else key)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(*pair, f"{field}[{index}]")
    elif theirs != ours:
        yield field, _short(theirs), _short(ours)


def _short(value: Any) -> str:
    text = "unset" if value is None else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_space(root: Path, name: str, form: Form, counts: dict[SplitName, int], compression: Compression) -> None:
    """Refuse what the disk cannot hold, less what is there already; compressed, at least a quarter is left."""
    if not is_local(root):
        return
    size = sum(counts.values()) * form.sample_bytes // (4 if compression == "gzip" else 1)
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    with failing("use", place):
        there = sum(path.stat().st_size for path in root.glob("*.h5")) if root.exists() else 0
        free = shutil.disk_usage(place).free
    if size - there > free:
        raise InputError(f"{root}: {name} needs about {human(size)}, the disk has {human(free)} free")


def human(size: float) -> str:
    """Give a number of bytes in the unit that suits it."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} PB"


_held: set[int] = set()  # descriptors of locks


def _let_go() -> None:
    """Close the locks that a forked worker inherits, or it would hold them when its parent dies."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


class LockedError(BuildError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, which is there meanwhile; it goes with the process, however that ends.

    Raises
    ------
    LockedError
        Another process holds it, and `wait` is false: `busy` says what that means.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(busy) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)  # its last owner removed the file between our two steps
    _held.add(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _held.discard(descriptor)
        os.close(descriptor)


def _locked(root: Path) -> AbstractContextManager[None]:
    """Keep other builders out.

    A store has no such lock: two builds there write the same bytes twice, which harms nothing.
    """
    return locked(root / LOCK, f"{root}: another build is writing to it") if is_local(root) else nullcontext()


def _prepare(root: Path, identity: dict[str, Any]) -> None:
    """Remove what an interrupted build left, or the whole of another dataset, and say what is being built."""
    _remove_temporary(root)
    path = root / BUILD
    if path.exists():
        theirs = _read_build(path)
        if theirs is not None and not any(_differences(theirs, identity)):
            return
        _remove_notes(root)
        own = [entry for entry in listing(root) if OWN.fullmatch(entry.name)]
        for entry in sorted(own, key=lambda entry: (entry.name == BUILD, entry.name not in (MANIFEST, JOURNAL))):
            entry.unlink()  # in an order that leaves another dataset's mark until all of it is gone
    write_file(path, json.dumps(identity, indent=1).encode() + b"\n")


def _remove_temporary(root: Path) -> None:
    for entry in listing(root):
        own = OWN.fullmatch(entry.name)
        if own and own["temporary"]:
            entry.unlink(missing_ok=True)


def _remove_notes(root: Path) -> None:
    if not is_local(root):
        for note in listing(root / NOTES):
            note.unlink(missing_ok=True)


# --- what is there already ------------------------------------------------------------------------------------------


def _kept(root: Path, plan: list[_Task], workers: int | None) -> dict[str, ShardEntry]:
    """Entries of the planned shards that are there with the content they were written with."""
    known = _listed(root) | _journal(root)
    candidates = [
        entry
        for task in plan
        if (entry := known.get(task.name))
        and (entry.split, entry.first, entry.count) == (task.split, task.start, task.stop - task.start)
    ]
    # what a store has noted, it has whole: to read all of it again would cost more than to make it
    check = is_intact if is_local(root) else has_size
    intact = map_on_threads(lambda entry: check(root, entry), candidates, workers or cores())
    return {entry.name: entry for entry, good in zip(candidates, intact, strict=True) if good}


def has_size(root: Path, entry: FileEntry) -> bool:
    """Whether a file of the dataset is there with the size that it was written with."""
    path = root / entry.name
    return path.is_file() and not path.is_symlink() and path.stat().st_size == entry.bytes


def is_intact(root: Path, entry: FileEntry) -> bool:
    """Whether a file of the dataset is there with the size and the hash that it was written with."""
    return has_size(root, entry) and file_digest(root / entry.name) == entry.sha256


def _listed(root: Path) -> dict[str, ShardEntry]:
    try:
        manifest = read_manifest(root)
    except (InputError, BuildError):
        return {}
    return {shard.name: shard for split in manifest.splits.values() for shard in split.shards}


def _journal(root: Path) -> dict[str, ShardEntry]:
    """Shards that a build noted; a line that was cut off counts for nothing."""
    path = root / JOURNAL
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else _notes(root):
        try:
            entries.append(ShardEntry.model_validate_json(line))
        except ValidationError:
            continue
    return {entry.name: entry for entry in entries}


def _notes(root: Path) -> list[bytes]:
    """The lines of a journal, from a store."""
    if is_local(root):
        return []
    files = [note for note in listing(root / NOTES) if note.suffix == ".json"]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(lambda note: note.read_bytes(), files))


# --- making the rest ------------------------------------------------------------------------------------------------


def _make_all(
    root: Path, tasks: list[_Task], executor: Executor | None, workers: int, progress: Progress | None
) -> dict[str, ShardEntry]:
    """Run the tasks, and note each that is done in the journal."""
    made: dict[str, ShardEntry] = {}
    if not tasks:
        return made
    path = root / JOURNAL
    with failing("write", path), path.open("ab") if is_local(path) else nullcontext() as journal:

        def note(entry: ShardEntry) -> None:
            if journal:
                journal.write(b"\n" + entry.model_dump_json().encode() + b"\n")  # also ends a line that was cut off
                journal.flush()  # a killed process loses nothing; after a power cut, some shards may be made again
            made[entry.name] = entry
            tell(progress, entry)

        def run(stopped: Callable[[], bool]) -> None:
            with nullcontext(executor) if executor else ThreadPoolExecutor(workers) as pool:
                _run(pool, tasks, max(2 * workers, _AHEAD if executor else 0), note, stopped)

        aside(run)
    return made


def _run(
    pool: Executor,
    tasks: list[_Task],
    ahead: int,
    note: Callable[[ShardEntry], None],
    stopped: Callable[[], bool],
) -> None:
    """Keep a few tasks submitted; however it ends, nothing runs any more, and what was made is noted."""
    waiting = iter(tasks)
    running: set[Future[ShardEntry]] = set()
    try:
        while not stopped():
            for task in islice(waiting, ahead - len(running)):
                running.add(pool.submit(make_shard, task))
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.remove(future)
                note(future.result())
    except BrokenExecutor as error:
        raise BuildError(f"a worker died ({error}); the same command goes on where it left off") from None
    finally:
        for future in running:
            future.cancel()
        for future in wait(running).done:
            if not future.cancelled() and not future.exception():
                note(future.result())


def _finish(
    root: Path, identity: dict[str, Any], form: Form, classes: int, bundled: bool, entries: list[ShardEntry]
) -> Manifest:
    """Write the virtual files, then the manifest, and drop the journal."""
    splits: dict[SplitName, SplitEntry] = {}
    for split in SPLITS:
        shards = [entry for entry in entries if entry.split == split]
        content = virtual_bytes(shards, form)
        virtual = FileEntry(name=f"{split}.h5", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        if not is_intact(root, virtual):
            write_file(root / virtual.name, content)
        splits[split] = SplitEntry(
            count=identity[split],
            digest=split_digest(block for shard in shards for block in shard.blocks),
            virtual=virtual,
            shards=shards,
        )
    manifest = Manifest(
        mnistcompose=__version__,
        license=MNIST_LICENSE if bundled else OTHER_LICENSE,
        classes=classes,
        splits=splits,
        **{key: value for key, value in identity.items() if key in Manifest.model_fields},
    )
    content, path = manifest_bytes(manifest), root / MANIFEST
    if not path.is_file() or path.read_bytes() != content:
        write_file(path, content)
    (root / JOURNAL).unlink(missing_ok=True)
    _remove_notes(root)
    _remove_temporary(root)  # of workers that were killed
    sync_folder(root)
    return manifest
