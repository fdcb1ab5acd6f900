"""Which faults in storage and building no test sees: each mutant is run against the tests that reach its lines.

The mutants are cosmic-ray's, one of each kind per place, and statements that are left out. Needs `pip install
cosmic-ray pytest-cov`. Works on a copy of the checkout in a folder; the same command resumes.
"""

import argparse
import ast
import csv
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

PACKAGES = ("mnistcompose/storage", "mnistcompose/building")
FEW = 8  # tests that are collected and run before the others
FIRST = ("storage/files", "storage/locks", "storage/digests", "building/notes", "building/worker")
# after those, a random order; of these, three times as many as of the others
NEXT = (
    "storage/manifest",
    "storage/hdf5",
    "storage/open_shards",
    "storage/location",
    "building/folder",
    "building/build",
)
TESTS = ("storage", "building", "faults")
# loaded before a fork; torch is not, since its threads do not survive one
WARM = ("scipy.stats", "hypothesis", "mnistcompose.rendering.compose", "moto.server", "s3fs", "distributed")
_SUBREAPER = 36  # of Linux' prctl: orphans become children of this process, which can end them
LEFT_OUT = "left out"
KINDS = re.compile(  # of an operator's many replacements, those that the others follow from
    r"core/(Replace(BinaryOperator_(Add_Sub|Sub_Add|Mul_Add|FloorDiv_Mul|Mod_Mul|Pow_Mul|LShift_RShift|BitOr_BitAnd"
    r"|BitAnd_BitOr)|ComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_(LtE|NotEq)|LtE_(Lt|Eq)|Gt_(GtE|NotEq)|GtE_(Gt|Eq)"
    r"|Is_IsNot|IsNot_Is)|UnaryOperator_Delete_\w+|TrueWithFalse|FalseWithTrue|AndWithOr|OrWithAnd|BreakWithContinue"
    r"|ContinueWithBreak)|AddNot|ExceptionReplacer|NumberReplacer|ZeroIterationForLoop)"
)
COVERAGE = """[run]
source = {sources}
parallel = true
sigterm = true
patch = _exit, subprocess
context = ${{PYTEST_CURRENT_TEST}}
data_file = {folder}/.coverage
"""


class Mutant(NamedTuple):
    """A module with one change: a replacement of cosmic-ray's, or a statement left out."""

    module: str
    line: int
    kind: str
    number: int


def mutants(tree: Path, module: str) -> Iterator[Mutant]:
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = (tree / module).read_text()
    types = _types(ast.parse(source))
    nodes = list(ast_nodes(get_ast(source)))  # in the order in which cosmic-ray counts
    for name in filter(KINDS.fullmatch, operator_names()):
        operator = get_operator(name)()
        places = (place for node in nodes for place in operator.mutation_positions(node))
        for number, (place, _) in enumerate(places):
            if name == "core/NumberReplacer" and number % 2:  # one more is enough; the other is one less
                continue
            if not any(start <= place < end for start, end in types):
                yield Mutant(module, place[0], name, number)
    for number, (line, _) in enumerate(_left_out(source)):
        yield Mutant(module, line, LEFT_OUT, number)


def mutated(source: str, mutant: Mutant) -> str:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    if mutant.kind == LEFT_OUT:
        return list(_left_out(source))[mutant.number][1]
    return mutate_code(source, get_operator(mutant.kind)(), mutant.number) or source


