"""Check a dataset against its manifest, its layout and the published digests."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from ..arguments import at_once, whole
from ..digits.bank import DigitBank, load_digits
from ..digits.source import Digits, as_source
from ..errors import BuildError, InputError
from ..layout.model import LayoutSpec
from ..layout.names import load_spec
from ..rendering.draws import ABSENT, draw, numbers
from ..storage.digests import block_digests
from ..storage.hdf5 import read_shard
from ..storage.location import locate
from ..storage.manifest import MANIFEST, FileEntry, Manifest, ShardEntry, has_manifest, read_manifest
from ..storage.schema import Shard, SplitName
from .digests import published_digests
from .executors import Progress, cores, tell
from .folder import BUILD, OWN, is_intact
from .interruptible import map_on_threads
from .worker import compose_shard, drawn_columns

_RUN = 50  # consecutive samples that are rendered again; divides BLOCK


@dataclass(frozen=True)
class VerifyReport:
    """What a check found.

    Attributes
    ----------
    problems
        One line per problem, naming the file.
    images, rendered
        Number of images that the manifest lists, and of those to be rendered again and compared; a shard that cannot be
        read counts, too.
    drawn
        Whether the random choices were compared, which needs the digit set.
    published
        Whether the digests were compared with published ones.
    digests
        Digest of each split, as the manifest has it; if nothing is wrong, that of the files. Two datasets are equal if
        their digests are. Empty if the manifest cannot be read.
    """

    root: Path
    problems: tuple[str, ...]
    images: int = 0
    rendered: int = 0
    drawn: bool = False
    published: bool = False
    digests: dict[SplitName, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    root: str | Path,
    *,
    rerender: int | None = None,
    digits: Digits = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check a dataset: its manifest, files, counts, labels and digests, and any published digests.

    Parameters
    ----------
    rerender
        Number of samples to render again and compare pixel by pixel, spread over the dataset; -1 means all.
    digits
        The digit set it was made from, if not MNIST: a folder or a `DigitSource`.
    workers
        Number of shards checked at once, on threads of this process; None means one per core. Problems are the same, in
        the same order, whatever their number.
    progress
        Called with the number of images of each shard that was checked, one at a time, from another thread.

    Raises
    ------
    InputError
        The folder holds no dataset, or rendering lacks the digit set.
    """
    root = locate(root)
    workers = at_once(workers, cores())
    rerender = None if rerender is None else whole("rerender", rerender, -1)
    try:
        if not has_manifest(root) and (root / BUILD).is_file():
            return VerifyReport(root, (f"{root / MANIFEST}: missing; the same build command finishes it",))
        manifest = read_manifest(root)
    except BuildError as error:
        return VerifyReport(root, (str(error),))
    spec = manifest.layout
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    there = [split for split, entry in manifest.splits.items() if entry.count]
    banks = {split: bank for split in there if (bank := load_digits(split, digits)).digest == manifest.digits_digest}
    if rerender and not banks:
        raise InputError(
            f"{root}: made from another digit set than {as_source(digits)}; give it as it was given to the build "
            "(--digits, and --skip-blank, --labels-from or --invert)"
        )
    chosen = _chosen(shards, rerender or 0, manifest)

    def check(shard: ShardEntry) -> list[str]:
        runs = chosen.get(shard.name, [])
        return list(_shard_problems(root, shard, manifest, spec, banks.get(shard.split), runs))

    problems = list(_folder_problems(root, manifest))
    for found in map_on_threads(check, shards, workers, lambda shard: tell(progress, shard)):
        problems += found
    published = _published(manifest, spec)
    for split, digest in published.items():
        if digest != manifest.splits[split].digest:
            problems.append(
                f"{root / MANIFEST}: the {split} digest is {manifest.splits[split].digest}, published is {digest}"
            )
    rendered = sum(stop - start for runs in chosen.values() for start, stop in runs)
    return VerifyReport(
        root,
        tuple(problems),
        images=sum(shard.count for shard in shards),
        rendered=rendered,
        drawn=bool(banks),
        published=bool(published),
        digests={split: entry.digest for split, entry in manifest.splits.items()},
    )


def _folder_problems(root: Path, manifest: Manifest) -> Iterator[str]:
    """Shards that are not in the manifest, and virtual files that have changed."""
    names = {shard.name for split in manifest.splits.values() for shard in split.shards}
    for split in manifest.splits.values():
        names.add(split.virtual.name)
        if problem := _virtual_problem(root, split.virtual):
            yield problem
    for entry in sorted(root.glob("*.h5")):
        if OWN.fullmatch(entry.name) and entry.name not in names:
            yield f"{entry}: not in the manifest"


