"""The parameters of a dataset, as one checked and canonical value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..arguments import flag, whole
from ..digits.bank import load_digits
from ..digits.source import Digits, DigitSource, as_source
from ..errors import InputError
from ..layout.model import LayoutSpec
from ..layout.names import as_spec
from ..quantities import human_bytes
from ..rendering.draws import MAX_INDEX, MAX_SEED, check_labels, draw
from ..rendering.number_choice import unseen_count
from ..storage.schema import BLOCK, FORMAT, MAX_SHARD, MAX_SHARD_BYTES, SPLITS, Compression, SampleSchema, SplitName


@dataclass(frozen=True)
class BuildConfig:
    """All parameters of a dataset, passed from the command to the workers. `make_config` checks them."""

    spec: LayoutSpec
    seed: int
    counts: dict[SplitName, int]
    shard_size: int
    digits: DigitSource
    digits_digest: str
    classes: int
    compression: Compression
    masks: bool

    @property
    def first_split(self) -> SplitName:
        """The first split that has images."""
        return next(split for split, count in self.counts.items() if count)

    @property
    def form(self) -> SampleSchema:
        """What the samples look like."""
        return SampleSchema.of(self.spec, self.masks)

    @property
    def identity(self) -> dict[str, Any]:
        """Content of `build.json`: builds that differ in any field cannot share a folder."""
        return {
            "format": FORMAT,
            "spec": self.spec.model_dump(mode="json", exclude_unset=True),  # a slot may set a default over `digit`
            "spec_digest": self.spec.digest,
            "digits_digest": self.digits_digest,
            "seed": self.seed,
            "train": self.counts["train"],
            "test": self.counts["test"],
            "shard_size": self.shard_size,
            "compression": self.compression,
            **({"masks": True} if self.masks else {}),
        }


def split_counts(spec: LayoutSpec, seed: int, classes: int, train: int, test: int) -> dict[SplitName, int]:
    """Number of images of each split of a dataset, in order.

    Raises
    ------
    InputError
        As `unseen_count`.
    """
    counts: dict[SplitName, int] = {"train": train, "test": test}
    if spec.holds_out:
        counts["test_unseen"] = unseen_count(spec, "test_unseen", seed, classes, test)
    return counts


def make_config(
    spec: LayoutSpec | str | Path,
    *,
    seed: int = 0,
    train: int | None = None,
    test: int | None = None,
    shard_size: int = 10_000,
    digits: Digits = None,
    compression: Compression = "none",
    masks: bool = False,
) -> BuildConfig:
    """Check the arguments of `build`, and make them canonical.

    Raises
    ------
    InputError
        A value is not allowed; the message names it, and what is allowed.
    """
    spec = as_spec(spec)
    seed = whole("seed", seed, 0, MAX_SEED)
    train = whole("train", spec.train if train is None else train, 0, MAX_INDEX)
    test = whole("test", spec.test if test is None else test, 0, MAX_INDEX)
    shard_size, masks = whole("shard_size", shard_size, 0), flag("masks", masks)
    if not train and not test:
        raise InputError(f"{spec.name}: train = 0 and test = 0 leave nothing to build")
    if not BLOCK <= shard_size <= MAX_SHARD or shard_size % BLOCK:
        raise InputError(f"shard_size = {shard_size}: allowed are multiples of {BLOCK}, up to {MAX_SHARD}")
    if compression not in get_args(Compression):
        raise InputError(f"compression = {compression!r}: allowed are {' and '.join(get_args(Compression))}")
    source = as_source(digits)
    bank, *_ = [load_digits(split, source) for split, count in zip(SPLITS, (train, test), strict=False) if count]
    check_labels(len(spec.slots), bank.classes)
    counts = split_counts(spec, seed, bank.classes, train, test)
    for split, count in counts.items():
        if count:  # reject a layout that does not fit the split's digits
            draw(spec, split, 0, 0, seed, load_digits(split, source))
    config = BuildConfig(spec, seed, counts, shard_size, source, bank.digest, bank.classes, compression, masks)
    sample_bytes = config.form.sample_bytes
    if shard_size * sample_bytes > MAX_SHARD_BYTES:
        most = MAX_SHARD_BYTES // sample_bytes // BLOCK * BLOCK
        raise InputError(
            f"shard_size = {shard_size}: {human_bytes(shard_size * sample_bytes)} in a file, which is made in memory; "
            f"with samples of this size at most {most}"
        )
    return config
