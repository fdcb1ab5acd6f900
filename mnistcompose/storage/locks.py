"""Lock files that are released when the process that holds them ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import BuildError

_held: set[int] = set()  # descriptors of held locks


def _let_go() -> None:
    """Close the locks that a forked worker inherits; otherwise it would hold them after its parent dies."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


class LockedError(BuildError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file while the context lasts; it is released when the process ends, in any way.

    Raises
    ------
    LockedError
        Another process holds the lock, and `wait` is false; the message is `busy`.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(busy) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)  # its last owner removed the file between open and flock
    _held.add(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _held.discard(descriptor)
        os.close(descriptor)
