"""Imports point one way: between rooms, between modules of a room, and never at a private name of another module."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BASE = (
    "mnistcompose",
    *(f"mnistcompose.{name}" for name in ("errors", "arguments", "caches", "forking", "quantities", "sources")),
)
ROOMS = {  # each may import itself, the rooms that it names, and BASE
    "mnistcompose.layout": (),
    "mnistcompose.digits": (),
    "mnistcompose.rendering": ("layout", "digits"),
    "mnistcompose.storage": ("layout",),
    "mnistcompose.building": ("layout", "digits", "rendering", "storage"),
    "mnistcompose.datasets": ("layout", "digits", "rendering", "storage", "building"),
    "mnistcompose.exporting": ("layout", "digits", "rendering", "storage", "building"),
    "mnistcompose.preview": ("layout", "digits", "rendering", "storage"),
    "mnistcompose.studio": ("layout", "digits", "rendering", "storage"),
    "dcl.training": ("storage",),
    "dcl.models": ("training",),  # costs times a training step
    "dcl.data": ("layout", "digits", "storage", "building", "datasets", "training"),
    "dcl.experiments": ("layout", "digits", "storage", "building", "datasets", "models", "training", "data"),
    "dcl.reporting": (
        *("layout", "digits", "rendering", "storage", "building", "datasets", "preview"),
        *("models", "training", "data", "experiments"),
    ),
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {module_of(path): path for package in ("mnistcompose", "dcl") for path in (ROOT / package).rglob("*.py")}


def imports(module: str) -> Iterator[tuple[str, str, bool]]:
    """Modules of this project that a module imports, with each name, and whether that is at its top."""
    path = SOURCES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            target = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                whole = f"{target}.{alias.name}"
                yield (whole, "", node in top) if whole in SOURCES else (target, alias.name, node in top)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "", node in top) for alias in node.names)


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    room = room_of(module)
    if room not in ROOMS:
        return  # the packages' own doors, and BASE
    packages = {name.rpartition(".")[2]: name for name in ROOMS}
    allowed = {*BASE, room, *(packages[name] for name in ROOMS[room])}
    reached = {room_of(target) for target, _, _ in imports(module) if target.startswith(("mnistcompose", "dcl"))}
    assert reached <= allowed


def test_rooms_and_modules_have_no_circle() -> None:
    packages = {name.rpartition(".")[2]: name for name in ROOMS}
    graphs = [
        {room: {packages[name] for name in rooms} for room, rooms in ROOMS.items()},
        {module: {target for target, _, _ in imports(module) if target in SOURCES} - {module} for module in SOURCES},
    ]
    for package in ("mnistcompose", "dcl"):
        graphs[1].pop(package)  # the doors re-export what is behind them
    for graph in graphs:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_a_private_name_is_used_in_its_own_module_only(module: str) -> None:
    private = [f"{target}.{name}" for target, name, _ in imports(module) if target in SOURCES and name.startswith("_")]
    assert [name for name in private if not name.endswith("__version__")] == []


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if name.startswith("mnistcompose")))
def test_only_datasets_import_torch_at_their_top(module: str) -> None:
    if room_of(module) != "mnistcompose.datasets":
        assert not [target for target, _, top in imports(module) if top and target.split(".")[0] == "torch"]


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_no_module_needs_what_only_some_systems_have(module: str) -> None:
    only_some = {"fcntl", "resource", "pwd", "grp", "termios", "syslog", "msvcrt", "winreg"}
    assert not [target for target, _, top in imports(module) if top and target in only_some]


def test_every_room_says_what_it_is_for() -> None:
    for module, path in SOURCES.items():
        assert ast.get_docstring(ast.parse(path.read_text())), module
