"""Local files and their URLs."""

import errno
import os
import shutil
import stat
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistcompose import BuildError, InputError
from mnistcompose.building.folder import remove_temporary
from mnistcompose.storage.files import failing, sync_disks, sync_folder, write_file, write_output
from mnistcompose.storage.location import locate

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=20)


@given(names=st.lists(NAMES, min_size=1, max_size=3), begin=st.sampled_from(["file://", "file://localhost", "FILE://"]))
def test_a_files_url_is_the_path_in_it(names, begin):
    path = "/" + "/".join(names)
    assert locate(begin + quote(path)) == Path(path)


@pytest.mark.parametrize(
    "url", ["file://x", "file://x/y", "file://", "file://localhost", "file://example.org/x", "file://~/x"]
)
def test_a_files_url_on_another_machine_is_refused(url):
    with pytest.raises(InputError, match=f"^{url}: a file's URL is file:///folder"):
        locate(url)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@given(mode=st.integers(0, 0o7777).map(lambda mode: mode | stat.S_IRUSR | stat.S_IWUSR), mask=st.integers(0, 0o077))
def test_a_replaced_file_passes_on_its_permissions_and_a_new_one_follows_the_umask(tmp_path_factory, mode, mask):
    folder = tmp_path_factory.mktemp("modes")
    kept, new = folder / "kept", folder / "new"
    kept.write_bytes(b"before")
    kept.chmod(mode)
    mode = stat.S_IMODE(kept.stat().st_mode)
    before = os.umask(mask)
    try:
        write_file(kept, b"after")
        write_file(new, [memoryview(b"af"), memoryview(b"ter")])
    finally:
        os.umask(before)
    assert kept.read_bytes() == new.read_bytes() == b"after"
    assert stat.S_IMODE(kept.stat().st_mode) == mode
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~mask
    assert {path.name for path in folder.iterdir()} == {"kept", "new"}


def test_no_moment_in_which_others_may_read_what_was_private(tmp_path, monkeypatch):
    path = tmp_path / "private"
    path.write_bytes(b"before")
    path.chmod(0o600)
    modes = []
    sync = os.fsync

    def watched(descriptor):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_file(path, b"after")
    assert modes == [0o600]


def test_what_a_user_names_is_written_through_a_symbolic_link(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_bytes(b"before")
    for link, target in (("file", there / "file"), ("new", there / "new"), ("folder", there)):
        (tmp_path / link).symlink_to(target)
    for path, written in (
        ("file", "file"),
        ("new", "new"),
        ("folder/other", "other"),
        ("made/for/it", "../made/for/it"),
    ):
        write_output(tmp_path / path, b"after")
        assert (there / written).read_bytes() == b"after"
    assert all((tmp_path / link).is_symlink() for link in ("file", "new", "folder"))


def fails(number: int):
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_the_error_of_writing_is_told_and_not_that_of_cleaning_up(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fails(errno.ENOSPC))
    monkeypatch.setattr(Path, "unlink", fails(errno.EACCES))
    with pytest.raises(BuildError, match=r"x: cannot write: No space left on device\Z"):
        write_file(tmp_path / "x", b"new")


def test_what_a_killed_writer_leaves_is_removed_by_the_next_build(tmp_path, monkeypatch):
    left = tmp_path / "left"
    (tmp_path / "set").mkdir()
    monkeypatch.setattr(os, "fsync", lambda _: shutil.copytree(tmp_path / "set", left))
    write_file(tmp_path / "set" / "train.h5", b"new")
    assert len(list(left.iterdir())) == 1
    remove_temporary(left)
    assert list(left.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match=r"file.x: cannot make the folder: [^\n]+\Z"):
        write_output(tmp_path / "file" / "x" / "y", b"new")


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be flushed here")
def test_a_folder_is_flushed_where_that_can_be_done(tmp_path, monkeypatch):
    lowest = os.dup(0)
    os.close(lowest)
    monkeypatch.setattr(os, "fsync", fails(errno.EINVAL))  # what some networks say
    sync_folder(tmp_path)
    for number in (errno.EIO, errno.ENOSPC, errno.EBADF):
        monkeypatch.setattr(os, "fsync", fails(number))
        with pytest.raises(OSError, match=os.strerror(number)):
            sync_folder(tmp_path)
    again = os.dup(0)
    os.close(again)
    assert again == lowest  # no descriptor stays open


@pytest.mark.skipif(not hasattr(os, "sync"), reason="disks cannot be flushed here")
def test_disks_are_flushed(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "sync", lambda: calls.append(1))
    sync_disks()
    assert calls == [1]


def test_errors_of_a_stores_client_are_told_in_one_line_and_bugs_are_not_hidden():
    upath = pytest.importorskip("upath")
    away = upath.UPath("memory://x/y")
    client = type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})
    with pytest.raises(BuildError, match=r"memory://x/y: cannot read: Access Denied\Z"), failing("read", away):
        raise client("Access\nDenied")
    for error, path in ((ZeroDivisionError(), away), (client("x"), Path("x"))):
        with pytest.raises(type(error)), failing("read", path):
            raise error
