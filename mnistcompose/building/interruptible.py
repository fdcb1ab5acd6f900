"""Work on executors that a signal cannot leave in a broken state."""

from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def interruptible(work: Callable[[Callable[[], bool]], T]) -> T:
    """Do the work in a thread of its own, and return what it returns or raise what it raises.

    A signal's exception (Ctrl-C) is raised in the main thread at any point. Inside an executor's locks, it would leave
    a lock held or released twice, and other threads would fail or wait for ever. So the work runs in a thread that
    receives no signals. The main thread waits on a queue, which can be interrupted, and then for the work to end.

    Parameters
    ----------
    work : callable
        Called with a function that returns whether the work should stop.
    """
    begun, ended = allocate_lock(), SimpleQueue[None]()
    outcome: list[tuple[T | None, BaseException | None]] = []
    stopped: list[bool] = []

    def run() -> None:
        if not begun.acquire(blocking=False):
            return  # interrupted before it began
        try:
            outcome.append((work(lambda: bool(stopped)), None))
        except BaseException as error:
            outcome.append((None, error))
        ended.put(None)

    try:
        start_new_thread(run, ())  # Thread.start would wait on a lock
        ended.get()
    except BaseException:  # at any point, even before the thread runs or after it has ended
        stopped.append(True)
        if not begun.acquire(blocking=False) and not outcome:
            ended.get()
        raise
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def in_order(pool: Executor, function: Callable[[S], T], items: Iterable[S], ahead: int) -> Generator[T]:
    """Yield the results in the order of the items; up to `ahead` of them are computed while one is used.

    When it is closed, or an item fails, no further item is begun.
    """
    left = iter(items)
    waiting = deque(pool.submit(function, item) for item in islice(left, ahead))
    try:
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(left, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()


def map_on_threads(
    function: Callable[[S], T], items: Sequence[S], threads: int, each: Callable[[S], None] = lambda _: None
) -> list[T]:
    """Apply a function to the items on threads, and return the results in order.

    `each` is called with an item once its result is there. The work is `interruptible`.
    """

    def work(stopped: Callable[[], bool]) -> list[T]:
        results = []
        with (
            ThreadPoolExecutor(threads) as pool,
            closing(in_order(pool, function, items, 2 * threads)) as found,
        ):
            for item, result in zip(items, found, strict=True):
                results.append(result)
                each(item)
                if stopped():
                    break
        return results

    return interruptible(work)
