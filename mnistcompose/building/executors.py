"""Where tasks run: on threads of this process, or on any `concurrent.futures.Executor`."""

import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

from ..errors import BuildError
from ..storage.files import failing
from ..storage.location import is_local
from ..storage.manifest import ShardEntry
from .interruptible import interruptible
from .notes import JOURNAL
from .worker import Task, make_shard

_AHEAD = 64  # least number of tasks submitted to an executor, so that workers that join it find some

Progress = Callable[[int], None]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tell(progress: Progress | None, entry: ShardEntry) -> None:
    """Report a shard's images as done, if there is a callback."""
    if progress:
        progress(entry.count)


def make_all(
    root: Path, tasks: list[Task], executor: Executor | None, workers: int, progress: Progress | None
) -> dict[str, ShardEntry]:
    """Run the tasks, and record each finished one in the journal; return the entries by name."""
    made: dict[str, ShardEntry] = {}
    if not tasks:
        return made
    path = root / JOURNAL
    with failing("write", path), path.open("ab") if is_local(path) else nullcontext() as journal:

        def note(entry: ShardEntry) -> None:
            if journal:
                journal.write(b"\n" + entry.model_dump_json().encode() + b"\n")  # also ends a line that was cut off
                journal.flush()  # a killed process loses nothing; after a power cut, some shards may be made again
            made[entry.name] = entry
            tell(progress, entry)

        def run(stopped: Callable[[], bool]) -> None:
            with nullcontext(executor) if executor else ThreadPoolExecutor(workers) as pool:
                _run(pool, tasks, max(2 * workers, _AHEAD if executor else 0), note, stopped)

        interruptible(run)
    return made


def _run(
    pool: Executor,
    tasks: list[Task],
    ahead: int,
    note: Callable[[ShardEntry], None],
    stopped: Callable[[], bool],
) -> None:
    """Keep a few tasks submitted.

    When it returns or raises, all finished shards are recorded, and no task of a local pool runs. A worker of a cluster
    may still finish its shard.
    """
    waiting = iter(tasks)
    running: set[Future[ShardEntry]] = set()
    try:
        while not stopped():
            for task in islice(waiting, ahead - len(running)):
                running.add(pool.submit(make_shard, task))
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                running.remove(future)
                note(future.result())
    except BrokenExecutor as error:
        raise BuildError(f"a worker died ({error}); run the same command again to resume") from None
    finally:
        for future in running:
            future.cancel()
        for future in wait(running).done:
            if not future.cancelled() and not future.exception():
                note(future.result())
