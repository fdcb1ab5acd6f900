"""The state of a dataset's folder: what it may hold, what an interrupted build left, and what is kept of it."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..arguments import is_clutter
from ..errors import BuildError, InputError
from ..quantities import human_bytes
from ..storage.digests import file_digest
from ..storage.files import create_file, failing
from ..storage.hdf5 import read_promise
from ..storage.location import is_local, listing
from ..storage.locks import SOFT, locked
from ..storage.manifest import MANIFEST, FileEntry, ShardEntry, read_manifest
from ..storage.schema import SPLITS, Promise
from .config import BuildConfig
from .notes import JOURNAL, noted_shards, remove_notes

BUILD = "build.json"
LOCK = ".lock"
OWN = re.compile(
    rf"(({'|'.join(SPLITS)})(-\d{{5,}}-of-\d{{5,}})?\.h5|manifest\.json|build\.json|journal\.jsonl)"
    r"(?P<temporary>\.[0-9a-f]{8}\.tmp)?"
)


def check_folder(root: Path, identity: dict[str, Any], force: bool) -> None:
    """Reject a folder that holds other data; with `force`, only one that is not empty and holds no dataset."""
    path = root / BUILD
    with failing("use", root):
        if is_local(root) and (blocked := next((each for each in root.parents if each.is_file()), None)):
            raise InputError(f"{root}: {blocked} is a file; give a folder that is there, or can be made")
        if not root.exists():
            if is_local(root) and root.is_symlink():
                raise InputError(f"{root}: a symbolic link to {root.readlink()}, which is not there")
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
        raise InputError(f"{path}: damaged; choose another folder, or --force to make the dataset again")
    if difference := _difference(theirs, identity):
        raise InputError(f"{path}: {difference}; choose another folder, or --force to replace what is there")


def is_build_of(root: Path, identity: dict[str, Any]) -> bool:
    """Whether a folder's `build.json` is there, and is that of a build."""
    path = root / BUILD
    return path.is_file() and (theirs := _read_build(path)) is not None and not any(_differences(theirs, identity))


def check_ours(root: Path, identity: dict[str, Any]) -> None:
    """Stop if another build has begun in the folder meanwhile.

    A store has no lock, and a task on a cluster may outlive the lock of a local folder.

    Raises
    ------
    BuildError
        `build.json` is another build's.
    """
    if difference := _difference(_read_build(root / BUILD), identity):
        raise BuildError(f"{root / BUILD}: another build has begun there meanwhile: {difference}; give each a folder")


def _leftover(name: str) -> bool:
    """Whether a build that was killed before it began may have left this, or a file browser."""
    own = OWN.fullmatch(name)
    return name in (LOCK, LOCK + SOFT) or is_clutter(name) or bool(own and own["temporary"])


def _read_build(path: Path) -> dict[str, Any] | None:
    with failing("read", path):
        content = path.read_bytes()
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _differences(theirs: Any, ours: Any, field: str = "") -> Iterator[tuple[str, str, str]]:
    """Fields in which two builds differ, with both values; the layout is compared field by field."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            yield from _differences(theirs.get(key), ours.get(key), f"{field}.{key}" if field else key)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(*pair, f"{field}[{index}]")
    elif theirs != ours:
        yield field, _short(theirs), _short(ours)


def _difference(theirs: dict[str, Any] | None, ours: dict[str, Any]) -> str | None:
    """Describe the first field in which two builds differ."""
    for field, there, here in _differences(theirs or {}, ours):
        return f"{field} is {there} there, and {here} in this build"
    return None


def _short(value: Any) -> str:
    text = "unset" if value is None else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_space(root: Path, config: BuildConfig) -> None:
    """Reject a dataset that does not fit on the disk.

    Existing shards count as free space. A gzip dataset is assumed to take a quarter of its uncompressed size.
    """
    if not is_local(root):
        return
    packed = 4 if config.compression == "gzip" else 1
    size = sum(config.counts.values()) * config.form.sample_bytes // packed
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    with failing("use", place):
        there = sum(path.stat().st_size for path in root.glob("*.h5")) if root.exists() else 0
        free = shutil.disk_usage(place).free
    if size - there > free:
        name = config.spec.name
        raise InputError(f"{root}: {name} needs about {human_bytes(size)}, the disk has {human_bytes(free)} free")


def folder_lock(root: Path) -> AbstractContextManager[None]:
    """Keep other builders out of a local folder.

    A store has no such lock. Two equal builds there write the same bytes twice, which is harmless; of two different
    ones, `check_ours` stops one.
    """
    return locked(root / LOCK, f"{root}: another build is writing to it") if is_local(root) else nullcontext()


def prepare(root: Path, identity: dict[str, Any], force: bool) -> None:
    """Remove what an interrupted build left and, with `force`, all of another dataset; write `build.json`."""
    remove_temporary(root)
    path = root / BUILD
    if path.exists():
        if is_build_of(root, identity):
            return
        if not force:
            check_folder(root, identity, force)  # another build has begun since
        remove_notes(root)
        own = [entry for entry in listing(root) if OWN.fullmatch(entry.name)]
        for entry in sorted(own, key=lambda entry: (entry.name == BUILD, entry.name not in (MANIFEST, JOURNAL))):
            entry.unlink()  # build.json last: it marks the folder until all else is removed
    create_file(path, json.dumps(identity, indent=1).encode() + b"\n")
    check_ours(root, identity)


def remove_temporary(root: Path) -> None:
    """Remove temporary files of this and killed builds."""
    for entry in listing(root):
        own = OWN.fullmatch(entry.name)
        if own and own["temporary"]:
            entry.unlink(missing_ok=True)


def has_size(root: Path, entry: FileEntry) -> bool:
    """Whether a file of the dataset is there with the size that it was written with."""
    path = root / entry.name
    return path.is_file() and not path.is_symlink() and path.stat().st_size == entry.bytes


def is_intact(root: Path, entry: FileEntry) -> bool:
    """Whether a file of the dataset is there with the size and the hash that it was written with."""
    return has_size(root, entry) and file_digest(root / entry.name) == entry.sha256


def is_kept(root: Path, entry: ShardEntry, promise: Promise) -> bool:
    """Whether a shard that a build noted is there as it was written, and is the one that is wanted."""
    wanted = promise.origin
    if (entry.split, entry.first, entry.count) != (wanted.split, wanted.first, promise.count):
        return False
    if not is_local(root):
        return has_size(root, entry)  # what is noted there is complete; to read it would cost more than to make it
    if not is_intact(root, entry):
        return False
    try:
        return read_promise(root / entry.name) == promise
    except BuildError:
        return False


def known_shards(root: Path, identity: dict[str, Any]) -> dict[str, ShardEntry]:
    """Shards that a manifest lists or a build noted, by name; they need not be intact."""
    return _listed(root) | noted_shards(root, identity)


def _listed(root: Path) -> dict[str, ShardEntry]:
    try:
        manifest = read_manifest(root)
    except (InputError, BuildError):
        return {}
    return {shard.name: shard for split in manifest.splits.values() for shard in split.shards}