def _place_problem(path: Path) -> str | None:
    """Why the file cannot be read; None if it can."""
    if path.is_symlink():
        return f"{path}: a symbolic link; should be a file of the folder"
    return None if path.is_file() else f"{path}: missing"


def _virtual_problem(root: Path, entry: FileEntry) -> str | None:
    path = root / entry.name
    if problem := _place_problem(path):
        return problem
    try:
        intact = is_intact(root, entry)
    except BuildError as error:
        return str(error)
    return None if intact else f"{path}: damaged: it does not have the SHA-256 in the manifest"


def _shard_problems(
    root: Path,
    entry: ShardEntry,
    manifest: Manifest,
    spec: LayoutSpec,
    bank: DigitBank | None,
    runs: list[tuple[int, int]],
) -> Iterator[str]:
    """All that is wrong with one shard."""
    path = root / entry.name
    if problem := _place_problem(path):
        yield problem
        return
    try:
        shard = read_shard(path, entry.sha256, manifest.promise(entry))
    except BuildError as error:
        yield str(error)
        return
    if list(block_digests(shard.images, shard.labels)) != entry.blocks:
        yield f"{path}: images and labels do not have the digests in the manifest"
    clean = shard.labels if shard.labels_clean is None else shard.labels_clean
    wrong = np.flatnonzero(numbers(shard.digits, manifest.classes) != clean)
    if len(wrong):
        yield f"{path}: the label of sample {entry.first + wrong[0]} is not the number that its digits make"
    elif not spec.labels.noise_of(entry.split) and len(wrong := np.flatnonzero(shard.labels != clean)):
        yield f"{path}: the label of sample {entry.first + wrong[0]} is wrong; only training labels have noise"
    if bank is not None:
        yield from _drawn_problems(path, shard, spec, bank)
        for start, stop in runs:
            again = compose_shard(bank, spec, entry.split, manifest.seed, start, stop, masks=manifest.masks)
            part = slice(start - entry.first, stop - entry.first)
            for name in manifest.form.columns:
                if not np.array_equal(getattr(shard, name)[part], getattr(again, name)):
                    yield f"{path}: {name} of samples {start}..{stop - 1} differ from what the layout gives"


def _drawn_problems(path: Path, shard: Shard, spec: LayoutSpec, bank: DigitBank) -> Iterator[str]:
    """Compare digits and random choices with those that the layout and the seed give; this needs no rendering."""
    origin, source = shard.origin, shard.source_index
    least = 0 if spec.length == "all" else -1
    if source.size and not least <= source.min() <= source.max() < len(bank.labels):
        yield f"{path}: source_index leaves 0..{len(bank.labels) - 1}, the images of the {origin.split} split"
    elif (np.where(source < 0, ABSENT, bank.labels[source]) != shard.digits).any():
        yield f"{path}: digits are not those of the source images"
    draws = draw(spec, origin.split, origin.first, origin.first + len(shard), origin.seed, bank)
    columns = drawn_columns(draws)
    if shard.labels_clean is not None:
        columns["labels"] = shard.labels_clean + draws.label_shift
    for name, again in columns.items():
        wrong = np.flatnonzero((getattr(shard, name) != again).reshape(len(shard), -1).any(axis=1))
        if len(wrong):
            yield f"{path}: {name} of sample {origin.first + wrong[0]} is not what the layout and the seed give"


def _chosen(shards: list[ShardEntry], wanted: int, manifest: Manifest) -> dict[str, list[tuple[int, int]]]:
    """Runs of samples to render again, by shard: spread at random, and the same each time."""
    runs = [
        (shard.name, start, min(start + _RUN, shard.first + shard.count))
        for shard in (shards if wanted else ())
        for start in range(shard.first, shard.first + shard.count, _RUN)
    ]
    if wanted > 0:
        Random("".join(split.digest for split in manifest.splits.values())).shuffle(runs)  # noqa: S311
    left = wanted if wanted >= 0 else sum(shard.count for shard in shards)
    chosen: dict[str, list[tuple[int, int]]] = {}
    for name, start, stop in runs:
        stop = min(stop, start + left)
        if stop > start:
            chosen.setdefault(name, []).append((start, stop))
            left -= stop - start
    return chosen


def _published(manifest: Manifest, spec: LayoutSpec) -> dict[SplitName, str]:
    """Digests published for exactly this dataset; empty where there are none."""
    if spec.name not in published_digests():
        return {}
    bundled = load_spec(spec.name)
    whole = (manifest.splits["train"].count, manifest.splits["test"].count) == (bundled.train, bundled.test)
    same = (manifest.spec_digest, manifest.seed) == (bundled.digest, 0)
    if not (whole and same and load_digits("train").digest == manifest.digits_digest):
        return {}
    return published_digests()[spec.name]
