"""Lock files that are released when the process that holds them ends."""

import errno
import logging
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from ..errors import BuildError
from .files import failing

PATIENCE = 5.0  # seconds; a shorter wait is not reported
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}  # NFS without lockd, Lustre, FUSE
_OWN = {"mnistcompose", "dcl", "contextlib"}  # whose lines tell a user nothing
SOFT = ".soft"  # added to the name where the file system has no locks


class LockedError(BuildError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file while the context lasts; it is released when the process ends, in any way.

    Where the file system has no locks, a warning says so, and the lock is a file that exists while it is held. If its
    process dies, the next one on the same machine removes it; on another machine, the user has to.

    Raises
    ------
    LockedError
        Another process holds the lock, and `wait` is false; the message is `busy` and the process, if it is known.
    BuildError
        The lock file cannot be made.
    """
    with failing("write", path):
        lock = _acquire(path, busy, wait)
    try:
        yield
    finally:
        if not isinstance(lock, SoftFileLock):
            with suppress(OSError):  # Windows keeps a file that is open
                path.unlink()  # while it is held: who opens it now finds that it is not the file of that name
        lock.release()


def _acquire(path: Path, busy: str, wait: bool) -> BaseFileLock:
    lock: BaseFileLock = FileLock(path, fallback_to_soft=False)
    try:
        if not isinstance(lock, SoftFileLock):
            _take(lock, wait, lambda: f"{busy}{_holder(path)}")
            with suppress(OSError):  # only tells who holds it
                path.write_text(f"{os.getpid()}\n{platform.node()}\n")
            return lock
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        path.unlink(missing_ok=True)
    soft = path.with_name(path.name + SOFT)
    warnings.warn(
        f"{path.parent}: the file system has no locks; {soft.name} takes their place, and only this machine can tell "
        "whether its process still runs",
        stacklevel=_level_of_user(),
    )
    lock = SoftFileLock(soft)
    _take(lock, wait, lambda: f"{busy}{_holder(soft)}; if that process has ended, remove {soft}")
    return lock


def _take(lock: BaseFileLock, wait: bool, busy: Callable[[], str]) -> None:
    """Take a lock; a long wait is told, once: the process that is waited for may never end."""
    try:
        lock.acquire(timeout=PATIENCE if wait else 0)
    except Timeout:
        if not wait:
            raise LockedError(busy()) from None
        tell_waiting(busy())
        lock.acquire(timeout=-1)


def tell_waiting(reason: str) -> None:
    """Tell the user why nothing happens."""
    logging.getLogger(__name__).warning("%s; waiting for it", reason)


def _level_of_user() -> int:
    """Level for `warnings.warn` in the calling function: the innermost line that is not this project's own."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in _OWN:
        frame, level = frame.f_back, level + 1
    return level


def _holder(path: Path) -> str:
    """Process and machine that a lock file names, in words."""
    try:
        process, machine, *_ = path.read_text().splitlines()
    except (OSError, ValueError):
        return ""
    return f" (process {process} on {machine})"
