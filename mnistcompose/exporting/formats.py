"""Other forms of a built dataset, a module each: what it can hold, how it is written, and how it is read.

A format is a module with the attributes of `Format`.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from ..errors import InputError
from ..storage.schema import Shard, SplitName
from .source import Source

FormatName = Literal["idx", "webdataset", "parquet", "png", "npz", "coco"]


class Format(Protocol):
    """What a format's module has.

    Attributes
    ----------
    DATA
        Pattern of a split's files for Hugging Face's `load_dataset`, with `{split}`; None where it can't read them.
    TASKS
        Hugging Face's names of the tasks that the format is for.
    """

    @property
    def DATA(self) -> str | None: ...  # noqa: D102, N802

    @property
    def TASKS(self) -> tuple[str, ...]: ...  # noqa: D102, N802

    def check(self, source: Source) -> None:
        """Raise `InputError` where the format cannot hold such a dataset, or the package that writes it is missing."""

    def sample_bytes(self, source: Source) -> int:
        """Bytes that a sample needs at least on the disk, while it is written."""

    def write(self, folder: Path, source: Source, split: SplitName, shards: Iterator[Shard]) -> None:
        """Write a split into a folder; every shard is in memory once, and one at a time."""

    def usage(self, source: Source) -> str:
        """Markdown that says what is in the folder, and how it is read."""

    def record_set(self, source: Source, split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Croissant's sets of files, and fields, of a split's records; both empty where it can't read them."""


def load_format(name: str) -> Format:
    """Import a format's module.

    Raises
    ------
    InputError
        There is no such format.
    """
    if name not in get_args(FormatName):
        raise InputError(f"format = {name!r}: allowed are {', '.join(get_args(FormatName))}")
    return cast(Format, import_module(f".{name}", __package__))
