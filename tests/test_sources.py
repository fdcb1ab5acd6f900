import shutil
from pathlib import Path

from mnistcompose.sources import code_digest, code_version, hash_sources, sources_of

ROOT = Path(__file__).parents[1]


def test_a_hash_depends_on_names_and_contents_and_not_on_the_order_or_line_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("mnistcompose.sources._HERE", tmp_path / "mnistcompose")
    folder = tmp_path / "mnistcompose" / "room"
    folder.mkdir(parents=True)
    for name in ("a.py", "b.py"):
        (folder / name).write_bytes(b"x = 1\ny = 2\n")
    files = sources_of("room")
    assert len(files) == 2
    found = hash_sources(files)
    assert hash_sources(reversed(files)) == found
    (folder / "a.py").write_bytes(b"x = 1\r\ny = 2\r\n")
    assert hash_sources(files) == found
    (folder / "a.py").write_bytes(b"x = 1\ny = 3\n")
    assert hash_sources(files) != found
    (folder / "a.py").write_bytes(b"x = 1\ny = 2\n")
    (folder / "b.py").rename(folder / "c.py")
    assert hash_sources(sources_of("room")) != found


def test_an_installed_package_and_a_checkout_have_the_same_version(tmp_path, monkeypatch):
    """Once installed, cli/ and specs/ are in the package's folder."""
    expected = code_version()
    ignored = shutil.ignore_patterns("__pycache__", "*.gz")
    for source, place in (("mnistcompose", ""), ("dcl", ""), ("cli", "mnistcompose"), ("specs", "mnistcompose")):
        shutil.copytree(ROOT / source, tmp_path / place / source, ignore=ignored)
    monkeypatch.setattr("mnistcompose.sources._HERE", tmp_path / "mnistcompose")
    code_digest.cache_clear()
    try:
        assert list((tmp_path / "mnistcompose").glob("cli/*.py"))
        assert code_version() == expected
    finally:
        code_digest.cache_clear()
