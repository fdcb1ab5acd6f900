"""Processes that share work, and end with the process that began them."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from signal import SIG_DFL, SIGINT, signal
from threading import Thread


@contextmanager
def process_pool(workers: int, begin: Callable[[], object] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of spawned processes; an error or a signal in this process ends them at once.

    Parameters
    ----------
    workers
        Number of processes.
    begin
        Called in each of them before its first task; it is pickled, as are the tasks.
    """
    before = active_children()
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker, (begin,)) as pool:
        try:
            yield pool
        except BaseException:
            for child in set(active_children()) - set(before):
                child.terminate()
            raise


def _begin_worker(begin: Callable[[], object] | None) -> None:
    signal(SIGINT, SIG_DFL)  # Ctrl-C reaches every process: end at once, and do not begin the next task

    def end_with_parent() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=end_with_parent, daemon=True).start()
    if begin:
        begin()
