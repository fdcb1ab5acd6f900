"""Where a dataset is: a folder of this machine, or any place that fsspec reaches, with the same methods.

A folder is a `pathlib.Path`; from a URL such as `s3://bucket/data`, universal_pathlib makes a path that acts like one.
"""

import os
from pathlib import Path
from typing import cast

from platformdirs import user_cache_path

from ..errors import InputError


def locate(where: str | Path) -> Path:
    """Make a path from a folder's name or a URL.

    Returns
    -------
    Path
        For a URL a `upath.UPath`, which is not a `Path` but has its methods.

    Raises
    ------
    InputError
        The URL's scheme is unknown, or the package that reads it is not installed.
    """
    if not isinstance(where, str) or "://" not in where:
        return Path(where) if isinstance(where, str) else where
    scheme, _, rest = where.partition("://")
    if scheme == "file":
        return Path(rest)
    try:
        from upath import UPath

        path = UPath(where, use_listings_cache=False)  # files that other machines write must be visible
        path.fs  # noqa: B018 -- fails if the package that reads the scheme is missing
    except ImportError as error:
        raise InputError(f"{where}: {error}; s3:// needs: pip install universal-pathlib s3fs") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return cast(Path, path)


def is_local(path: Path) -> bool:
    """Whether a path is in this machine's file system."""
    return isinstance(path, Path)


def listing(folder: Path) -> list[Path]:
    """Entries of a folder; in a store, a folder exists only if it has entries."""
    return list(folder.iterdir()) if is_local(folder) or folder.exists() else []


def rename(source: Path, target: Path) -> None:
    """Rename a finished file, replacing any file of that name; in a store, the server copies it."""
    if is_local(source):
        source.replace(target)
    else:
        target.fs.mv(source.path, target.path)  # type: ignore[attr-defined]


def cache_folder() -> Path:
    """Folder for copies of remote files: MNISTCOMPOSE_CACHE, or a folder in the user's cache."""
    if given := os.environ.get("MNISTCOMPOSE_CACHE"):
        return Path(given)
    return user_cache_path("mnistcompose") / "shards"
