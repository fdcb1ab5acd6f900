"""Files that are complete when they appear under their name, and errors that name the path."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_IMODE
from uuid import uuid4

from ..errors import BuildError
from .location import is_local, rename

Pieces = list[memoryview]


@contextmanager
def failing(verb: str, path: Path) -> Iterator[None]:
    """Turn an error of the operating system or of an object store into one line that names the path.

    Raises
    ------
    BuildError
        In place of that error.
    """
    try:
        yield
    except NotImplementedError:
        if is_local(path):
            raise
        raise BuildError(f"{path}: cannot {verb}: there is no way to do that there") from None
    except OSError as error:
        raise BuildError(f"{path}: cannot {verb}: {error.strerror or ' '.join(str(error).split())}") from None
    except Exception as error:
        if is_local(path) or type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise BuildError(f"{path}: cannot {verb}: {' '.join(str(error).split())}") from None


_CLIENTS = {"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure"}  # packages whose errors are not OSErrors


def write_file(path: Path, content: bytes | Pieces) -> None:
    """Write a file that appears under its name only when it is complete, on the disk or in the store.

    A file that it replaces passes on its permissions.

    Raises
    ------
    BuildError
        The file cannot be written; no part of it is left.
    """
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    pieces = [content] if isinstance(content, bytes) else content
    with failing("write", path):
        try:
            if is_local(path):
                with temporary.open("xb") as file:
                    if path.exists():
                        temporary.chmod(S_IMODE(path.stat().st_mode))
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
            else:
                temporary.write_bytes(b"".join(pieces))
            rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def write_output(path: Path, content: bytes) -> None:
    """Write a file that the user named, in a folder that is made if necessary; a symbolic link stays one.

    Raises
    ------
    BuildError
        The file cannot be written; no part of it is left.
    """
    with failing("make the folder", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path.resolve(), content)


def create_file(path: Path, content: bytes) -> None:
    """Write a small file unless there is one of that name.

    If two processes write at once, a store with conditional writes keeps the first file, and other stores the last.

    Raises
    ------
    BuildError
        The file cannot be written.
    """
    if path.exists():
        return
    if not is_local(path):
        with failing("write", path), suppress(TypeError, NotImplementedError):  # stores that know no such mode
            with suppress(FileExistsError):
                path.fs.pipe_file(path.path, content, mode="create")  # type: ignore[attr-defined]
            return
    write_file(path, content)


def sync_folder(folder: Path) -> None:
    """Flush a local folder's entries to the disk, where the system can do that: not on Windows, nor on all networks."""
    if not is_local(folder) or not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def sync_disks() -> None:
    """Flush everything to the disks, where the system can do that: not on Windows."""
    if hasattr(os, "sync"):
        os.sync()
