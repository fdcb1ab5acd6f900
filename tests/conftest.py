import os
import signal
from collections.abc import Callable, Iterator
from random import Random

import pytest

# Children are to find the installed package, not the checkout's folder of the same name, which lacks the commands.
os.environ["PYTHONSAFEPATH"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background; children would ignore Ctrl-C, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", choices=["few", "full"], default="few", help="Trials of tests/faults.")


_tally: dict[str, list[int]] = {}


@pytest.fixture
def trials(request) -> Callable[[str, int, int], Iterator[tuple[int, Random]]]:
    """Numbered trials of a fault, each with random numbers of its own; what ends well is counted."""

    def run(fault: str, few: int, full: int) -> Iterator[tuple[int, Random]]:
        counts = _tally.setdefault(fault, [0, 0])
        for trial in range(full if request.config.getoption("--faults") == "full" else few):
            counts[0] += 1
            yield trial, Random(f"{fault} {trial}")
            counts[1] += 1

    return run


def pytest_terminal_summary(terminalreporter) -> None:
    if _tally:
        terminalreporter.section("faults: trials, survived")
        for fault, (done, survived) in _tally.items():
            terminalreporter.line(f"{fault:<60} {done:>7,} {survived:>7,}")
