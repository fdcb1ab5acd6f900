"""Export formats, one module each: what a format can hold, how it is written, and how it is read.

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
    """The interface of a format's module.

    Attributes
    ----------
    DATA
        Pattern of a split's files for Hugging Face's `load_dataset`, with `{split}`; None if it cannot read them.
    TASKS
        Hugging Face's names of the tasks that the format is for.
    ENCODES
        Whether `encode` keeps a core busy with Python, so that several shards at once need several processes.
    """

    @property
    def DATA(self) -> str | None: ...  # noqa: D102, N802

    @property
    def TASKS(self) -> tuple[str, ...]: ...  # noqa: D102, N802

    @property
    def ENCODES(self) -> bool: ...  # noqa: D102, N802

    def check(self, source: Source) -> None:
        """Raise `InputError` if the format cannot hold the dataset, or the package that writes it is missing."""

    def sample_bytes(self, source: Source) -> int:
        """Least number of bytes per sample that writing needs on the disk."""

    def encode(self, folder: Path, shard: Shard) -> Any:
        """Write the files of single samples into a folder, and return what `write` needs of the shard.

        It may run in another process, at the same time as `write` and for several shards at once. The result can be
        pickled.
        """

    def write(self, folder: Path, source: Source, split: SplitName, parts: Iterator[Any]) -> None:
        """Write a split into a folder, from the encoded shards in order; they are read once, one at a time."""

    def usage(self, source: Source) -> str:
        """Markdown text: what is in the folder, and how to read it."""

    def record_set(self, source: Source, split: SplitName) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Croissant's sets of files, and fields, of a split's records; both are empty if it cannot read them."""


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
