"""A dataset that is built on first use, by one of the processes that want it at once."""

import time
from collections.abc import Callable
from pathlib import Path

from ..digits.bank import load_digits
from ..digits.source import Digits
from ..errors import InputError
from ..layout.model import LayoutSpec
from ..quantities import shown
from ..storage.locks import PATIENCE, LockedError, tell_waiting
from ..storage.manifest import Manifest, has_manifest, read_manifest
from .build import build

_PAUSE = 0.2  # seconds between two looks at a folder in which another process builds


def built_on_first_use(
    root: Path,
    spec: LayoutSpec,
    seed: int,
    digits: Digits = None,
    *,
    begin: Callable[[], object] = lambda: None,
    whole: bool = False,
    any_digits: bool = False,
) -> Manifest:
    """Manifest of a dataset, which is built if it is not there; if another process is building it, wait for that.

    Parameters
    ----------
    begin
        Called before it is built, or waited for.
    whole
        Accept only a dataset of the layout's own size.
    any_digits
        Accept a dataset that was made of other digits.

    Raises
    ------
    InputError
        The folder holds a dataset of another layout, seed, digit set or size.
    BuildError
        The dataset could not be built, or its manifest is damaged.
    """
    if not has_manifest(root):
        begin()
    begun, told = time.monotonic(), False
    while not has_manifest(root):
        try:
            build(spec, root, seed=seed, digits=digits)
        except LockedError as busy:
            if not told and time.monotonic() - begun > PATIENCE:
                tell_waiting(str(busy))
                told = True
            time.sleep(_PAUSE)
    manifest = read_manifest(root)
    there = next(split for split, entry in manifest.splits.items() if entry.count)
    sizes = {split: manifest.splits[split].count for split in ("train", "test")} if whole else None
    for field, found, wanted in (
        ("layout", manifest.spec_digest, spec.digest),
        ("seed", manifest.seed, seed),
        ("digit set", manifest.digits_digest, None if any_digits else load_digits(there, digits).digest),
        ("size", sizes, {"train": spec.train, "test": spec.test} if whole else None),
    ):
        if wanted is not None and found != wanted:
            raise InputError(
                f"{root}: holds a dataset of another {field} ({shown(found)}, not {shown(wanted)}); use another "
                "folder, or move it away"
            )
    return manifest
