"""Worker processes end with what began them, whatever ends that."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path

import pytest
from waiting import until

from mnistcompose.building.processes import process_pool


def test_a_worker_is_prepared_before_its_first_task_and_leaves_ctrl_c_to_the_system():
    with process_pool(1, partial(os.umask, 0o123)) as pool:
        assert pool.submit(os.umask, 0).result() == 0o123
        assert pool.submit(signal.getsignal, signal.SIGINT).result() is signal.SIG_DFL
    with process_pool(1) as pool:
        assert pool.submit(abs, -1).result() == 1


def test_an_error_ends_the_pools_own_workers_at_once(tmp_path: Path):
    def fail() -> None:
        with process_pool(2) as pool:
            pool.submit((tmp_path / "begun").touch)
            for _ in range(2):
                pool.submit(time.sleep, 600)
            until((tmp_path / "begun").exists)
            raise ZeroDivisionError

    other = get_context("spawn").Process(target=time.sleep, args=(600,))
    other.start()
    try:
        begun = time.monotonic()
        with pytest.raises(ZeroDivisionError):
            fail()
        assert time.monotonic() - begun < 300
        assert active_children() == [other]
    finally:
        other.kill()
        other.join()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_worker_ends_when_its_parent_is_killed():
    script = """
        import os, time
        from mnistcompose.building.processes import process_pool

        if __name__ == "__main__":
            with process_pool(1) as pool:
                print(pool.submit(os.getpid).result(), flush=True)
                pool.submit(time.sleep, 600).result()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()

    def ended() -> bool:
        try:
            return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    until(ended)