def _types(tree: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Places of annotations; a change there is mypy's to find."""
    found = [getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns")]
    return [((n.lineno, n.col_offset), (n.end_lineno or 0, n.end_col_offset or 0)) for n in found if n is not None]


def _left_out(source: str) -> Iterator[tuple[int, str]]:
    """Leave out a statement that is run for its effect, or the context of a `with`."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Delete():
                start, stop, text = node.lineno, node.end_lineno or 0, "pass\n"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                start, stop, text = node.lineno, node.end_lineno or 0, "pass\n"
            case ast.With(items=items) if all(item.optional_vars is None for item in items):
                start, stop, text = node.lineno, node.body[0].lineno - 1, "if True:\n"
            case _:
                continue
        if stop >= start:
            indent = lines[start - 1][: len(lines[start - 1]) - len(lines[start - 1].lstrip())]
            yield start, "".join([*lines[: start - 1], indent + text, *lines[stop:]])


def change(old: str, new: str) -> tuple[str, str]:
    """Lines in which two texts differ, as one line each."""
    a, b = old.splitlines(), new.splitlines()
    head = next(i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1])
    tail = next(i for i, pair in enumerate(zip(a[::-1], b[::-1], strict=False)) if pair[0] != pair[1])
    before, after = (" ".join(map(str.strip, text[head : max(head + 1, len(text) - tail)])) for text in (a, b))
    return before[:160], after[:160]


def cover(tree: Path, work: Path) -> None:
    """Run all tests once, and note which lines each one reaches, in its own process and in those that it starts."""
    folder = work / "coverage"
    folder.mkdir(exist_ok=True)
    (folder / "rc").write_text(
        COVERAGE.format(sources="".join(f"\n    {tree / package}" for package in PACKAGES), folder=folder)
    )
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--cov", "--cov-context=test"]
    command += [f"--cov-config={folder / 'rc'}", "--cov-report=", f"--junitxml={work / 'tests.xml'}"]
    there = [f"tests/{name}" for name in TESTS if (tree / "tests" / name).exists()]
    subprocess.run([*command, *there], cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, check=False)


class Reach:
    """Which tests reach a line of a module."""

    def __init__(self, work: Path) -> None:
        from coverage import CoverageData
        from coverage.exceptions import DataError

        self.seconds: dict[str, float] = {}
        for case in ET.parse(work / "tests.xml").iter("testcase"):
            path, rest = _file_of(work / "clean", case.get("classname", ""))
            failed = any(child.tag in ("failure", "error", "skipped") for child in case)
            if not failed and path.startswith(tuple(f"tests/{name}/" for name in TESTS)):
                self.seconds["::".join([path, *rest, case.get("name", "")])] = float(case.get("time", 0))
        self.kills = Counter[tuple[str, str]]()
        self.tests: dict[str, dict[int, set[str]]] = {}
        for part in (work / "coverage").glob(".coverage*"):
            data = CoverageData(str(part))
            try:
                data.read()
            except DataError:  # of a process that a test killed
                continue
            for file in data.measured_files():
                lines = self.tests.setdefault("mnistcompose" + file.rpartition("/mnistcompose")[2], {})
                for line, contexts in data.contexts_by_lineno(file).items():
                    lines.setdefault(line, set()).update(filter(None, map(self._test, contexts)))

    def _test(self, context: str) -> str | None:
        """The test of `import|tests/x.py::test|run`, or of `tests/x.py::test (call)`."""
        for part in context.split("|"):
            name = re.sub(r" \((setup|call|teardown)\)$", "", part)
            if name in self.seconds:
                return name
        return None

    def of(self, tree: Path, module: str, line: int) -> list[str]:
        """Tests that reach the statement: first those that found most mutants of the module, then the fastest.

        All tests of the module, where coverage.py saw none: it sees nothing of what runs when a module is loaded, nor
        in threads that `_thread` starts.
        """
        lines = self.tests.get(module, {})
        wanted = _extent(ast.parse((tree / module).read_text()), line)
        reached = {test for each in wanted or () for test in lines.get(each, ())}
        tests = reached or set().union(*lines.values())
        return sorted(tests, key=lambda test: (-self.kills[module, test], self.seconds[test]))


def _file_of(tree: Path, dotted: str) -> tuple[str, list[str]]:
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        path = "/".join(parts[:count]) + ".py"
        if (tree / path).exists():
            return path, parts[count:]
    return dotted, []


def _extent(tree: ast.Module, line: int) -> range | None:
    """Lines of the innermost statement; of a function's head, those of its body; None outside of functions."""
    inside, best = False, None
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt):
            continue
        decorators = getattr(node, "decorator_list", [])
        start, end = min([node.lineno, *(d.lineno for d in decorators)]), node.end_lineno or 0
        if not start <= line <= end:
            continue
        body = getattr(node, "body", None)
        if isinstance(node, ast.FunctionDef):
            inside = True
            best = range(node.body[0].lineno, end + 1)
        elif isinstance(node, ast.ClassDef):
            best = None
        else:
            best = range(start, body[0].lineno if body and line < body[0].lineno else end + 1)
    return best if inside else None


class _First:
    """The first test that fails."""

    def __init__(self, into: Path) -> None:
        self.into = into

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.into.exists():
            self.into.write_text(report.nodeid)


def attempt(work: Path, tree: Path, tests: list[str], limit: float) -> tuple[str, str]:
    """Run tests in a fork of this process, which has loaded all but the mutated packages."""
    note, log = work / f"{tree.name}.first", work / f"{tree.name}.log"
    note.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code = 70
        try:
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            import pytest

            options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:faulthandler"]
            code = int(pytest.main([*options, *tests], plugins=[_First(note)]))
            sys.stdout.flush()
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    status: int | None = None
    while status is None and time.monotonic() < end:
        status = next((os.waitstatus_to_exitcode(s) for pid, s in [os.waitpid(child, os.WNOHANG)] if pid), None)
        time.sleep(0.02)
    _end_children()
    killer = note.read_text() if note.exists() else ""
    outcome = {None: "timeout", 0: "survived", 5: "survived"}.get(status, "killed")
    return outcome, killer or ("" if outcome != "killed" else f"exit {status}")


def _end_children() -> None:
    """End whatever a test left behind; this process inherits orphans."""
    while True:
        own = (Path("/proc") / str(os.getpid()) / "task" / str(os.getpid()) / "children").read_text().split()
        if not own:
            return
        for pid in own:
            os.kill(int(pid), signal.SIGKILL)
            os.waitpid(int(pid), 0)


def _within(tests: list[str], seconds: dict[str, float], budget: float, *, one_each: bool = False) -> list[str]:
    """The first tests that take no longer together; with `one_each`, one set of parameters of a function."""
    chosen: dict[str, str] = {}
    for test in tests:
        name = test.partition("[")[0] if one_each else test
        if name not in chosen and seconds[test] <= budget:
            budget -= seconds[test] + 0.02
            chosen[name] = test
    return list(chosen.values()) or tests[:1]


def _turn(mutant: Mutant) -> tuple[int, float]:
    """Place in the order in which the mutants are run, which a later run continues."""
    name = mutant.module.removeprefix("mnistcompose/").removesuffix(".py")
    chance = Random(str(mutant)).random()
    return (FIRST.index(name), chance) if name in FIRST else (len(FIRST), chance * (1 if name in NEXT else 3))


def _load_kernel() -> None:
    from mnistcompose.digits.bank import load_digits
    from mnistcompose.layout.names import load_spec
    from mnistcompose.rendering.compose import compose

    for split in ("train", "test"):
        compose(load_digits(split), load_spec("MNIST-III-10"), split, 0, 0, 2)


def main() -> None:
    from hypothesis import settings

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--part", default="0/1", help="as in 0/2 and 1/2, for two processes")
    parser.add_argument("--budget", type=float, default=3, help="seconds of tests per mutant, the fastest first")
    parser.add_argument("--more", type=float, default=12, help="seconds of further tests if it survives")
    options = parser.parse_args()
    work = options.work.resolve()
    part, parts = map(int, options.part.split("/"))
    clean, tree = work / "clean", work / f"tree-{part}"
    if not (work / "tests.xml").exists():
        shutil.copytree(Path(__file__).resolve().parent.parent, clean, ignore=shutil.ignore_patterns(".git", ".venv"))
        cover(clean, work)
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(clean, tree)
    names = [p.relative_to(tree).as_posix() for package in PACKAGES for p in sorted((tree / package).glob("[a-z]*.py"))]
    every = sorted((mutant for name in names for mutant in mutants(clean, name)), key=_turn)
    reach = Reach(work)
    for package in PACKAGES:  # two mutants of one second and one size would share a compiled file
        shutil.rmtree(tree / package / "__pycache__", ignore_errors=True)
    sys.dont_write_bytecode = True
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(tree))
    os.chdir(tree)
    sys.path[:0] = [str(tree)]
    for name in WARM:
        __import__(name)
    assert not [name for name in sys.modules if name.startswith(("mnistcompose.storage", "mnistcompose.building"))]
    _load_kernel()
    settings.register_profile("mutation", deadline=None)  # on a busy machine, a slow example would count as a kill
    settings.load_profile("mutation")
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    table = work / f"mutants-{part}.csv"
    rows = [row for done in work.glob("mutants-*.csv") for row in csv.reader(done.open())]
    known = {(row[0], row[2], row[3]) for row in rows}
    reach.kills.update((row[0], row[-1]) for row in rows)
    with table.open("a", newline="") as file:
        writer = csv.writer(file)
        for mutant in every[part::parts]:
            path, original = tree / mutant.module, (clean / mutant.module).read_text()
            if (mutant.module, mutant.kind, str(mutant.number)) in known:
                continue
            if (changed := mutated(original, mutant)) == original:
                continue
            tests = reach.of(clean, mutant.module, mutant.line)
            chosen = _within(tests, reach.seconds, options.budget, one_each=True)
            others = _within([test for test in tests if test not in chosen], reach.seconds, options.more)
            begun, outcome, killer = time.monotonic(), "not reached", ""
            path.write_text(changed)
            for some in filter(None, (chosen[:FEW], chosen[FEW:], others)):
                limit = 60 + 5 * sum(reach.seconds[test] for test in some)
                outcome, killer = attempt(work, tree, some, limit)
                if outcome != "survived":
                    break
            path.write_text(original)
            reach.kills[mutant.module, killer] += 1
            took, ran = f"{time.monotonic() - begun:.1f}", f"{len(chosen) + len(others)}/{len(tests)}"
            writer.writerow([*mutant, *change(original, changed), outcome, took, ran, killer])
            file.flush()


if __name__ == "__main__":
    main()
