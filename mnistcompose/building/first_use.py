"""A dataset that is built on first use, by one of the processes that want it at once."""

import time
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from ..layout.model import LayoutSpec
from ..quantities import shown
from ..storage.locks import LockedError
from ..storage.manifest import MANIFEST, Manifest, read_manifest
from .build import build

_PAUSE = 0.2  # seconds between two looks at a folder in which another process builds


def built_on_first_use(
    root: Path, spec: LayoutSpec, seed: int, *, begin: Callable[[], object] = lambda: None, whole: bool = False
) -> Manifest:
    """Manifest of a dataset, which is built if it is not there; if another process is building it, wait for that.

    Parameters
    ----------
    begin
        Called before it is built, or waited for.
    whole
        Accept only a dataset of the layout's own size.

    Raises
    ------
    InputError
        The folder holds a dataset of another layout, seed or size.
    BuildError
        The dataset could not be built, or its manifest is damaged.
    """
    if not (root / MANIFEST).is_file():
        begin()
    while not (root / MANIFEST).is_file():
        try:
            build(spec, root, seed=seed)
        except LockedError:
            time.sleep(_PAUSE)
    manifest = read_manifest(root)
    sizes = {split: manifest.splits[split].count for split in ("train", "test")} if whole else None
    for field, found, wanted in (
        ("layout", manifest.spec_digest, spec.digest),
        ("seed", manifest.seed, seed),
        ("size", sizes, {"train": spec.train, "test": spec.test} if whole else None),
    ):
        if found != wanted:
            raise InputError(
                f"{root}: holds a dataset of another {field} ({shown(found)}, not {shown(wanted)}); use another "
                "folder, or move it away"
            )
    return manifest
