"""How long the whole command takes, from the shell's view, and where the time goes.

    python benchmarks/command.py

Every call is a process of its own, with the bytecode of all modules cached, as after an installation. `mnistcompose
build` of one dataset is a second call, with its machine code and digits cached. Next to it, in turns: the same work
with OpenCV (`benchmarks/opencv.py`) in one and in two processes, `--help`, and Python alone. Then a first call, with
empty caches of machine code and digits. On a machine that others share, the processor time says more than the wall
time.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
from report import ROOT, machine, table
from rich.console import Console

OURS, ONE, TWO = "mnistcompose build", "OpenCV, one process", "OpenCV, two processes"
HELP, PYTHON, FIRST = "mnistcompose --help", "python -c pass", "mnistcompose build, first call"
PHASES = {
    "start": "Python, imports, digits, layout",
    "load": "folder, numba, machine code",
    "render": "shards: made, hashed and written",
    "finish": "virtual files, manifest",
    "exit": "end of the process",
}

Call = dict[str, float]


def call(*arguments: str, **environment: str) -> tuple[Call, str]:
    """Run Python: seconds of wall and processor time (children's too), when the output came, and the output."""
    begun = perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    first = process.stdout.readline()
    told = perf_counter() - begun
    rest = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(arguments)}: exit code {process.returncode}")
    seconds = {"wall": perf_counter() - begun, "processor": usage.ru_utime + usage.ru_stime, "told": told}
    return seconds, first + rest


def build(layout: str, folder: Path, **environment: str) -> Call:
    """Build a dataset; also the seconds of each phase."""
    seconds, output = call("-m", "mnistcompose.cli", "build", layout, "--out", str(folder), "--json", **environment)
    report = json.loads(output)
    return seconds | {
        "start": seconds["told"] - report["seconds"],
        "load": report["startup_seconds"],
        "render": report["render_seconds"],
        "finish": report["seconds"] - report["startup_seconds"] - report["render_seconds"],
        "exit": seconds["wall"] - seconds["told"],
    }


def middle(calls: list[Call], of: str) -> float:
    return median(one[of] for one in calls)


@click.command()
@click.option("--layout", default="MNIST-III-10", show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--first-calls", default=1, show_default=True, help="Calls with empty caches.")
@click.option("--place", type=click.Path(path_type=Path), help="Folder to write in.  [default: a temporary one]")
@click.option("--out", type=click.Path(path_type=Path), default="results/benchmarks/command.json", show_default=True)
def main(layout: str, rounds: int, first_calls: int, place: Path | None, out: Path) -> None:
    """Measure, print tables, and write JSON."""
    with TemporaryDirectory(dir=place) as name:
        folder, peer = Path(name), str(Path(__file__).with_name("opencv.py"))
        contestants: dict[str, Callable[[str], Call]] = {
            OURS: lambda turn: build(layout, folder / turn),
            ONE: lambda turn: call(peer, layout, str(folder / f"{turn}.h5"))[0],
            TWO: lambda turn: call(peer, layout, str(folder / f"{turn}.h5"), "--processes", "2")[0],
            HELP: lambda _: call("-m", "mnistcompose.cli", "--help")[0],
            PYTHON: lambda _: call("-c", "pass")[0],
        }
        calls: dict[str, list[Call]] = {who: [] for who in contestants}
        build(layout, folder / "before")  # fills the caches
        for turn in range(rounds):
            for number, (who, contestant) in enumerate(contestants.items()):
                calls[who].append(contestant(f"{turn}-{number}"))
        calls[FIRST] = [
            build(
                layout,
                folder / f"first-{turn}",
                NUMBA_CACHE_DIR=str(folder / f"code-{turn}"),
                MNISTCOMPOSE_CACHE=str(folder / f"kept-{turn}"),
            )
            for turn in range(first_calls)
        ]
    console, ours = Console(), calls[OURS]
    rows = [
        (who, f"{middle(own, 'wall'):.2f}", f"{middle(own, 'processor'):.2f}",
         *(f"{middle(own, of) / middle(ours, of):.2f}" for of in ("wall", "processor")))
        for who, own in calls.items() if own
    ]  # fmt: skip
    head = "", "wall, s", "processor, s", "wall, build = 1", "processor, build = 1"
    console.print(table(f"{layout}, whole calls, medians of {rounds}", head, rows))
    phases = [(text, f"{middle(ours, phase):.3f}") for phase, text in PHASES.items()]
    console.print(table(OURS, ("phase", "wall, s"), phases))
    result: dict[str, Any] = {"layout": layout, "rounds": rounds, "calls": calls}
    result["machine"] = {**machine("opencv-python-headless"), "load": os.getloadavg()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
