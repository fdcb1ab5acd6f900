"""The files of a digit set, by the names that people have for them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import InputError

Part = Literal["train", "test"]


class Pair(NamedTuple):
    """The files of one part of a digit set."""

    images: Path
    labels: Path


@dataclass(frozen=True)
class SetFiles:
    """The files of a digit set.

    Attributes
    ----------
    folder
        Where they are.
    parts
        The files of each part that is there.
    missing
        For a part that is not there, the name under which its images were looked for, and what is near to it.
    transposed
        Whether rows and columns of the images are exchanged.
    table
        Whether labels are a table whose first column is the label.
    """

    folder: Path
    parts: dict[Part, Pair]
    missing: dict[Part, str]
    transposed: bool
    table: bool


@dataclass(frozen=True)
class _Family:
    """Names of the files of a digit set; `{part}` is one of the names of a part, the usual one first."""

    images: str
    labels: str
    parts: dict[Part, tuple[str, ...]]
    transposed: bool = False
    table: bool = False


_PARTS: dict[Part, tuple[str, ...]] = {"train": ("train",), "test": ("test",)}
_FAMILIES = {
    "MNIST": _Family(
        "{part}-images-idx3-ubyte", "{part}-labels-idx1-ubyte", {"train": ("train",), "test": ("t10k", "test")}
    ),
    "qmnist": _Family("qmnist-{part}-images-idx3-ubyte", "qmnist-{part}-labels-idx2-int", _PARTS, table=True),
} | {
    name: _Family(f"{name}-{{part}}-images-idx3-ubyte", f"{name}-{{part}}-labels-idx1-ubyte", _PARTS, transposed=True)
    for name in (f"emnist-{kind}" for kind in ("balanced", "byclass", "bymerge", "digits", "letters", "mnist"))
}
_KNOWN = {
    stem.format(part=name)
    for family in _FAMILIES.values()
    for stem in (family.images, family.labels)
    for names in family.parts.values()
    for name in names
}
_SUFFIXES = ("", ".gz", ".xz")
_PLAUSIBLE = re.compile(r"idx|ubyte", re.IGNORECASE)

_Files = dict[str, Path]  # by the usual spelling of their names


def find_set(folder: Path) -> SetFiles:
    """Find the digit set that the user's path refers to.

    It is in the folder itself, in its `raw/`, in a folder below it, or in the `raw/` of one; the first of these places
    that holds a set counts.

    Raises
    ------
    InputError
        There is no digit set, there are several in one place, or images lack their labels.
    """
    name = None
    if not folder.exists() and folder.name in _FAMILIES and folder.parent.is_dir():
        folder, name = folder.parent, folder.name
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder of digit files")
    try:
        levels = [[folder], [folder / "raw"], sorted(folder.glob("*/")), sorted(folder.glob("*/raw/"))]
        seen: _Files = {}
        for level in levels:
            found = []
            for place in level:
                files = _files(place, top=place == folder)
                found += [(place, each, files) for each in _sets_in(files) if name in (None, each)]
                seen = files | seen
            if found:
                return _only(folder, found)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}") from None
    raise InputError(
        f"{folder}: no digit files; looked for train-images-idx3-ubyte, qmnist-train-images-idx3-ubyte and "
        "emnist-digits-train-images-idx3-ubyte (plain, .gz or .xz) in it, in raw/, and in NAME/ and NAME/raw/"
        + _near("train-images-idx3-ubyte", seen)
    )


def _only(folder: Path, found: list[tuple[Path, str, _Files]]) -> SetFiles:
    """The files of the only set in a place."""
    places = [place for place, _, _ in found]
    if len(found) > 1:
        choices = (str(place if places.count(place) == 1 else place / name) for place, name, _ in found)
        raise InputError(f"{folder}: several digit sets; give one of {', '.join(sorted(choices))}")
    place, name, files = found[0]
    family = _FAMILIES[name]
    parts: dict[Part, Pair] = {}
    missing: dict[Part, str] = {}
    for part in family.parts:
        images, labels = _path(files, family, "images", part), _path(files, family, "labels", part)
        if images and labels:
            parts[part] = Pair(images, labels)
            continue
        stem = (family.images if not images else family.labels).format(part=family.parts[part][0])
        near = _near(stem, files)
        if images or labels:
            raise InputError(f"{place / stem}: missing (also as .gz and .xz){near}; images and labels come in pairs")
        missing[part] = f"{stem} is missing (also as .gz and .xz){near}"
    return SetFiles(place, parts, missing, family.transposed, family.table)


def _files(folder: Path, top: bool) -> _Files:
    """Files of a folder; the least compressed one if there are several of a name."""
    try:
        entries = list(_entries(folder))
    except OSError:
        if top:
            raise
        return {}  # not the folder that was given
    entries.sort(key=lambda path: (_suffix(path), len(path.parts), path.name), reverse=True)
    return {_stem(path): path for path in entries}


def _entries(folder: Path) -> Iterator[Path]:
    """Files of a folder, and of those folders in it that have the name of their file, as in Kaggle's downloads."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if not _PLAUSIBLE.search(entry.name):
            continue  # a folder may hold a million other files
        if entry.is_file():
            yield entry
        elif _stem(entry) in _KNOWN and entry.is_dir():
            yield from (each for each in entry.iterdir() if each.is_file() and _stem(each) == _stem(entry))


def _suffix(path: Path) -> int:
    suffix = path.suffix.lower()
    return _SUFFIXES.index(suffix) if suffix in _SUFFIXES else 0


def _stem(path: Path) -> str:
    """Usual spelling of a file's name, without the suffix of its compression."""
    name = path.name.lower()
    return re.sub(r"[\s._]+", "-", name.removesuffix(_SUFFIXES[_suffix(path)]))


def _path(files: _Files, family: _Family, what: Literal["images", "labels"], part: Part) -> Path | None:
    stem = getattr(family, what)
    return next((path for name in family.parts[part] if (path := files.get(stem.format(part=name)))), None)


def _sets_in(files: _Files) -> Iterator[str]:
    """Family of every digit set of which at least one file is there."""
    for name, family in _FAMILIES.items():
        if any(_path(files, family, what, part) for what in ("images", "labels") for part in family.parts):
            yield name


def _near(stem: str, files: _Files) -> str:
    """Words on a file whose name is almost the wanted one."""
    close = get_close_matches(stem, [name for name in files if name not in _KNOWN], n=1, cutoff=0.75)
    return f"; {files[close[0]].name!r} is there: unpack or rename it" if close else ""
