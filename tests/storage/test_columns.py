"""Splits as NumPy arrays and as a source of samples hold what plain h5py reads, without torch."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mnistcompose import ArraySource, BuildError, InputError, arrays, build
from mnistcompose.storage.schema import COLUMNS

COUNT = 2300


@pytest.fixture(scope="module", params=["none", "gzip", "masks"])
def root(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path_factory.mktemp("set") / "x"
    options: dict[str, Any] = {"masks": True} if request.param == "masks" else {"compression": request.param}
    build("MNIST-II-01", folder, train=COUNT, test=100, shard_size=1000, **options)
    return folder


@pytest.fixture(scope="module")
def truth(root: Path) -> dict[str, NDArray[Any]]:
    with h5py.File(root / "train.h5") as file:
        return {name: file[name][...] for name in file}


def test_a_source_says_what_it_is(root: Path) -> None:
    for columns in (["labels"], "labels"):
        assert repr(ArraySource(root, "test", columns)) == f"ArraySource({str(root)!r}, 'test', ('labels',))"


def test_every_column_is_there_as_it_is_stored(root: Path, truth: dict[str, NDArray[Any]]) -> None:
    columns = arrays(root, "train")
    assert set(columns) == set(truth)
    assert tuple(columns) in (COLUMNS, (*COLUMNS, "masks"))
    for name, column in columns.items():
        whole = np.asarray(column)
        assert (column.shape, column.dtype, len(column)) == (whole.shape, whole.dtype, COUNT)
        assert (whole.dtype, whole.shape) == (truth[name].dtype, truth[name].shape)
        assert np.array_equal(whole, truth[name])
        assert np.array_equal(list(column), truth[name])


def test_a_column_is_compared_by_its_elements(root: Path, truth: dict[str, NDArray[Any]]) -> None:
    columns = arrays(root, "train")
    labels, some = columns["labels"], int(truth["labels"][3])
    assert np.array_equal(labels == some, truth["labels"] == some)
    assert np.array_equal(labels != some, truth["labels"] != some)
    assert (labels == truth["labels"]).all()
    assert len({*columns.values()}) == len(columns)


def test_an_array_of_a_column_is_a_copy(root: Path, truth: dict[str, NDArray[Any]]) -> None:
    labels = arrays(root, "train")["labels"]
    assert np.array_equal(labels.__array__(copy=True), truth["labels"])
    with pytest.raises(ValueError, match="labels is in files"):
        labels.__array__(copy=False)


@given(rows=st.lists(st.integers(-COUNT, COUNT - 1), max_size=8))
@settings(max_examples=15, deadline=None)
def test_an_index_is_numpys(root: Path, truth: dict[str, NDArray[Any]], rows: list[int]) -> None:
    columns, source = arrays(root, "train", verify=False), ArraySource(root, "train", verify=False)
    mask = np.isin(np.arange(COUNT), np.array(rows, int))
    for index in (*rows[:2], rows, slice(*(rows[:2] or [None])), mask):
        picked = np.array(index, np.int64) if isinstance(index, list) else index
        for name in ("images", "labels", "box"):
            assert np.array_equal(columns[name][index], truth[name][picked])
        for name, found in source[index].items():
            assert np.array_equal(found, truth[name][picked])
            assert np.asarray(found).dtype == truth[name].dtype
    slots = np.arange(len(rows)) % 2
    for index in (
        (3, 1),
        (slice(50), slice(None), slice(2, None)),
        (rows, slots) if rows else (slice(0),),
        (rows, slots, 2) if rows else (0, ..., 1),
        (rows, slice(None), 3) if rows else (),
        (mask, ..., 0),
        (mask, 1),
        (slice(3, 9), [1, 0]),
        (..., 0),
        ...,
        (),
    ):
        assert np.array_equal(columns["box"][index], truth["box"][index]), index


def test_what_is_read_belongs_to_the_caller(root: Path, truth: dict[str, NDArray[Any]]) -> None:
    images = arrays(root, "train")["images"]
    images[:][:] = 0
    images[5][:] = 0
    assert np.array_equal(images[:], truth["images"])
    with pytest.raises(TypeError, match="item assignment"):
        images[0] = 0  # type: ignore[index]


def test_what_cannot_be_is_told(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'image'; there are images, labels, digits"):
        ArraySource(root, "train", ["image"])
    with pytest.raises(InputError, match="no split 'fit'; there are 'train', 'test'"):
        arrays(root, "fit")  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="out of range"):
        ArraySource(root, "train")[COUNT]
    with pytest.raises(InputError, match="not a dataset's folder"):
        arrays(tmp_path / "nothing", "train")
    for path in root.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "train-00001-of-00003.h5").write_bytes(b"damaged")
    for make in (arrays, ArraySource):
        with pytest.raises(BuildError, match="train-00001-of-00003"):
            make(tmp_path, "train")


def test_it_works_without_torch(root: Path, tmp_path: Path, truth: dict[str, NDArray[Any]]) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    code = f"""
import sys
sys.path.insert(0, ".")
import mnistcompose as mc
print(mc.arrays({str(root)!r}, "train")["labels"][:].sum(), mc.ArraySource({str(root)!r}, "train")[7]["labels"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == [str(truth["labels"].sum()), str(truth["labels"][7])], done.stderr


def test_a_source_is_pickled_without_its_data(root: Path, truth: dict[str, NDArray[Any]]) -> None:
    source = ArraySource(root, "train")
    source[5]
    text = pickle.dumps(source)
    assert len(text) < 20_000
    assert np.array_equal(pickle.loads(text)[5]["images"], truth["images"][5])


@pytest.mark.parametrize("workers", [0, 2])
def test_grain_loads_the_same_bytes(root: Path, truth: dict[str, NDArray[Any]], workers: int) -> None:
    grain = pytest.importorskip("grain.python")
    source = ArraySource(root, "train")
    sampler = grain.IndexSampler(len(source), grain.ShardOptions(0, 1), shuffle=True, num_epochs=1, seed=0)
    loader = grain.DataLoader(
        data_source=source,
        sampler=sampler,
        operations=[grain.Batch(100)],
        worker_count=workers,
    )
    order = [sampler[index].record_key for index in range(len(source))]
    batches = list(loader)
    images, labels = (np.concatenate([batch[name] for batch in batches]) for name in ("images", "labels"))
    if workers == 0:  # workers take turns, and batch what each has
        assert images.tobytes() == truth["images"][order].tobytes()
        assert labels.tobytes() == truth["labels"][order].tobytes()
    else:
        pairs = sorted(zip(labels.tolist(), map(bytes, images.reshape(len(images), -1)), strict=True))
        wanted = zip(truth["labels"].tolist(), map(bytes, truth["images"].reshape(COUNT, -1)), strict=True)
        assert pairs == sorted(wanted)
