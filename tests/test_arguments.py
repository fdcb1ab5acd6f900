"""Values are canonical at the public door: numpy's integers are welcome, floats and booleans are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mnistcompose as mc
from mnistcompose.arguments import flag, here, positions, whole
from mnistcompose.errors import InputError
from mnistcompose.quantities import there_are
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


@pytest.mark.parametrize("bad", [1.0, True, -1, 2**63])
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


# --- indices --------------------------------------------------------------------------------------------------------

INTEGERS = [np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]


@st.composite
def indices(draw: st.DrawFn) -> tuple[int, Any]:
    """A length, and an index that may be out of range."""
    length = draw(st.integers(0, 700))
    number = st.integers(-length - 2, length + 2) | st.integers(-(2**65), 2**65)
    kind = draw(st.sampled_from(["number", "slice", "list", "array", "scalar", "mask", "list mask"]))
    match kind:
        case "number":
            return length, draw(number)
        case "slice":
            part = st.none() | st.integers(-length - 2, length + 2)
            return length, slice(draw(part), draw(part), draw(part.filter(lambda step: step != 0)))
        case "list":
            return length, draw(st.lists(number, max_size=5))
        case "array" | "scalar":
            dtype = draw(st.sampled_from(INTEGERS))
            low, high = (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
            inside = st.integers(max(low, -length), min(high, max(length - 1, 0))) | st.integers(low, high)
            array = np.array(draw(st.lists(inside, min_size=1, max_size=5)), dtype)
            return length, array if kind == "array" else array[0]
        case _:
            size = draw(st.sampled_from([length, length, length + 1]))
            mask = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, size).astype(bool)
            return length, mask if kind == "mask" else mask.tolist()


@given(indices())
@settings(max_examples=1000, deadline=None)
def test_an_index_means_what_it_means_to_numpy(drawn: tuple[int, Any]) -> None:
    length, index = drawn
    whole_axis = np.arange(length)
    try:
        wanted = whole_axis[np.array([], np.int64) if isinstance(index, list) and not index else index]
        if getattr(index, "dtype", None) == np.uint64 and (np.asarray(index) >= 2**63).any():
            raise IndexError  # NumPy takes 2**64 - 1 for -1
    except (IndexError, OverflowError):
        with pytest.raises(IndexError, match=there_are(length, "image")):
            positions(index, length)
    else:
        found = positions(index, length)
        assert found.dtype == np.int64
        assert np.array_equal(found, wanted)
        assert found.shape == np.shape(wanted)


@given(indices())
@settings(deadline=None)
def test_a_tensor_means_what_it_means_to_torch(drawn: tuple[int, Any]) -> None:
    torch = pytest.importorskip("torch")
    length, index = drawn
    if not isinstance(index, np.ndarray):
        return
    tensor = torch.from_numpy(index)
    for kind in (tensor.dtype, torch.uint8) if index.dtype == bool else (tensor.dtype,):
        try:  # torch knows indices of int32 and int64 only
            wanted = torch.arange(length)[tensor if index.dtype in (bool, np.uint8) else tensor.to(torch.int64)]
            wanted = None if index.dtype == np.uint64 and (index > 2**63 - 1).any() else wanted
        except IndexError:
            wanted = None
        if wanted is None:
            with pytest.raises(IndexError, match=there_are(length, "image")):
                positions(tensor.to(kind), length)
        else:
            assert positions(tensor.to(kind), length).tolist() == wanted.tolist()


@pytest.mark.parametrize(
    "index",
    [1.5, "1", [0.0], [[1, 2], [3, 4]], [[1], [2, 3]], [[True] * 5], None, True, np.True_, np.zeros(2), object()],
)
def test_what_is_no_index_is_a_type_error(index: Any) -> None:
    with pytest.raises(TypeError, match="an index is a whole number, a slice, a list of whole numbers or a mask"):
        positions(index, 5)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "an empty path"),
        ("s3://bucket/x", "a URL"),
        (Path("s3://bucket/x"), "s3:/bucket/x: a URL with one slash"),  # pathlib has dropped a slash
        ("file:/x", "a URL with one slash"),
    ],
)
def test_what_names_no_file_of_this_machine_is_refused(path: str | Path, message: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        here(path)
    if "://" not in str(path):
        with pytest.raises(InputError, match=message):
            mc.build("MNIST-II-01", path, train=10, test=0)
        assert not list(tmp_path.iterdir())


def test_a_folder_that_looks_like_a_url_can_be_used_if_it_is_there(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old:").mkdir()
    assert here("old:/x") == Path("old:/x")
    assert here("c:/x") == Path("c:/x")
    assert here(tmp_path / "new:/x") == tmp_path / "new:/x"


@pytest.mark.parametrize(("value", "meant"), [(True, True), (np.True_, True), (np.False_, False)])
def test_true_and_false_of_any_type(value: object, meant: bool) -> None:
    assert flag("force", value) is meant


@pytest.mark.parametrize("value", ["False", "no", "", None, 1, 1.0, [False]])
def test_text_and_numbers_are_neither_true_nor_false(value: object, tmp_path: Path) -> None:
    """`force=os.environ["FORCE"]` would replace a dataset where it says "False"."""
    size = {"train": 10, "test": 0}
    mc.build("MNIST-II-01", tmp_path / "x", **size)
    before = (tmp_path / "x" / "manifest.json").read_bytes()
    for name, call in {
        "force": lambda: mc.build("MNIST-II-01", tmp_path / "x", seed=1, force=value, **size),
        "masks": lambda: mc.build("MNIST-II-01", tmp_path / "y", masks=value, **size),
        "force ": lambda: mc.export(tmp_path / "x", tmp_path / "z", "npz", force=value),
        "verify": lambda: mc.arrays(tmp_path / "x", "train", verify=value),
        "invert": lambda: mc.DigitSource(invert=value),
    }.items():
        with pytest.raises(InputError, match=f"{name.strip()} = .*: allowed are True and False"):
            call()
    assert (tmp_path / "x" / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("value", [1.5, True, float("nan"), "all", -2])
def test_an_amount_to_render_again_is_a_whole_number(value: object, tmp_path: Path) -> None:
    mc.build("MNIST-II-01", tmp_path / "x", train=10, test=0)
    with pytest.raises(InputError, match="rerender = "):
        mc.verify(tmp_path / "x", rerender=value)
    assert mc.verify(tmp_path / "x", rerender=np.int64(3)).rendered == 3


def test_a_batch_size_may_be_an_integer_of_numpy() -> None:
    pytest.importorskip("torch")
    data = mc.ComposedDigits("MNIST-II-01", "train", length=10)
    assert [len(images) for images, _ in data.batches(np.int64(4), threads=np.int8(1))] == [4, 4, 2]
    for wrong in ({"batch_size": 1.5}, {"batch_size": True}, {"batch_size": 4, "threads": 1.5}):
        with pytest.raises(InputError, match="allowed are whole numbers"):
            next(data.batches(**wrong))


def test_one_split_may_be_named_alone(tmp_path: Path) -> None:
    mc.build("MNIST-II-01", tmp_path / "x", train=10, test=10)
    assert mc.export(tmp_path / "x", tmp_path / "y", "npz", splits="test").counts == {"test": 10}
    with pytest.raises(InputError, match=r"splits = \(\): names none of train and test"):
        mc.export(tmp_path / "x", tmp_path / "z", "npz", splits=())
