"""Work on executors that a signal cannot break."""

from _thread import allocate_lock, start_new_thread
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def interruptible(work: Callable[[Callable[[], bool]], T]) -> T:
    """Do the work in a thread of its own, and return what it returns or raise what it raises.

    A signal's exception (Ctrl-C) hits the main thread wherever that is. Within an executor's locks it leaves one of
    them held or released twice, which other threads complain of, or wait for ever. So a thread that no signal reaches
    holds them; the main one waits in a queue, which may be interrupted, and then for the work to come to its end.

    Parameters
    ----------
    work : callable
        Given a function that says whether it should stop.
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
        start_new_thread(run, ())  # Thread.start waits in a lock
        ended.get()
    except BaseException:  # which may come at any point, also when the thread has not run yet, or has ended
        stopped.append(True)
        if not begun.acquire(blocking=False) and not outcome:
            ended.get()
        raise
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def map_on_threads(
    function: Callable[[S], T], items: Sequence[S], threads: int, each: Callable[[S], None] = lambda _: None
) -> list[T]:
    """Results in the order of the items, `each` of which is told of when its result is there; `interruptible`."""

    def work(stopped: Callable[[], bool]) -> list[T]:
        results = []
        with ThreadPoolExecutor(threads) as pool:
            for item, result in zip(items, pool.map(function, items), strict=True):
                results.append(result)
                each(item)
                if stopped():
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
        return results

    return interruptible(work)
