"""Where a dataset lies: a folder of this machine, or any place that fsspec reaches, with the same methods.

A folder is a `pathlib.Path`; of a URL such as `s3://bucket/data` universal_pathlib makes a path that behaves like one.
"""

import os
from pathlib import Path
from typing import cast

from platformdirs import user_cache_path

from ..errors import InputError


def locate(where: str | Path) -> Path:
    """Make a path of a folder's name or of a URL.

    Returns
    -------
    Path
        Of a URL a `upath.UPath`, which is no `Path`, but has its methods.

    Raises
    ------
    InputError
        The URL's scheme is unknown, or what reads it is not installed.
    """
    if not isinstance(where, str) or "://" not in where:
        return Path(where) if isinstance(where, str) else where
    scheme, _, rest = where.partition("://")
    if scheme == "file":
        return Path(rest)
    try:
        from upath import UPath

        path = UPath(where, use_listings_cache=False)  # what other machines write must be seen
        path.fs  # noqa: B018 -- says whether what reads the scheme is there
    except ImportError as error:
        raise InputError(f"{where}: {error}; pip install universal-pathlib s3fs brings what s3:// needs") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return cast(Path, path)


def is_local(path: Path) -> bool:
    """Whether a path is one of this machine's file system."""
    return isinstance(path, Path)


def listing(folder: Path) -> list[Path]:
    """What is in a folder; a store's folder is there when something is in it."""
    return list(folder.iterdir()) if is_local(folder) or folder.exists() else []


def rename(source: Path, target: Path) -> None:
    """Give a finished file its name, in place of what bore it; in a store this is a copy, made on the server."""
    if is_local(source):
        source.replace(target)
    else:
        target.fs.mv(source.path, target.path)  # type: ignore[attr-defined]


def cache_folder() -> Path:
    """Where copies of remote files are kept: MNISTCOMPOSE_CACHE, or a folder in the user's cache."""
    if given := os.environ.get("MNISTCOMPOSE_CACHE"):
        return Path(given)
    return user_cache_path("mnistcompose") / "shards"
