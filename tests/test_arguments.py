"""Values are canonical at the public door: numpy's integers are welcome, floats and booleans are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mnistcompose as mc
from mnistcompose.arguments import whole
from mnistcompose.errors import InputError
from mnistcompose.storage.manifest import read_manifest


@given(st.integers(0, 2**62), st.sampled_from([int, np.int64, np.uint64]))
def test_any_integer_type_gives_the_same_real_integer(number: int, kind: type) -> None:
    found = whole("seed", kind(number), 0)
    assert type(found) is int
    assert found == number


@pytest.mark.parametrize("value", [1.0, True, False, np.float32(1), np.bool_(1), "1", None, [1], np.array([1, 2])])
def test_what_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"seed = .*: allowed are whole numbers"):
        whole("seed", value, 0)


@pytest.mark.parametrize("value", [-1, 11, np.int8(-1)])
def test_what_is_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(InputError, match=r"seed = .*: allowed are 0 to 10"):
        whole("seed", value, 0, 10)


@pytest.mark.parametrize("bad", [1.0, True, np.float64(1)])
@pytest.mark.parametrize("field", ["seed", "train", "test", "shard_size"])
def test_a_build_refuses_it_before_anything_is_written(field: str, bad: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{field} = "):
        mc.build("MNIST-II-01", tmp_path / "x", **{"train": 1000, "test": 0, field: bad})
    assert not list(tmp_path.iterdir())


def test_numpy_integers_build_the_same_bytes(tmp_path: Path) -> None:
    plain = mc.build("MNIST-II-01", tmp_path / "a", seed=1, train=2000, test=1000, shard_size=1000)
    other = mc.build(
        "MNIST-II-01",
        tmp_path / "b",
        seed=np.int64(1),
        train=np.uint16(2000),
        test=np.int32(1000),
        shard_size=np.int16(1000),
        workers=np.int8(1),
    )
    assert plain.digests == other.digests
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()
    assert type(read_manifest(tmp_path / "b").seed) is int


@pytest.mark.parametrize("bad", [1.0, True, -1])
def test_draws_and_datasets_refuse_it_too(bad: object) -> None:
    torch = pytest.importorskip("torch")
    assert torch
    bank = mc.load_digits("train")
    with pytest.raises(InputError, match="seed = "):
        mc.draw("MNIST-II-01", "train", 0, 2, bad, bank)
    with pytest.raises(InputError, match="seed = "):
        mc.ComposedDigits("MNIST-II-01", "train", seed=bad)
    same = [mc.ComposedDigits("MNIST-II-01", "train", seed=kind(3), length=kind(4)) for kind in (int, np.int64)]
    assert same[0][3][1] == same[1][3][1]
