"""The folder that an export is written to: links, what file browsers leave, and renames that fail."""

from pathlib import Path

import pytest

from mnistcompose import BuildError, InputError, build, export


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("dataset") / "x"
    build("MNIST-II-01", root, train=1000, test=0)
    return root


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("there", [True, False])
def test_an_export_is_written_through_a_link(dataset: Path, tmp_path: Path, there: bool):
    disk, link = tmp_path / "disk", tmp_path / "work" / "out"
    disk.mkdir()
    link.parent.mkdir()
    if there:
        (disk / "x").mkdir()
    link.symlink_to(disk / "x", target_is_directory=True)
    for force in (False, True, True):
        export(dataset, link, "npz", force=force)
        assert link.is_symlink()
        assert names(link.parent) == {"out"}
        assert names(disk) == {"x"}
        assert "export.json" in names(disk / "x")


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep", "._x"])
def test_what_file_browsers_leave_is_no_reason_to_refuse(dataset: Path, tmp_path: Path, name: str):
    for place in ("built", "exported"):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_text("mine")
    build("MNIST-II-01", tmp_path / "built", train=1000, test=0)
    export(dataset, tmp_path / "exported", "npz")
    export(dataset, tmp_path / "exported", "npz", force=True)
    for place in ("built", "exported"):
        assert (tmp_path / place / name).read_text() == "mine"


def test_other_files_are_one(dataset: Path, tmp_path: Path):
    (tmp_path / ".gitignore").write_text("mine")
    with pytest.raises(InputError, match=r"holds '\.gitignore'"):
        export(dataset, tmp_path, "npz")
    with pytest.raises(InputError, match=r"holds '\.gitignore'"):
        build("MNIST-II-01", tmp_path, train=1000, test=0)


def failing_rename(monkeypatch: pytest.MonkeyPatch, *ends: str) -> None:
    """Let the renames of folders with these endings fail."""
    plain = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name.endswith(ends):
            raise OSError(16, "Device or resource busy")
        return plain(self, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_an_export_whose_last_rename_fails_leaves_the_old_one(dataset: Path, tmp_path: Path):
    out = tmp_path / "out"
    export(dataset, out, "npz")
    with pytest.MonkeyPatch.context() as patch:
        failing_rename(patch, ".export.tmp")
        with pytest.raises(BuildError, match="out: cannot write: Device or resource busy"):
            export(dataset, out, "idx", force=True)
    assert names(tmp_path) == {"out"}
    with pytest.raises(InputError, match="holds MNIST-II-01 as npz already"):
        export(dataset, out, "idx")


def test_an_export_that_could_not_be_put_back_is_put_back_by_the_next_one(dataset: Path, tmp_path: Path):
    out = tmp_path / "out"
    export(dataset, out, "npz")
    with pytest.MonkeyPatch.context() as patch:
        failing_rename(patch, ".export.tmp", ".export.old")
        with pytest.raises(BuildError, match="Device or resource busy"):
            export(dataset, out, "idx", force=True)
    assert names(tmp_path) == {"out.export.old"}
    with pytest.raises(InputError, match="holds MNIST-II-01 as npz already"):
        export(dataset, out, "idx")
    assert names(tmp_path) == {"out"}
    export(dataset, out, "idx", force=True)
    assert names(tmp_path) == {"out"}
