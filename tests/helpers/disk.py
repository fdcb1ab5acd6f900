"""A disk that misbehaves."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """A disk that is full, as far as one file can tell."""
    resource = pytest.importorskip("resource", reason="this system limits no file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that can only be read, also by root, whom permissions do not bind."""
    mode = folder.stat().st_mode
    folder.chmod(0o555)
    mounted = False
    try:
        if os.access(folder, os.W_OK):
            mounted = not subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode
            if (
                not mounted
                or subprocess.run(["mount", "-o", "remount,bind,ro", folder], capture_output=True).returncode
            ):
                pytest.skip("nothing makes a folder read-only for this user")
        yield
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
        folder.chmod(mode)
