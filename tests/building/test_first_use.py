"""A dataset that is built on first use: once, whoever wants it, and never taken for another one."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from idx_files import digits, write

from mnistcompose import BuildError, InputError, build, load_spec
from mnistcompose.building import first_use
from mnistcompose.building.first_use import built_on_first_use
from mnistcompose.storage.locks import LockedError, locked
from mnistcompose.storage.manifest import read_manifest

SPEC = load_spec("MNIST-II-01").model_copy(update={"train": 2000, "test": 1000})


def test_it_is_built_once_and_found_from_then_on(tmp_path: Path):
    told: list[str] = []
    for _ in range(2):
        manifest = built_on_first_use(tmp_path / "x", SPEC, 3, begin=lambda: told.append("begun"), whole=True)
        assert manifest == read_manifest(tmp_path / "x")
        assert (manifest.seed, manifest.splits["train"].count) == (3, 2000)
        assert told == ["begun"]


def test_those_that_want_it_at_once_wait_for_the_one_that_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    refused: list[str] = []

    def tried(*arguments, **options):
        try:
            return build(*arguments, **options)
        except LockedError:
            refused.append("locked")
            raise

    monkeypatch.setattr(first_use, "build", tried)
    monkeypatch.setattr(first_use, "_PAUSE", 0.01)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(built_on_first_use, tmp_path / "x", SPEC, 0) for _ in range(4)]
        assert all(each.result() == found[0].result() for each in found)
    assert refused


def wait_for_another(folder: Path, seconds: float) -> None:
    """Use a dataset for the first time, while another build holds its folder for so long."""
    with ThreadPoolExecutor(1) as pool:
        folder.mkdir()
        with locked(folder / ".lock", "busy"):
            found = pool.submit(built_on_first_use, folder, SPEC, 0)
            time.sleep(seconds)
        assert found.result().seed == 0


def test_who_waits_for_long_says_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(first_use, "_PAUSE", 0.01)
    monkeypatch.setattr(first_use, "PATIENCE", 0.05)
    wait_for_another(tmp_path / "x", 1)
    (told,) = caplog.messages
    assert told.startswith(f"{tmp_path / 'x'}: another build is writing to it (process ")
    assert told.endswith("; waiting for it")


def test_a_short_wait_needs_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog):
    monkeypatch.setattr(first_use, "_PAUSE", 0.01)
    monkeypatch.setattr(first_use, "PATIENCE", 600)
    wait_for_another(tmp_path / "x", 0.3)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("other", "seed", "message"),
    [
        (load_spec("MNIST-II-02").model_copy(update={"train": 2000, "test": 1000}), 0, "another layout"),
        (SPEC, 1, r"another seed \(0, not 1\)"),
        (SPEC.model_copy(update={"train": 3000}), 0, r"another size \(.*2000.*, not .*3000"),
    ],
)
def test_another_dataset_is_refused(tmp_path: Path, other, seed: int, message: str):
    build(SPEC, tmp_path / "x")
    with pytest.raises(InputError, match=message):
        built_on_first_use(tmp_path / "x", other, seed, whole=True)
    if "size" in message:
        built_on_first_use(tmp_path / "x", other, seed)


def test_a_dataset_of_other_digits_is_refused(tmp_path: Path):
    for name, parts in (("train", 600), ("t10k", 100)):
        images, labels = digits(parts, seed=parts)
        write(tmp_path / "other", {f"{name}-images-idx3-ubyte": images, f"{name}-labels-idx1-ubyte": labels})
    other = str(tmp_path / "other")
    made = built_on_first_use(tmp_path / "x", SPEC, 0, other)
    assert built_on_first_use(tmp_path / "x", SPEC, 0, other) == made
    assert built_on_first_use(tmp_path / "x", SPEC, 0, any_digits=True) == made
    with pytest.raises(InputError, match=r"another digit set \([0-9a-f]{12}\.\.\., not"):
        built_on_first_use(tmp_path / "x", SPEC, 0)


def test_what_cannot_be_built_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments, **_options):
        raise BuildError("the disk is full")

    monkeypatch.setattr(first_use, "build", full)
    with pytest.raises(BuildError, match="full"):
        built_on_first_use(tmp_path / "x", SPEC, 0)
