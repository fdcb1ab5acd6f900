import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from clusters import Cluster

from mnistcompose import BuildError, InputError, ShardedDigits, arrays, build, export, load_digits, load_spec, verify
from mnistcompose.building import build as builder
from mnistcompose.building import folder, notes
from mnistcompose.building.cluster import cluster
from mnistcompose.caches import cache_folder
from mnistcompose.rendering.compiled import kernel_folder
from mnistcompose.storage.files import failing
from mnistcompose.storage.location import is_local, locate
from mnistcompose.storage.manifest import read_manifest

pytest.importorskip("upath")
moto = pytest.importorskip("moto.server")
MemoryFileSystem = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem

SPEC = load_spec("MNIST-III-10")
COUNTS = {"train": 5000, "test": 1000}


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """A bucket of an S3 server on the loopback."""
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    given = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="digits")
        yield "s3://digits"
    server.stop()


@pytest.fixture(params=["memory", "s3"])
def url(request, tmp_path) -> Iterator[str]:
    """A folder that does not exist yet."""
    bucket = "memory://digits" if request.param == "memory" else request.getfixturevalue("store")
    place = f"{bucket}/{tmp_path.name}"
    yield place
    root = locate(place)
    if root.exists():
        root.fs.rm(root.path, recursive=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MNISTCOMPOSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shards"


@pytest.fixture(autouse=True)
def readers(monkeypatch) -> None:
    """Readers of fsspec's memory store share one place in a file; as in other stores, each is to have its own."""
    plain = MemoryFileSystem._open

    def opened(self, path, mode="rb", **options):
        file = plain(self, path, mode, **options)
        return BytesIO(file.getvalue()) if mode == "rb" else file

    monkeypatch.setattr(MemoryFileSystem, "_open", opened)


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("here") / "x"
    build(SPEC, root, shard_size=1000, **COUNTS)
    return root


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.name}


def same(root: Path, here: Path) -> bool:
    return names(root) == names(here) and all((root / n).read_bytes() == (here / n).read_bytes() for n in names(here))


def stop(_: int) -> None:
    raise KeyboardInterrupt


def test_a_remote_dataset_is_the_local_one(url, here):
    report = build(SPEC, url, shard_size=1000, **COUNTS)
    assert (report.made, report.kept) == (6, 0)
    assert same(locate(url), here)
    assert verify(url, rerender=100).ok


def test_an_interrupted_build_goes_on(url, here):
    with pytest.raises(KeyboardInterrupt):
        build(SPEC, url, shard_size=1000, workers=1, progress=stop, **COUNTS)
    with pytest.raises(InputError, match="no finished dataset"):
        ShardedDigits(url, "train")
    assert not verify(url).ok
    report = build(SPEC, url, shard_size=1000, **COUNTS)
    assert report.kept > 0
    assert report.made + report.kept == 6
    assert same(locate(url), here)
    assert build(SPEC, url, shard_size=1000, **COUNTS).made == 0


def outcome(url: str, seed: int, **options) -> tuple[int, str]:
    """The seed, and what the build says that fails."""
    try:
        build(SPEC, url, seed=seed, shard_size=1000, **COUNTS, **options)
    except (BuildError, InputError) as error:
        return seed, str(error)
    return seed, ""


@pytest.mark.parametrize("conditional", [True, False])
def test_of_two_different_builds_at_once_one_is_stopped(url, monkeypatch, conditional):
    """Both find the place empty; whoever reports success has built what is there."""
    if not conditional:
        fs = type(locate(url).fs)
        monkeypatch.setattr(fs, "pipe_file", _no_mode(fs.pipe_file))
    together, prepare = threading.Barrier(2, timeout=60), builder.prepare

    def wait_and_prepare(*arguments) -> None:
        together.wait()
        prepare(*arguments)

    monkeypatch.setattr(builder, "prepare", wait_and_prepare)
    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(pool.map(lambda seed: outcome(url, seed), (1, 2)))
    stopped = [message for message in outcomes.values() if message]
    assert stopped
    assert all("another build has" in message or "build.json: seed is" in message for message in stopped)
    winners = [seed for seed, message in outcomes.items() if not message]
    assert len(winners) == 1 or not conditional
    if winners:
        assert read_manifest(locate(url)).seed == winners[0]
        assert verify(url, rerender=20).problems == ()


def _no_mode(pipe_file):
    def replaced(self, path, value, mode="overwrite", **options):
        if mode != "overwrite":
            raise NotImplementedError
        return pipe_file(self, path, value, **options)

    return replaced


@pytest.mark.parametrize("moment", [1, 6])
def test_a_build_stops_when_another_one_replaces_it(url, moment):
    """With --force, after the first or the last shard: the first build says so, and what the second made is whole."""
    calls, later = [], []

    def replace_it(_: int) -> None:
        calls.append(1)
        if len(calls) == moment:
            later.append(outcome(url, 2, force=True))

    _, told = outcome(url, 1, workers=1, progress=replace_it)
    assert "build.json: another build has begun there meanwhile: seed is 2 there, and 1 in this build" in told
    assert later == [(2, "")]
    assert verify(url, rerender=20).problems == ()


