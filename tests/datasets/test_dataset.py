import pickle
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset
from torchvision.transforms import v2

from mnistcompose import BuildError, ComposedDigits, InputError, ShardedDigits, build, load_spec
from mnistcompose.datasets import composed, sharded
from mnistcompose.storage import open_shards

SPEC = load_spec("MNIST-III-10")
TRAIN, TEST = 2300, 400


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    build(SPEC, folder, train=TRAIN, test=TEST, shard_size=1000)
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    build(SPEC, folder, train=TRAIN, test=TEST, shard_size=1000, compression="gzip")
    return folder


@pytest.fixture(scope="module", autouse=True, params=[True, False], ids=["resident", "mapped"])
def resident(request):
    """Whether a split as small as these is read whole."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.param:
            patch.setattr(sharded, "_RESIDENT", 0)
        yield request.param


@pytest.fixture(scope="module", params=["sharded", "packed", "composed"])
def data(request, root, packed, resident):
    """The same training split three ways."""
    match request.param:
        case "sharded":
            return ShardedDigits(root, "train")
        case "packed":
            return ShardedDigits(packed, "train")
        case _:
            return ComposedDigits(SPEC, "train", length=TRAIN)


@pytest.fixture(scope="module")
def truth(root):
    """What plain h5py reads: images, labels, digits."""
    with h5py.File(root / "train.h5") as file:
        return tuple(file[name][...] for name in ("images", "labels", "digits"))


def assert_is(batch, truth, rows):
    images, targets = batch
    assert images.dtype == torch.uint8
    assert targets.dtype == torch.int64
    assert np.array_equal(images.numpy(), truth[0][rows][:, None])
    assert np.array_equal(targets.numpy(), truth[1][rows])


def test_a_sample_is_an_image_and_a_number(data, truth):
    assert len(data) == TRAIN
    for index in (0, 1234, -1, np.int64(7), torch.tensor(7)):
        image, number = data[index]
        assert image.dtype == torch.uint8
        assert image.shape == (1, 28, 28)
        assert type(number) is int
        assert number == truth[1][index]
        assert np.array_equal(image[0], truth[0][index])


@given(rows=st.lists(st.integers(-TRAIN, TRAIN - 1), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_several_indices_give_a_ready_batch(data, truth, rows):
    for index in (rows, np.array(rows), np.array(rows, np.int16), torch.tensor(rows)):
        assert_is(data[index], truth, rows)
    samples = data.__getitems__(rows)
    assert len(samples) == len(rows)
    assert [number for _, number in samples] == truth[1][rows].tolist()


@pytest.mark.parametrize("index", [slice(3), slice(990, 1010), slice(None, None, 700), slice(5, 2), slice(-3, None)])
def test_a_slice_is_a_ready_batch(data, truth, index):
    assert_is(data[index], truth, index)


def test_a_mask_is_a_ready_batch(data, truth):
    mask = truth[1] % 7 == 3
    for index in (mask, mask.tolist(), torch.from_numpy(mask), torch.from_numpy(mask).byte()):
        assert_is(data[index], truth, mask)
    with pytest.raises(IndexError, match="the mask has 2,299 entries: there are 2,300 images"):
        data[mask[:-1]]


def test_no_index_is_an_empty_batch(data, truth):
    assert_is(data[[]], truth, [])


@pytest.mark.parametrize("index", [TRAIN, -TRAIN - 1, [0, TRAIN], [10**12]])
def test_an_index_out_of_range_is_an_index_error(data, index):
    with pytest.raises(IndexError, match="out of range: there are 2,300 images"):
        data[index]


@pytest.mark.parametrize("index", [1.5, "1", [0.0], [[1, 2], [3, 4]], True, None])
def test_another_index_is_a_type_error(data, index):
    with pytest.raises(TypeError, match="whole number"):
        data[index]


def test_iteration_ends(data):
    part = Subset(data, range(3))
    assert len([number for _, number in part]) == 3
    count = sum(1 for _ in ComposedDigits(SPEC, "test", length=5))
    assert count == 5


def test_as_tensors_is_the_whole_split(data, truth):
    assert_is(data.as_tensors("cpu"), truth, slice(None))
    assert_is(data.as_tensors(torch.device("cpu")), truth, slice(None))


def test_the_test_split_is_the_same_from_disk_and_on_the_fly(root):
    stored, fresh = ShardedDigits(root, "test"), ComposedDigits(SPEC, "test", length=TEST)
    for one, other in zip(stored.as_tensors(), fresh.as_tensors(), strict=True):
        assert torch.equal(one, other)


def test_digits_as_target(root, truth):
    for data in (ShardedDigits(root, "train", target="digits"), ComposedDigits(SPEC, "train", target="digits")):
        _, digits = data[5]
        assert digits.dtype == torch.int64
        assert digits.tolist() == truth[2][5].tolist()
        assert data[[4, 1500]][1].tolist() == truth[2][[4, 1500]].tolist()
        assert (data.classes, data.slots, data.num_classes) == (10, 3, 1000)
    assert ShardedDigits(root, "train", target="digits").as_tensors()[1].shape == (TRAIN, 3)


def test_the_set_of_digits_as_target(root, truth):
    wanted = torch.tensor([[digit in digits.tolist() for digit in range(10)] for digits in truth[2]]).long()
    for data in (
        ShardedDigits(root, "train", target="set"),
        ComposedDigits(SPEC, "train", target="set", length=TRAIN),
    ):
        assert torch.equal(data.as_tensors()[1], wanted)
        assert torch.equal(data[[4, 1500, -1]][1], wanted[[4, 1500, -1]])
        assert data[5][1].tolist() == wanted[5].tolist()
    batches = ComposedDigits(SPEC, "train", target="set", length=TRAIN).batches(100)
    assert torch.equal(next(iter(batches))[1], wanted[:100])


def test_transforms_get_each_image_and_each_target(root, truth):
    options = {"transform": v2.ToDtype(torch.float32, scale=True), "target_transform": lambda number: number % 10}
    for data in (ShardedDigits(root, "train", **options), ComposedDigits(SPEC, "train", **options)):
        image, target = data[9]
        assert image.dtype == torch.float32
        assert image.shape == (1, 28, 28)
        assert target == truth[1][9] % 10
        images, targets = data[[9, 3, 1200]]
        assert torch.equal(images[0], image)
        assert targets.tolist() == (truth[1][[9, 3, 1200]] % 10).tolist()
        assert data.as_tensors()[0].dtype == torch.uint8


def test_random_transforms_differ_within_a_batch(root):
    data = ShardedDigits(root, "train", transform=lambda image: torch.rand(1))
    assert len(data[list(range(20))][0].unique()) == 20


def test_a_pickle_is_small_and_gives_the_same(data, truth):
    assert_is(data[[2, 1700]], truth, [2, 1700])  # files are open, digits are loaded
    text = pickle.dumps(data)
    assert len(text) < 20_000
    assert_is(pickle.loads(text)[[2, 1700]], truth, [2, 1700])
    assert_is(data[[2, 1700]], truth, [2, 1700])


def assert_loads(data, truth, **options):
    assert_is(data[[0, TRAIN - 1]], truth, [0, TRAIN - 1])  # workers begin after files were opened here
    rows = list(range(0, TRAIN, 20))
    images, numbers = zip(*DataLoader(Subset(data, rows), 32, **options), strict=True)
    assert_is((torch.cat(images), torch.cat(numbers)), truth, rows)


def test_a_data_loader_reads_everything_once(data, truth):
    assert_loads(data, truth)
    assert_loads(data, truth, num_workers=2, multiprocessing_context="fork")


def test_spawned_workers_read_the_same(root, truth):
    for data in (ShardedDigits(root, "train"), ComposedDigits(SPEC, "train", length=TRAIN)):
        assert_loads(data, truth, num_workers=2, multiprocessing_context="spawn")


def test_a_loader_of_whole_batches_shuffles(data, truth):
    sampler = BatchSampler(RandomSampler(data, generator=torch.Generator().manual_seed(0)), 100, drop_last=False)
    batches = list(DataLoader(data, batch_size=None, sampler=sampler))
    assert [len(numbers) for _, numbers in batches] == [100] * 23
    assert sorted(torch.cat([numbers for _, numbers in batches]).tolist()) == sorted(truth[1].tolist())


def test_a_repr_is_one_line(data, root):
    text = repr(data)
    assert "\n" not in text
    assert all(part in text for part in (type(data).__name__, "train", "2,300 images", "1,000 classes"))
    assert str(root) in repr(ShardedDigits(root, "test"))


# --- from disk ------------------------------------------------------------------------------------------------------


def copy_of(root, tmp_path):
    for path in root.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("most", [1, 2])
def test_few_files_open_give_the_same(root, packed, truth, most, monkeypatch):
    monkeypatch.setattr(open_shards, "_MAPPED", most)
    monkeypatch.setattr(open_shards, "_DECODED", most * 1000 * (28 * 28 + 8 + 3))
    for folder in (root, packed):
        data = ShardedDigits(folder, "train")
        rows = [2200, 5, 1500, 6, 2201, 1501]
        for _ in range(2):
            assert_is(data[rows], truth, rows)
        assert len(data._shards._open) <= most


def test_virtual_files_are_never_read(root, truth, tmp_path):
    folder = copy_of(root, tmp_path)
    (folder / "train.h5").write_bytes(b"damaged")
    assert_is(ShardedDigits(folder, "train")[[0, 2000]], truth, [0, 2000])


@pytest.mark.parametrize("kind", ["root", "packed"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "missing"])
def test_a_damaged_shard_is_refused(request, kind, damage, tmp_path, resident):
    folder = copy_of(request.getfixturevalue(kind), tmp_path)
    path = folder / "train-00001-of-00003.h5"
    content = bytearray(path.read_bytes())
    match damage:
        case "flip":
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        case "truncate":
            path.write_bytes(content[:-1000])
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
    with pytest.raises(BuildError, match="00001-of-00003"):
        ShardedDigits(folder, "train")
    assert len(ShardedDigits(folder, "test")) == TEST
    unsure = ShardedDigits(folder, "train", verify=False)
    if not resident:
        assert unsure[0][0].shape == (1, 28, 28)
    if damage != "flip":
        with pytest.raises(BuildError, match="00001-of-00003"):
            unsure[1500]


@pytest.mark.parametrize("trick", ["virtual", "external link", "external storage", "other shape"])
def test_pixels_from_elsewhere_are_refused_even_unverified(root, tmp_path, trick):
    folder = copy_of(root, tmp_path)
    path, other = folder / "train-00000-of-00003.h5", folder / "train-00001-of-00003.h5"
    with h5py.File(path, "r+") as file:
        del file["images"]
        match trick:
            case "virtual":
                layout = h5py.VirtualLayout((1000, 28, 28), "u1")
                layout[:] = h5py.VirtualSource(other, "images", (1000, 28, 28))
                file.create_virtual_dataset("images", layout)
            case "external link":
                file["images"] = h5py.ExternalLink(other, "images")
            case "external storage":
                file.create_dataset("images", (1000, 28, 28), "u1", external=[(str(other), 0, 1000 * 784)])
            case "other shape":
                file.create_dataset("images", data=np.zeros((10, 28, 28), np.uint8))
    with pytest.raises(BuildError, match="images"):
        ShardedDigits(folder, "train", verify=False)[0]


def test_what_cannot_be_is_told(root, tmp_path):
    with pytest.raises(InputError, match="not a dataset's folder"):
        ShardedDigits(tmp_path / "nothing", "train")
    with pytest.raises(InputError, match=r"manifest\.json"):
        ShardedDigits(tmp_path, "train")
    with pytest.raises(InputError, match="no split 'fit'; there are 'train', 'test'"):
        ShardedDigits(root, "fit")
    with pytest.raises(InputError, match="target = 'label'"):
        ShardedDigits(root, "train", target="label")


# --- on the fly -----------------------------------------------------------------------------------------------------


def test_a_length_is_the_layouts_or_any():
    assert [len(ComposedDigits(SPEC, split)) for split in ("train", "fit", "validation", "test")] == [
        60_000, 60_000, 10_000, 10_000
    ]  # fmt: skip
    endless = ComposedDigits(SPEC, "train", seed=7, length=10**15)
    assert endless[-1][0].shape == (1, 28, 28)
    assert torch.equal(endless[-1][0], endless[[0, 10**15 - 1]][0][1])


def test_seed_and_split_give_other_images():
    images = {
        ComposedDigits(SPEC, split, seed)[0][0].numpy().tobytes()
        for split in ("train", "test", "fit", "validation")
        for seed in (0, 1)
    }
    assert len(images) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tests"}, "no split 'tests'"),
        ({"split": True}, "no split True"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**63}, "seed = "),
        ({"length": -1}, "length = -1"),
        ({"target": "both"}, "target = 'both'"),
        ({"digits": "nowhere"}, "nowhere: not a folder"),
    ],
)
def test_bad_arguments_are_told(options, message):
    with pytest.raises(InputError, match=message):
        ComposedDigits(SPEC, **{"split": "train", **options})


def test_batches_refuse_an_argument_when_they_are_called():
    for options in ({"batch_size": 0}, {"batch_size": 8, "threads": 0}):
        with pytest.raises(InputError, match=" = 0"):
            ComposedDigits(SPEC, "test").batches(**options)


@pytest.mark.parametrize("name", ["ShardedDigits", "BlockShuffle"])
def test_without_torch_the_remedy_is_named(tmp_path, name):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    code = f"import sys; sys.path.insert(0, '.'); from mnistcompose import {name}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.stderr.splitlines()[-1].endswith("pip install torch torchvision")
    assert "ImportError" in result.stderr


@settings(max_examples=20, deadline=None)
@given(length=st.integers(0, 700), batch_size=st.integers(1, 300), threads=st.integers(1, 3))
def test_batches_made_ahead_are_the_split_in_order(length, batch_size, threads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composed, "_CHUNK", 100)
        data = ComposedDigits(SPEC, "train", length=length, target="digits")
        batches = list(data.batches(batch_size, threads))
    assert [len(images) for images, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    wanted, digits = data[:]
    assert torch.equal(torch.cat([wanted[:0], *(images for images, _ in batches)]), wanted)
    assert torch.equal(torch.cat([digits[:0], *(targets for _, targets in batches)]), digits)


def test_batches_can_be_left_at_any_time():
    assert len(next(ComposedDigits(SPEC, "train", length=10**12).batches(7))[0]) == 7
    with pytest.raises(InputError, match="batch_size = 0"):
        next(ComposedDigits(SPEC, "train").batches(0))


@pytest.mark.parametrize("nothing", [slice(0, 0), [], np.zeros(10, bool)])
def test_an_empty_batch_is_empty_also_with_a_transform(nothing):
    data = ComposedDigits("MNIST-II-01", "train", length=10, transform=lambda image: image.float() / 255)
    images, targets = data[nothing]
    assert (images.shape, targets.shape) == ((0, 1, 28, 28), (0,))
