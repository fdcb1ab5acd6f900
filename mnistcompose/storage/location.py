"""Where a dataset is: a folder of this machine, or any place that fsspec reaches, with the same methods.

A folder is a `pathlib.Path`; from a URL such as `s3://bucket/data`, universal_pathlib makes a path that acts like one.
"""

import os
from pathlib import Path
from typing import cast

from ..arguments import here
from ..errors import InputError

_READ_ONLY = {"http", "https", "github", "zip", "tar", "libarchive", "data"}


def locate(where: str | Path) -> Path:
    """Make a path from a folder's name or a URL.

    Returns
    -------
    Path
        For a URL a `upath.UPath`, which is not a `Path` but has its methods.

    Raises
    ------
    InputError
        The URL's scheme is unknown, its package is not installed, the archive that it names is missing, or a file's URL
        names another machine.
    """
    if hasattr(where, "fs") and not isinstance(where, Path):
        return cast(Path, where)  # a UPath
    if not isinstance(where, str) or "://" not in where:
        return here(where)
    scheme, _, rest = where.partition("://")
    if scheme.lower() == "file":
        host, slash, place = rest.partition("/")
        if host.lower() not in ("", "localhost") or not slash:
            raise InputError(f"{where}: a file's URL is file:///folder or file://localhost/folder, on this machine")
        from urllib.request import url2pathname  # only where used: slow to import, with all of http and ssl

        return here(url2pathname(slash + place))
    try:
        from upath import UPath

        path = UPath(where, use_listings_cache=False)  # files that other machines write must be visible
        path.fs  # noqa: B018 -- fails if the package that reads the scheme is missing
    except ImportError as error:
        raise InputError(f"{where}: {error}; s3:// needs: pip install universal-pathlib s3fs") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{where}: {' '.join(str(error).split())}") from None
    return cast(Path, path)


def check_writable(path: Path) -> None:
    """Reject a place that can only be read.

    Raises
    ------
    InputError
        The URL's scheme has no way of writing.
    """
    if not is_local(path) and path.protocol in _READ_ONLY:  # type: ignore[attr-defined]
        raise InputError(f"{path}: {path.protocol}:// can only be read; give a folder, or a URL as s3://bucket/folder")  # type: ignore[attr-defined]


def is_local(path: Path) -> bool:
    """Whether a path is in this machine's file system."""
    return isinstance(path, Path)


def is_read_only(folder: Path) -> bool:
    """Whether a local folder is there, and this process cannot make files in it."""
    return is_local(folder) and folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)


def listing(folder: Path) -> list[Path]:
    """Entries of a folder; in a store, a folder exists only if it has entries."""
    return list(folder.iterdir()) if is_local(folder) or folder.exists() else []


def rename(source: Path, target: Path) -> None:
    """Rename a finished file, replacing any file of that name; in a store, the server copies it."""
    if is_local(source):
        source.replace(target)
    else:
        target.fs.mv(source.path, target.path)  # type: ignore[attr-defined]