def test_a_shard_that_another_build_has_written_over_is_made_again(url):
    """It had begun to write before it was stopped; its note says so."""

    calls = []

    def intrude(_: int) -> None:
        root, name = locate(url), "train-00000-of-00005.h5"
        calls.append(1)
        if len(calls) < 6:
            return
        (root / name).write_bytes((root / name).read_bytes()[::-1])  # of the same size
        (root / "journal" / f"{name}.0123456789abcdef.json").write_bytes(b"{}")

    assert "train-00000-of-00005.h5: another build has written it" in outcome(url, 1, progress=intrude)[1]
    report = build(SPEC, url, seed=1, shard_size=1000, **COUNTS)
    assert report.made == 1
    assert verify(url, rerender=20).problems == ()


def test_notes_of_an_earlier_version_cost_their_shards_only(url, here):
    with pytest.raises(KeyboardInterrupt):
        build(SPEC, url, shard_size=1000, workers=1, progress=stop, **COUNTS)
    notes = [note for note in (locate(url) / "journal").iterdir() if note.suffix == ".json"]
    assert notes
    for note in notes:
        old = f"{note.name.rsplit('.', 2)[0]}.json"
        (note.parent / old).write_bytes(note.read_bytes())
        note.unlink()
    assert build(SPEC, url, shard_size=1000, **COUNTS).made == 6
    assert same(locate(url), here)


def test_unfinished_notes_of_killed_workers_are_removed(url):
    build(SPEC, url, shard_size=1000, **COUNTS)
    root = locate(url)
    (root / "manifest.json").unlink()  # as if it had not ended
    (root / "journal").mkdir(parents=True, exist_ok=True)
    (root / "journal" / "train-00000-of-00005.h5.0123456789abcdef.json.01234567.tmp").write_bytes(b"{")
    build(SPEC, url, shard_size=1000, **COUNTS)
    assert not notes.listing(root / "journal")


def test_what_another_build_removes_meanwhile_is_no_error(monkeypatch):
    root = locate("memory://digits/gone")
    there = [root / "journal" / "train-00000-of-00001.h5.0123456789abcdef.json", root / "train.h5.01234567.tmp"]
    for module in (notes, folder):
        monkeypatch.setattr(module, "listing", lambda _: there)
    notes.check_notes(root, {}, [])
    notes.remove_notes(root)
    folder.remove_temporary(root)


def test_a_lost_or_cut_shard_is_made_again(url, here):
    build(SPEC, url, shard_size=1000, **COUNTS)
    root = locate(url)
    (root / "train-00001-of-00005.h5").unlink()
    (root / "train-00002-of-00005.h5").write_bytes(b"x")
    assert len(verify(url).problems) == 2
    assert build(SPEC, url, shard_size=1000, **COUNTS).made == 2
    assert same(root, here)


def test_another_dataset_is_refused_and_replaced_by_force(url, here):
    build(SPEC, url, shard_size=1000, train=2000, test=0)
    with pytest.raises(InputError, match=r"build\.json: train is 2000 there, and 5000"):
        build(SPEC, url, shard_size=1000, **COUNTS)
    build(SPEC, url, shard_size=1000, force=True, **COUNTS)
    assert same(locate(url), here)


def test_shards_are_fetched_once_and_kept_by_their_hash(url, here, cache):
    build(SPEC, url, shard_size=1000, **COUNTS)
    local, remote = ShardedDigits(here, "train"), ShardedDigits(url, "train")
    assert (remote[:][0] == local[:][0]).all()
    assert (remote[[0, 4999]][1] == local[[0, 4999]][1]).all()
    hashes = {shard.sha256 for shard in read_manifest(here).splits["train"].shards}
    assert {path.stem for path in cache.iterdir()} == hashes
    root = locate(url)
    for name in names(root) - {"manifest.json"}:
        (root / name).unlink()
    assert (ShardedDigits(url, "train")[:][0] == local[:][0]).all()


def test_a_wrong_byte_never_reaches_the_cache(url, cache):
    build(SPEC, url, shard_size=1000, **COUNTS)
    shard = locate(url) / "train-00003-of-00005.h5"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(BuildError, match=r"train-00003-of-00005\.h5: damaged"):
        ShardedDigits(url, "train")
    late = ShardedDigits(url, "train", verify=False)
    with pytest.raises(BuildError, match=r"train-00003-of-00005\.h5: damaged"):
        late[3500]
    assert len(list(cache.iterdir())) < 5


def test_a_shard_that_cannot_be_fetched_is_named(url):
    build(SPEC, url, shard_size=1000, **COUNTS)
    late = ShardedDigits(url, "train", verify=False)
    (locate(url) / "train-00003-of-00005.h5").unlink()
    with pytest.raises(BuildError, match=r"train-00003-of-00005\.h5: cannot read"):
        late[3500]


