"""One shard: composed, encoded, hashed and written by one task, on any machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..digits.bank import DigitBank, load_digits
from ..errors import BuildError
from ..layout.model import LayoutSpec
from ..rendering.draws import ANGLE, POSITION, SCALE, Draws
from ..storage.digests import block_digests, pieces_digest
from ..storage.files import write_file
from ..storage.hdf5 import encode
from ..storage.location import is_local
from ..storage.manifest import ShardEntry
from ..storage.schema import Origin, Promise, Shard, SplitName
from .config import BuildConfig
from .folder import check_ours
from .notes import note_path


@dataclass(frozen=True)
class Task:
    """All that a worker needs to make one shard."""

    config: BuildConfig
    split: SplitName
    start: int
    stop: int
    folder: Path
    name: str

    @property
    def promise(self) -> Promise:
        """What the shard will hold."""
        config = self.config
        origin = Origin(self.split, config.seed, self.start, config.spec.digest, config.digits_digest, config.classes)
        return Promise(self.stop - self.start, config.form, origin)


def compose_shard(
    bank: DigitBank, spec: LayoutSpec, split: SplitName, seed: int, start: int, stop: int, *, masks: bool = False
) -> Shard:
    """Make samples start .. stop - 1 of a split, as a shard holds them.

    Raises
    ------
    InputError
        As `compose`.
    """
    from ..rendering.compose import compose  # numba is slow to import, and not needed without rendering

    made = compose(bank, spec, split, seed, start, stop, masks=masks)
    return Shard(
        Origin(split, seed, start, spec.digest, bank.digest, bank.classes),
        images=made.images,
        labels=made.labels,
        digits=made.digits,
        box=made.boxes,
        masks=made.masks,
        labels_clean=made.labels - made.draws.label_shift if spec.has_label_noise else None,
        **drawn_columns(made.draws),
    )


def drawn_columns(draws: Draws) -> dict[str, NDArray[Any]]:
    """Columns of a shard that hold the random choices as they were drawn; nothing has to be rendered for them."""
    return {
        "source_index": draws.source,
        "center": (draws.center / POSITION).astype(np.float32),
        "scale": (draws.scale / SCALE).astype(np.float32),
        "rotation": (draws.rotation / ANGLE).astype(np.float32),
        "flip": draws.flip,
    }


def load_kernel(config: BuildConfig) -> None:
    """Load or compile the kernel that a build needs, by composing zero images."""
    split = config.first_split
    bank = load_digits(split, config.digits)
    compose_shard(bank, config.spec, split, config.seed, 0, 0, masks=config.masks)


def make_shard(task: Task) -> ShardEntry:
    """Compose, encode, hash and write one shard; only its small entry is returned.

    Raises
    ------
    BuildError
        The digit files here are not those of the build, another build has begun in the folder, or the shard cannot be
        written.
    """
    config = task.config
    bank = load_digits(task.split, config.digits)
    if bank.digest != config.digits_digest:
        raise BuildError(f"{config.digits}: the digit files here are not those of the build")
    shard = compose_shard(bank, config.spec, task.split, config.seed, task.start, task.stop, masks=config.masks)
    content = encode(shard, config.compression)
    check_ours(task.folder, config.identity)
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
        write_file(note_path(task.folder, config.identity, task.name), entry.model_dump_json().encode())
    return entry
