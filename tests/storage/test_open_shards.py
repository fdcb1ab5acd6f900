"""The shards of all datasets of a process share one limit, and threads read the same."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mnistcompose import BuildError, build
from mnistcompose.storage import open_shards
from mnistcompose.storage.manifest import read_manifest
from mnistcompose.storage.open_shards import OpenShards

NAMES = ("images", "labels", "digits")


@pytest.fixture(scope="module", params=["none", "gzip"])
def root(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("set") / "x"
    build("MNIST-II-01", folder, train=6000, test=0, shard_size=1000, compression=request.param)
    return folder


def shards_of(root: Path) -> OpenShards:
    return OpenShards(root, read_manifest(root), "train", NAMES)


def mapped() -> int:
    """How many shards this process maps; on Linux only."""
    return sum(".h5" in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_all_datasets_of_the_process_share_one_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_shards, "_MAPPED", 4)
    monkeypatch.setattr(open_shards, "_DECODED", 4 * 1000 * (28 * 28 + 8 + 2))
    before = mapped()
    sets = [shards_of(root) for _ in range(3)]
    random = np.random.default_rng(0)
    recent: list[tuple[int, int]] = []
    for owner, number in random.integers(0, (3, 6), (200, 2)).tolist():
        sets[owner][number]
        recent = [*[each for each in recent if each != (owner, number)][-3:], (owner, number)]
        kept = {(which, each) for which, shards in enumerate(sets) for each in shards._open}
        assert kept == set(recent)  # those used last
        assert mapped() - before <= 4
    del sets
    assert mapped() == before  # nothing stays open longer than its dataset


def test_the_newest_shard_stays_open_however_large(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_shards, "_DECODED", 1)
    shards = shards_of(root)
    assert shards[0] is shards[0]
    shards[1]
    assert list(shards._open) == [1]


def test_a_low_limit_of_the_system_is_respected(root: Path) -> None:
    pytest.importorskip("resource")
    code = f"""
import resource
from torch.utils.data import ConcatDataset
from mnistcompose import ShardedDigits
from mnistcompose.datasets import sharded
sharded._RESIDENT = 0
data = ConcatDataset([ShardedDigits({str(root)!r}, "train") for _ in range(30)])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(sum(data[index][1] for index in range(0, len(data), 1000)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels = [shards_of(root)[number]["labels"][0] for number in range(6)]
    assert int(done.stdout) == 30 * sum(labels)


def test_threads_read_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_shards, "_MAPPED", 2)
    monkeypatch.setattr(open_shards, "_DECODED", 2 * 1000 * (28 * 28 + 8 + 2))
    shards = shards_of(root)
    whole = {name: np.concatenate([shards.load(number)[name] for number in range(6)]) for name in NAMES}

    def check(seed: int) -> bool:
        rows = np.random.default_rng(seed).integers(0, 6000, 50)
        return all(np.array_equal(array, whole[name][rows]) for name, array in shards.gather(rows, NAMES).items())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(60)))


def test_arrays_are_those_of_the_file_where_it_can_be_mapped_and_cannot_be_changed(root: Path) -> None:
    arrays = shards_of(root)[0]
    assert all(array.flags.aligned for array in arrays.values())
    if read_manifest(root).compression == "none":
        assert not arrays["images"].flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            arrays["images"][0] = 0


def test_shards_of_another_key_are_found(root: Path) -> None:
    other = read_manifest(root).model_copy(update={"seed": 1})
    with pytest.raises(BuildError, match=r"train-0000\d-of-00006\.h5: seed is 0, in the manifest 1\Z"):
        OpenShards(root, other, "train", NAMES).verify()
    with pytest.raises(BuildError, match=r"train-00003-of-00006\.h5: seed is 0, in the manifest 1\Z"):
        OpenShards(root, other, "train", NAMES)[3]
    shards_of(root).verify()


def test_a_shard_that_is_not_there_or_stored_otherwise_is_told_in_one_line(root: Path, tmp_path: Path) -> None:
    """A manifest that says 'none' of compressed shards; of others, 'gzip' is harmless."""
    manifest = read_manifest(root)
    other = "gzip" if manifest.compression == "none" else "none"
    shards = OpenShards(root, manifest.model_copy(update={"compression": other}), "train", NAMES)
    if other == "none":
        with pytest.raises(BuildError, match=r"00002-of-00006\.h5: images is compressed, in the manifest it is not"):
            shards[2]
    else:
        assert (shards[2]["images"] == shards_of(root)[2]["images"]).all()
    with pytest.raises(BuildError, match=r"train-00002-of-00006\.h5: cannot read: No such file or directory\Z"):
        OpenShards(tmp_path, manifest, "train", NAMES)[2]