def test_a_cache_that_cannot_be_written_is_named(url, cache):
    build(SPEC, url, shard_size=1000, **COUNTS)
    late = ShardedDigits(url, "train", verify=False)
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file")
    with pytest.raises(BuildError, match=r"shards/[0-9a-f]{64}\.h5: cannot write: [^\n]+\Z"):
        late[3500]


def test_a_cached_file_that_was_damaged_is_fetched_again(url, cache):
    build(SPEC, url, shard_size=1000, **COUNTS)
    ShardedDigits(url, "train")
    victim = next(cache.iterdir())
    sound = victim.read_bytes()
    content = bytearray(sound)
    content[5000] ^= 1
    victim.write_bytes(content)
    ShardedDigits(url, "train")
    assert victim.read_bytes() == sound


def test_a_cluster_writes_to_a_store(store, here, tmp_path):
    found = Cluster(tmp_path)
    url = f"{store}/cluster"
    try:
        for _ in range(3):
            found.add_worker()
        found.ready(3)
        with cluster(found.address) as (executor, threads):
            build(SPEC, url, shard_size=1000, executor=executor, workers=threads, **COUNTS)
        assert same(locate(url), here)
    finally:
        found.stop()


def test_a_bucket_that_is_not_there(store):
    with pytest.raises(InputError, match="s3://nowhere/x: not a dataset"):
        verify("s3://nowhere/x")


@pytest.mark.parametrize(
    ("where", "message"), [("nope://x/y", "nope://x/y: Unsupported"), ("gs://x/y", "gs://x/y: Please install gcsfs")]
)
def test_urls_that_cannot_be_read(where, message):
    with pytest.raises(InputError, match=message):
        verify(where)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "https://127.0.0.1:1/x"])
def test_what_can_only_be_read_is_no_place_for_a_build(url):
    with pytest.raises(InputError, match=r"http[^\n]+ can only be read; give a folder[^\n]+\Z"):
        build(SPEC, url, **COUNTS)


@pytest.mark.parametrize("where", [None, 3, b"x"])
def test_what_is_no_path_is_refused(where):
    for door in (lambda: verify(where), lambda: build(SPEC, where, **COUNTS), lambda: arrays(where, "train")):
        with pytest.raises(InputError, match=re.escape(repr(where))):
            door()


def test_a_name_that_no_file_can_have_is_told(tmp_path):
    assert "File name too long" in verify(tmp_path / ("x" * 300)).problems[0]
    with pytest.raises(InputError, match="neither a bundled dataset nor an existing file"):
        load_spec("x" * 300)
    with pytest.raises(InputError, match=r"'name: x'\.\.\.: is a text"):
        load_spec("name: x\nslots: [{center: [0, 0]}]")


def test_the_home_is_found_wherever_a_path_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(kernel_folder().parent))  # not compiled again in the new home
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert locate("~/x") == locate(Path("~/x")) == tmp_path / "x"
    (tmp_path / "mine.yaml").write_text("name: mine\nslots: [{center: [0, 0]}]")
    build("~/mine.yaml", "~/x", train=1000, test=0)
    assert verify("~/x").ok
    assert verify(Path("~/x")).ok
    export("~/x", "~/y", "npz")
    assert (tmp_path / "y" / "export.json").is_file()
    with pytest.raises(InputError, match=str(tmp_path / "none")):
        load_digits("train", Path("~/none"))
    with pytest.raises(InputError, match=str(tmp_path / "none")):
        build(SPEC, "~/z", digits="~/none")
    with pytest.raises(InputError, match="nobody-of-this-name"):
        locate("~nobody-of-this-name/x")


def test_what_a_store_cannot_do_is_told_in_one_line():
    told = r"memory://x/y: cannot write: there is no way to do that there\Z"
    with pytest.raises(BuildError, match=told), failing("write", locate("memory://x/y")):
        raise NotImplementedError
    with pytest.raises(NotImplementedError), failing("write", Path("x")):
        raise NotImplementedError


def test_folders_stay_paths(tmp_path):
    assert locate(tmp_path) == tmp_path
    assert locate("data/x") == Path("data/x")
    assert locate(f"file://{tmp_path}") == tmp_path
    assert is_local(locate("x"))
    assert not is_local(locate("memory://x/y"))


def test_where_copies_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("MNISTCOMPOSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("shards") == tmp_path / "mnistcompose" / "shards"
    monkeypatch.setenv("MNISTCOMPOSE_CACHE", "")  # as unset
    assert cache_folder("digits") == tmp_path / "mnistcompose" / "digits"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MNISTCOMPOSE_CACHE", "~/kept")
    assert cache_folder("digits") == tmp_path / "kept" / "digits"
    monkeypatch.setenv("MNISTCOMPOSE_CACHE", "s3://bucket/kept")
    with pytest.raises(InputError, match="MNISTCOMPOSE_CACHE: s3://bucket/kept: a URL"):
        cache_folder("digits")
