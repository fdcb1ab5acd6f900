import importlib
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistcompose.building.interruptible import in_order, interruptible, map_on_threads


def test_results_and_errors_come_back():
    assert interruptible(lambda stopped: (stopped(), threading.current_thread() is threading.main_thread())) == (
        False,
        False,
    )

    def fail(_):
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        interruptible(fail)


@given(st.lists(st.integers()), st.integers(1, 4))
def test_a_map_is_a_map(items, threads):
    told = []
    assert map_on_threads(str, items, threads, told.append) == [str(item) for item in items]
    assert told == items


def test_once_closed_no_further_item_is_begun():
    begun = []

    def slow(item: int) -> int:
        begun.append(item)
        time.sleep(0.1)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = in_order(pool, slow, range(20), 10)
        assert next(results) == 0
        results.close()
    assert begun in ([0], [0, 1])


def test_an_error_of_one_item_is_the_maps():
    with pytest.raises(ZeroDivisionError):
        map_on_threads(lambda n: 1 // n, [1, 0, 2], 2)


def said(script: str) -> tuple[str, str]:
    """What a script prints in a process of its own, in which Ctrl-C raises KeyboardInterrupt."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=60, check=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    return done.stdout, done.stderr


def test_an_interruption_waits_for_the_works_end_and_is_raised():
    script = """
        import os, signal, time
        from mnistcompose.building.interruptible import interruptible

        def work(stopped):
            os.kill(os.getpid(), signal.SIGINT)
            while not stopped():
                time.sleep(0.01)
            print("ended", flush=True)

        try:
            interruptible(work)
        except KeyboardInterrupt:
            print("interrupted")
    """
    assert said(script) == ("ended\ninterrupted\n", "")


def test_an_interrupted_map_does_not_finish_its_items():
    script = """
        import os, signal, time
        from mnistcompose.building.interruptible import map_on_threads

        told = []

        def each(item):
            told.append(item)
            if item == 3:
                os.kill(os.getpid(), signal.SIGINT)

        try:
            map_on_threads(lambda _: time.sleep(0.02), range(2000), 1, each)
        except KeyboardInterrupt:
            print(3 < len(told) < 1000)
    """
    assert said(script) == ("True\n", "")


@pytest.mark.parametrize("begun", [False, True])
def test_an_interruption_before_anything_is_waited_for(monkeypatch, begun):
    """Which a signal may cause between any two steps: the work has ended before it is raised, or never begins."""
    module = importlib.import_module("mnistcompose.building.interruptible")
    start, done = module.start_new_thread, []

    def interrupted(*given):
        if begun:
            start(*given)
            time.sleep(0.05)
        else:
            threading.Timer(0.05, given[0]).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "start_new_thread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda stopped: [time.sleep(0.01) for _ in iter(stopped, True)] and done.append("ended"))
    time.sleep(0.1)
    assert done == (["ended"] if begun else [])
