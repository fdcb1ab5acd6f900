"""A real Dask scheduler and workers, each a process of its own, on the loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

from waiting import until


class Cluster:
    """A scheduler and workers that a test starts, and that end with it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.port, self.options = folder, "0", options
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        try:
            self.start_scheduler()
        except BaseException:
            self.stop()
            raise

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard")
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        self.processes.append(process)
        return process

    def start_scheduler(self) -> None:
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--port", self.port, "--scheduler-file", str(file), *self.options)
        until(lambda: file.exists() and file.stat().st_size > 0)
        self.address = json.loads(file.read_text())["address"]
        self.port = self.address.rpartition(":")[2]

    def add_worker(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        place = self.folder / f"worker-{len(self.workers)}"
        place.mkdir()
        process = self._start(
            *("worker", self.address, "--nthreads", "1", "--no-nanny", "--death-timeout", "30"),
            *("--local-directory", str(place), *self.options, *arguments),
            **environment,
        )
        self.workers.append(process)
        return process

    def ready(self, count: int) -> "Cluster":
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)
        return self

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()
        for process in self.processes:
            process.wait(10)
