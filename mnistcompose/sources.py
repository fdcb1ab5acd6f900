"""Hashes of this project's source files: what code made something, or would make it."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from . import __version__

_HERE = Path(__file__).parent
_ELSEWHERE = {"cli", "specs"}  # in a checkout they are not in the package's folder; no worker runs them


def hash_sources(files: Iterable[Path]) -> str:
    """Hash Python files of this project by name and content; line ends do not count.

    Returns
    -------
    str
        SHA-256, in hex.
    """
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(_HERE.parent).as_posix(), path) for path in files):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def sources_of(*folders: str) -> list[Path]:
    """List the Python files of folders of `mnistcompose`."""
    return [path for folder in folders for path in (_HERE / folder).glob("*.py")]


@cache
def code_digest() -> str:
    """Hash all code that can run on a worker.

    Returns
    -------
    str
        The first 16 hexadecimal digits of its SHA-256.
    """
    own = [path for path in _HERE.rglob("*.py") if path.relative_to(_HERE).parts[0] not in _ELSEWHERE]
    learner = (_HERE.parent / "dcl").rglob("*.py")
    return hash_sources([*own, *learner])[:16]


def code_version() -> str:
    """Version of this project, and a hash of its code, as in '0.1.0 (code 0f9a3c51)'."""
    return f"{__version__} (code {code_digest()[:8]})"
