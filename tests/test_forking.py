"""A forked child does not wait for a thread that only its parent has."""

import ast
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

from mnistcompose import build, load_digits
from mnistcompose.digits import bank
from mnistcompose.rendering.compiled import inlined
from mnistcompose.storage import open_shards
from mnistcompose.storage.manifest import read_manifest
from mnistcompose.storage.open_shards import OpenShards

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@contextmanager
def held(lock: AbstractContextManager[Any], seconds: float) -> Iterator[None]:
    """Another thread holds a lock, at most for some seconds."""
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            begun.set()
            ended.wait(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def forked(work: Callable[[], object], seconds: float = 30) -> int | None:
    """Exit status of a child that does this; None if it hangs, and is killed."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _ in range(round(seconds * 10)):
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        threading.Event().wait(0.1)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None


def test_digits_are_read_in_a_child() -> None:
    with held(bank._lock, 60):
        assert forked(lambda: load_digits("train")) == 0


def test_shards_are_read_in_a_child(tmp_path: Path) -> None:
    build("MNIST-II-01", tmp_path / "x", train=1000, test=0)
    shards = OpenShards(tmp_path / "x", read_manifest(tmp_path / "x"), "train", ["images"])
    with held(open_shards._lock, 60):
        assert forked(lambda: shards[0]) == 0


def test_a_fork_waits_for_a_thread_that_compiles() -> None:
    def compile_it() -> None:
        assert inlined(lambda x: x + 1)(np.float64(1)) == 2

    with held(global_compiler_lock, 1):
        assert forked(compile_it) == 0


@pytest.mark.parametrize("package", ["mnistcompose", "dcl"])
def test_all_locks_of_threads_are_open_in_a_child(package: str) -> None:
    kinds = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"}
    for path in (ROOT / package).rglob("*.py"):
        if path.name != "forking.py":
            names = {node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
            called = {getattr(name, "id", getattr(name, "attr", "")) for name in names}
            assert not called & kinds, f"{path}: use mnistcompose.forking.ThreadLock"
