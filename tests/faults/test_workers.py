"""DataLoader workers, far more than cores, and some of them killed: torch's own error, or all images; never a hang."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnistcompose import build, load_spec

pytest.importorskip("torch")

_EPOCHS = """
import os, signal, sys, threading, time
import torch
from torch.utils.data import DataLoader
from mnistcompose import ShardedDigits

if __name__ == "__main__":
    root, method, workers, epochs, kill = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    torch.set_num_threads(1)
    data = ShardedDigits(root, "train")
    total = int(data.as_tensors()[1].sum())
    if kill:
        def shoot():
            import multiprocessing
            while not (children := multiprocessing.active_children()):
                time.sleep(0.01)
            time.sleep(kill / 1000)
            for child in children[:1]:
                child.kill()
        threading.Thread(target=shoot, daemon=True).start()
    for epoch in range(epochs):
        loader = DataLoader(data, 100, shuffle=True, num_workers=workers, multiprocessing_context=method)
        seen = sum(int(numbers.sum()) for _, numbers in loader)
        assert seen == total, (seen, total)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "x"
    build(load_spec("MNIST-II-03"), root, train=3000, test=0, shard_size=1000)
    return root


# A worker that dies breaks its queue, or is noticed by torch's own signal handler, which raises wherever Python is.
_STOPPED = re.compile(r"DataLoader worker|ConnectionResetError|BrokenPipeError|EOFError")


def run(dataset: Path, script: Path, *arguments: object, timeout: float) -> str:
    """How the epochs end: 'complete', 'stopped by torch', or what was said of anything else."""
    script.write_text(_EPOCHS)
    done = subprocess.run(
        [sys.executable, str(script), str(dataset), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        start_new_session=True,
    )
    if done.returncode == 0:
        return "complete"
    by_torch = done.returncode == 1 and _STOPPED.search(done.stderr) and "AssertionError" not in done.stderr
    return "stopped by torch" if by_torch else f"{done.returncode}: {done.stderr}"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_many_workers(request, dataset, tmp_path, method):
    full = request.config.getoption("--faults") == "full"
    workers, epochs = (16, 50) if full else (4 if method == "fork" else 2, 1)
    assert run(dataset, tmp_path / "epochs.py", method, workers, epochs, 0, timeout=7200) == "complete"


def test_a_killed_worker_is_an_error_or_nothing(trials, dataset, tmp_path):
    for _, random in trials("DataLoader worker killed", 1, 30):
        method, epochs, latest = random.choice([("fork", 20, 500), ("fork", 20, 500), ("spawn", 2, 20_000)])
        workers = random.randrange(2, 17)
        delay = random.randrange(1, latest)
        said = run(dataset, tmp_path / "epochs.py", method, workers, epochs, delay, timeout=600)
        assert said in ("stopped by torch", "complete")
