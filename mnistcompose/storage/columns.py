"""A built split as NumPy arrays, without torch: each column by name, or samples by index."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..arguments import flag, positions
from ..errors import InputError
from .location import locate
from .manifest import read_manifest
from .open_shards import OpenShards
from .schema import SplitName, column_type


class Column:
    """One column of a split, indexed like a NumPy array, but read from the shards when it is indexed.

    What an index returns is a copy; the files never change.

    Attributes
    ----------
    name
        As in the shards: 'images', 'labels', 'digits', ...
    shape, dtype
        As of an array.
    """

    def __init__(self, shards: OpenShards, name: str) -> None:
        kind, sample = column_type(name, shards.form)
        self._shards = shards
        self.name = name
        self.shape: tuple[int, ...] = (shards.count, *sample)
        self.dtype: np.dtype[Any] = np.dtype(kind)

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {self.shape}, {self.dtype})"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Read samples: an index, a slice, several indices, a mask or `...`; after a comma, as NumPy's indices go on.

        Raises
        ------
        IndexError
            The index is out of range.
        TypeError
            It is not an index.
        BuildError
            A file is missing or damaged.
        """
        index = index if isinstance(index, tuple) else (index,)
        first, *rest = (slice(None), *index) if not index or index[0] is ... else index
        places = positions(first, len(self))
        found = self._shards.gather(places.reshape(-1), (self.name,))[self.name]
        if not rest:
            return found if places.ndim else found[0]
        if isinstance(first, slice):
            return found[(slice(None), *rest)]
        return found[(np.arange(len(found)).reshape(places.shape), *rest)]  # several lists of indices go together

    def __eq__(self, other: object) -> NDArray[np.bool_]:  # type: ignore[override]
        """Compare each element, as an array does; reads the whole column."""
        return np.equal(np.asarray(self), other)  # type: ignore[call-overload, no-any-return]

    def __ne__(self, other: object) -> NDArray[np.bool_]:  # type: ignore[override]
        """Compare each element, as an array does; reads the whole column."""
        return np.not_equal(np.asarray(self), other)  # type: ignore[call-overload, no-any-return]

    __hash__ = object.__hash__

    def __iter__(self) -> Iterator[Any]:
        for number in range(len(self._shards)):
            yield from np.array(self._shards.load(number)[self.name])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole column."""
        if copy is False:
            raise ValueError(f"{self.name} is in files, so an array of it is a copy")
        return np.asarray(self[:], dtype)


def arrays(root: str | Path, split: SplitName, *, verify: bool = True) -> dict[str, Column]:
    """Open the columns of a split: images, labels, digits, the factors and, where the dataset has them, masks.

    Needs no torch. Nothing is read before a column is indexed; `numpy.asarray(column)` reads all of it. Shapes, types
    and units are those of a shard; every shard is checked against the manifest.

    Parameters
    ----------
    root
        The dataset's folder, or a URL that fsspec knows.
    verify
        Check the SHA-256 of all files first.

    Raises
    ------
    InputError
        The folder holds no finished dataset, or no such split.
    BuildError
        A file is missing or damaged.
    """
    shards = _opened(root, split, None, verify)
    return {name: Column(shards, name) for name in shards.form.columns}


class ArraySource:
    """A split's samples by index, for `grain` and other loaders without torch; it can be pickled.

    Parameters
    ----------
    root
        The dataset's folder, or a URL that fsspec knows.
    split
        'train' or 'test'; 'test_unseen', if the layout holds numbers out.
    columns
        What a sample holds: one name or several, as in `arrays`.
    verify
        Check the SHA-256 of all files first.

    Raises
    ------
    InputError
        The folder holds no finished dataset, no such split, or no such column.
    BuildError
        A file is missing or damaged.
    """

    def __init__(
        self,
        root: str | Path,
        split: SplitName,
        columns: str | Iterable[str] = ("images", "labels"),
        *,
        verify: bool = True,
    ) -> None:
        self.columns = (columns,) if isinstance(columns, str) else tuple(columns)
        self._shards = _opened(root, split, self.columns, verify)
        self._text = f"ArraySource({str(root)!r}, {split!r}, {self.columns})"

    def __repr__(self) -> str:
        return self._text

    def __len__(self) -> int:
        return self._shards.count

    def __getitem__(self, index: slice | ArrayLike) -> dict[str, Any]:
        """Return a sample, or for a slice, several indices or a mask a batch: an array for each column's name.

        Raises
        ------
        IndexError
            The index is out of range.
        TypeError
            It is not an index.
        BuildError
            A file is missing or damaged.
        """
        places = positions(index, len(self))
        found = self._shards.gather(places.reshape(-1), self.columns)
        return {name: array[0] if places.ndim == 0 else array for name, array in found.items()}


def _opened(root: str | Path, split: SplitName, columns: tuple[str, ...] | None, verify: bool) -> OpenShards:
    folder = locate(root).absolute()
    manifest = read_manifest(folder)
    known = manifest.form.columns
    if unknown := [name for name in columns or () if name not in known]:
        raise InputError(f"{root}: no column {unknown[0]!r}; there are {', '.join(known)}")
    shards = OpenShards(folder, manifest, split, known if columns is None else columns)
    if flag("verify", verify):
        shards.verify()
    return shards
