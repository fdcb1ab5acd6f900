"""Local files and their URLs."""

import os
import stat
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistcompose import InputError
from mnistcompose.storage.files import write_file, write_output
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
