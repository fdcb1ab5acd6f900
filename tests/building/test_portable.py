"""The package on systems without what only Linux or only Unix has; here it is hidden from a process."""

import subprocess
import sys
from pathlib import Path

import pytest

_HIDE = """
import os, sys, warnings
for name in ("fcntl", "resource", "pwd", "grp", "termios", "syslog"):
    sys.modules[name] = None
for name in ("fork", "register_at_fork", "sched_getaffinity", "sync", "O_DIRECTORY"):
    if hasattr(os, name):
        delattr(os, name)
"""
_BUILD = """
import mnistcompose as mc
import mnistcompose.cli
report = mc.build("MNIST-III-10", sys.argv[1], train=2000, test=1000, shard_size=1000)
assert mc.build("MNIST-III-10", sys.argv[1], train=2000, test=1000, shard_size=1000).kept == 3
assert mc.verify(sys.argv[1], rerender=100).ok
mc.export(sys.argv[1], sys.argv[1] + "-npz", "npz")
print(report.digests["train"])
"""
_READ = """
import mnistcompose as mc
data = mc.ShardedDigits(sys.argv[1], "train")
print(int(data[:][1].sum()))
"""


def hidden(code: str, *arguments: object, before: str = "") -> str:
    command = [sys.executable, "-c", before + _HIDE + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_datasets_are_built_verified_exported_and_read(tmp_path: Path):
    from mnistcompose import build

    here = build("MNIST-III-10", tmp_path / "here", train=2000, test=1000, shard_size=1000)
    assert hidden(_BUILD, tmp_path / "x").strip() == here.digests["train"]
    pytest.importorskip("torch")
    from mnistcompose import ShardedDigits

    assert int(hidden(_READ, tmp_path / "x", before="import torch")) == int(
        ShardedDigits(tmp_path / "here", "train")[:][1].sum()
    )


def test_the_learner_can_be_imported():
    pytest.importorskip("torch")
    hidden("import dcl.experiments.grid, dcl.experiments.run, dcl.experiments.environment", before="import torch")
