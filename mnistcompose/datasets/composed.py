"""Samples that are composed on the fly, of any length."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import whole
from ..building.executors import cores
from ..building.interruptible import in_order
from ..digits.bank import DigitBank, Split, load_digits
from ..digits.source import Digits, as_source
from ..errors import BuildError
from ..layout.model import LayoutSpec
from ..layout.names import as_spec
from ..rendering.compose import Composed, compose, compose_at
from ..rendering.draws import MAX_INDEX, MAX_SEED, draw
from ..rendering.number_choice import check_split, unseen_count
from ..storage.schema import SampleSchema
from .base import Columns, DigitsDataset, Transform, as_batch
from .targets import Target

_CHUNK = 5000  # samples that a thread renders at once


def _columns(made: Composed) -> Columns:
    return Columns(made.images, made.labels, made.digits)


class ComposedDigits(DigitsDataset):
    """The samples of a split, made on request; sample i has the same bytes as in a built dataset.

    Samples are independent of each other, so shuffling has no benefit; with a large `length`, a `DataLoader` with
    `shuffle=True` needs memory for all indices.

    Besides 'train' and 'test' there are 'fit' and 'validation', for model selection: both are composed of training
    digits, and share none. If the layout holds numbers out, 'test_unseen' and 'validation_unseen' show these, in digits
    of 'test' and of 'validation'.

    Parameters
    ----------
    spec
        The layout.
    split
        'train', 'test', 'fit' or 'validation'; with held-out numbers also 'test_unseen' or 'validation_unseen'.
    seed
        0 .. 2**63 - 1.
    length
        Number of samples; None means the layout's: for 'fit' that of 'train', for 'validation' that of 'test',
        for unseen numbers so many that each is as frequent as a number of 'test'.
    transform, target_transform, target
        As for `ShardedDigits`.
    digits
        Folder of another digit set than MNIST, or a `DigitSource`; see `load_digits`.

    Raises
    ------
    InputError
        An argument is out of its range, or the digit set cannot be read, or does not fit the layout.
    """

    def __init__(
        self,
        spec: LayoutSpec | str | Path,
        split: Split,
        seed: int = 0,
        length: int | None = None,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        target: Target = "number",
        digits: Digits = None,
    ) -> None:
        self.spec = spec = as_spec(spec)
        self.split = split
        self.seed = whole("seed", seed, 0, MAX_SEED)
        self._source = as_source(digits)
        self._own: DigitBank | None = None
        check_split(spec, split)
        self._digest = load_digits(split, self._source).digest
        length = whole("length", self._usual_length() if length is None else length, 0, MAX_INDEX)
        form = SampleSchema.of(spec)
        draw(spec, split, 0, 0, self.seed, self._bank)  # reject a layout that does not fit the digits' classes
        super().__init__(length, self._bank.classes, form, transform, target_transform, target)

    def __repr__(self) -> str:
        return f"ComposedDigits({self.spec.name!r}, {self.split!r}, seed={self.seed}): {self._size}"

    def _usual_length(self) -> int:
        if self.split in ("train", "fit"):
            return self.spec.train
        if self.split in ("test", "validation"):
            return self.spec.test
        return unseen_count(self.spec, self.split, self.seed, self._bank.classes, self.spec.test)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_own": None}

    @property
    def _bank(self) -> DigitBank:
        """The source digits: the same for the dataset's life, also if files change; they are not pickled.

        Raises
        ------
        BuildError
            In another process, if the digit files have changed since the dataset was made.
        """
        if self._own is None:
            bank = load_digits(self.split, self._source)
            if bank.digest != self._digest:
                raise BuildError(f"{self._source}: the digit files have changed since this dataset was made from them")
            self._own = bank
        return self._own

    def _read(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        if (np.diff(positions) == 1).all() and len(positions):
            columns = self._run(int(positions[0]), int(positions[-1]) + 1)
        else:
            columns = _columns(compose_at(self._bank, self.spec, self.split, self.seed, positions))
        return columns.images, self._targets(columns)

    def _run(self, start: int, stop: int) -> Columns:
        return _columns(compose(self._bank, self.spec, self.split, self.seed, start, stop))

    def batches(self, batch_size: int, threads: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the split in order; threads make batches ahead: the fastest way to new samples.

        Transforms are not applied.

        Parameters
        ----------
        batch_size
            At least 1; the last batch may be smaller.
        threads
            Number of threads that render; None means one per core.

        Yields
        ------
        images : uint8 (batch_size, C, H, W)
        targets : (batch_size, ...), as of `as_tensors`

        Raises
        ------
        InputError
            An argument is no whole number, or less than 1.
        """
        batch_size = whole("batch_size", batch_size, 1)
        threads = cores() if threads is None else whole("threads", threads, 1)
        return self._batches(batch_size, threads)

    def _batches(self, batch_size: int, threads: int) -> Iterator[tuple[Tensor, Tensor]]:
        for columns in self._ahead(batch_size * max(1, _CHUNK // batch_size), threads):
            images = as_batch(columns.images)
            targets = self._as_target(self._targets(columns))
            yield from zip(torch.split(images, batch_size), torch.split(targets, batch_size), strict=True)

    def _pieces(self) -> Iterator[Columns]:
        return self._ahead(_CHUNK, cores())

    def _ahead(self, chunk: int, threads: int) -> Iterator[Columns]:
        """All samples in order, a few thousand at a time; two pieces per thread are made ahead."""

        def piece(start: int) -> Columns:
            return self._run(start, min(start + chunk, len(self)))

        with (
            ThreadPoolExecutor(threads) as pool,
            closing(in_order(pool, piece, range(0, len(self), chunk), 2 * threads)) as pieces,
        ):
            yield from pieces
