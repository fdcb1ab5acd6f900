"""What a dataset's manifest says and what its files hold must agree before an image is read."""

import hashlib
import json
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

import h5py
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnistcompose import BuildError, InputError, build, load_spec, verify
from mnistcompose.storage.manifest import manifest_bytes, read_manifest

pytest.importorskip("torch")

from mnistcompose import ShardedDigits

SPEC = load_spec("MNIST-III-10")
SIZE = {"train": 2300, "test": 1000, "shard_size": 1000}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "x"
    build(SPEC, root, **SIZE)
    return root


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_shards_of_another_key_are_not_read(tmp_path: Path, compression):
    """All hashes agree, and the files say that they are of another seed."""
    build(SPEC, tmp_path, seed=1, compression=compression, **SIZE)
    manifest = read_manifest(tmp_path).model_copy(update={"seed": 0})
    (tmp_path / "manifest.json").write_bytes(manifest_bytes(manifest))
    with pytest.raises(BuildError, match=r"train-0000\d-of-00003\.h5: seed is 1, in the manifest 0\Z"):
        ShardedDigits(tmp_path, "train")
    with pytest.raises(BuildError, match=r"train-00002-of-00003\.h5: seed is 1, in the manifest 0\Z"):
        ShardedDigits(tmp_path, "train", verify=False)._shards.load(2)


def test_a_dataset_can_be_read_while_others_have_its_files_open(finished: Path):
    shard = finished / "train-00000-of-00003.h5"
    for options in ({}, {"locking": False}, {"locking": True}):
        with h5py.File(shard, **options) as one, h5py.File(finished / "train.h5", **options) as joined:
            assert (ShardedDigits(finished, "train")[:5][0][:, 0].numpy() == joined["images"][:5]).all()
            assert (one["images"][:5] == joined["images"][:5]).all()


def test_a_dataset_can_be_read_while_others_lock_its_files(finished: Path):
    fcntl = pytest.importorskip("fcntl")
    expected = ShardedDigits(finished, "train")[:][1]
    with ExitStack() as held:
        for path in finished.glob("*.h5"):
            fcntl.flock(held.enter_context(path.open("rb")), fcntl.LOCK_EX)
        for check in (True, False):
            assert (ShardedDigits(finished, "train", verify=check)[:][1] == expected).all()
        assert verify(finished, rerender=10).ok
        assert build(SPEC, finished, **SIZE).kept == 4


def leaves(value: object, path: tuple = ()) -> list[tuple]:
    """Paths of all values in nested dicts and lists, the containers included."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for key, each in below for leaf in leaves(each, (*path, key)))]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 300),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([[], {}, [[]], {"x": 1}, "gzip", "0" * 64, 1000, 2000, [0.0, 1.0], "natural"]),
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_with_a_changed_field_is_refused_or_read_right(finished: Path, tmp_path: Path, data):
    """Sealed again by someone who knows how; whatever the field, no other exception and no other image."""
    fields = json.loads((finished / "manifest.json").read_bytes())
    del fields["digest"]
    *way, last = data.draw(st.sampled_from(leaves(fields)[1:]))
    place = fields
    for key in way:
        place = place[key]
    place[last] = data.draw(VALUES)
    root = tmp_path / "x"
    if not root.exists():
        shutil.copytree(finished, root)
    sealed = hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (root / "manifest.json").write_text(json.dumps({**fields, "digest": sealed}))
    for check in (True, False):
        with suppress(InputError, BuildError):
            read = ShardedDigits(root, "train", verify=check)[:]
            assert all(
                (ours == theirs).all() for ours, theirs in zip(read, ShardedDigits(finished, "train")[:], strict=True)
            )
