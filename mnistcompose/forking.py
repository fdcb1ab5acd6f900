"""Forked processes: a child has one thread only, and inherits the locks that the parent's other threads held."""

import os
from collections.abc import Callable
from threading import Lock
from types import TracebackType


def at_fork(
    *,
    before: Callable[[], object] = lambda: None,
    in_parent: Callable[[], object] = lambda: None,
    in_child: Callable[[], object] = lambda: None,
) -> None:
    """Call functions at each fork of this process, where a system has forks."""
    if register := getattr(os, "register_at_fork", None):
        register(before=before, after_in_parent=in_parent, after_in_child=in_child)


class ThreadLock:
    """A lock among the threads of a process; a forked child finds it open, as the thread that held it is not there.

    What it guards must be consistent at any time, or be made again in the child.
    """

    def __init__(self) -> None:
        self._open()
        at_fork(in_child=self._open)

    def _open(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
