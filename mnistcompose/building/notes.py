"""Which shards a build has finished: a journal in a local folder, a note per shard in a store that cannot append."""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import BuildError
from ..storage.location import is_local, listing
from ..storage.manifest import ShardEntry

JOURNAL = "journal.jsonl"
NOTES = "journal"  # the folder of the notes

_REQUESTS = 32  # to a store at the same time


def noted_shards(root: Path, identity: dict[str, Any]) -> dict[str, ShardEntry]:
    """Shards that the build noted, by name; a truncated line is ignored."""
    path = root / JOURNAL
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else _read_notes(root, identity):
        try:
            entries.append(ShardEntry.model_validate_json(line))
        except ValidationError:
            continue
    return {entry.name: entry for entry in entries}


def note_path(root: Path, identity: dict[str, Any], shard: str) -> Path:
    """Place of a shard's note in a store; its name has a hash of the build, since builds of any kind may meet there."""
    recipe = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return root / NOTES / f"{shard}.{recipe[:16]}.json"


def check_notes(root: Path, identity: dict[str, Any], shards: Iterable[str]) -> None:
    """Check that no other build has written one of the shards meanwhile; forget those that one has.

    Raises
    ------
    BuildError
        There is another build's note; the same build makes the shard again.
    """
    if not (notes := _notes(root)):
        return
    ours = {shard: note_path(root, identity, shard) for shard in shards}
    names = {note.name for note in ours.values()}
    others = [note for note in notes if note.name not in names]
    lost = [shard for shard in map(_shard_of, others) if shard in ours]
    for note in (*others, *(ours[shard] for shard in lost)):
        note.unlink(missing_ok=True)
    if lost:
        raise BuildError(
            f"{root / lost[0]}: another build has written it meanwhile; give each a folder of its own; the same "
            "command makes it again"
        )


def remove_notes(root: Path) -> None:
    """Remove the notes that replace the journal in a store, and unfinished ones of workers that were killed."""
    for note in () if is_local(root) else listing(root / NOTES):
        note.unlink(missing_ok=True)


def _notes(root: Path) -> list[Path]:
    return [] if is_local(root) else [note for note in listing(root / NOTES) if note.suffix == ".json"]


def _read_notes(root: Path, identity: dict[str, Any]) -> list[bytes]:
    """The build's own notes, as lines of a journal."""
    files = [note for note in _notes(root) if note.name == note_path(root, identity, _shard_of(note)).name]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(lambda note: note.read_bytes(), files))


def _shard_of(note: Path) -> str:
    return note.name.rsplit(".", 2)[0]
