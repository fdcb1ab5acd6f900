"""The layouts in specs/extra, built, verified, loaded and exported."""

import io
import json
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mnistcompose import InputError, build, export, load_digits, load_spec, verify
from mnistcompose.building.worker import compose_shard
from mnistcompose.cli import cli
from mnistcompose.layout.names import extra_names
from mnistcompose.rendering.draws import ABSENT
from mnistcompose.storage.hdf5 import read_shard
from mnistcompose.storage.manifest import read_manifest

BANK = load_digits("train")
COUNT = 1500
SIZES = {"train": COUNT, "test": 100, "shard_size": 1000}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """All extra layouts, two of them with masks, one of these compressed."""
    root = tmp_path_factory.mktemp("extra")
    for name in extra_names():
        options = {"MNIST-boxes": {"masks": True}, "MNIST-colour": {"masks": True, "compression": "gzip"}}.get(name, {})
        build(load_spec(name), root / name, **SIZES, **options)
    return {name: root / name for name in extra_names()}


@pytest.mark.parametrize("name", extra_names())
def test_a_build_holds_what_the_layout_gives(folders, name):
    report = verify(folders[name], rerender=-1)
    assert report.problems == ()
    splits = read_manifest(folders[name]).splits
    assert report.rendered == report.images == sum(entry.count for entry in splits.values())
    assert (splits["train"].count, splits["test"].count) == (COUNT, 100)
    manifest, wanted = (
        read_manifest(folders[name]),
        compose_shard(BANK, load_spec(name), "train", 0, 0, COUNT, masks=True),
    )
    with h5py.File(folders[name] / "train.h5") as whole:  # as anyone reads it, through the virtual file
        for column in manifest.form.columns:
            assert np.array_equal(whole[column][...], getattr(wanted, column))


def test_masks_change_no_image_and_no_digest(tmp_path):
    spec = load_spec("MNIST-II-05")
    digests = [build(spec, tmp_path / str(masks), masks=masks, **SIZES).digests for masks in (False, True)]
    assert digests[0] == digests[1]
    assert "masks" not in json.loads((tmp_path / "False" / "manifest.json").read_text())
    with pytest.raises(InputError, match=r"masks is true there, and unset in this build"):
        build(spec, tmp_path / "True", **SIZES)


def test_a_lost_mask_is_found(tmp_path):
    build(load_spec("MNIST-II-05"), tmp_path, masks=True, **SIZES)
    path = tmp_path / "train-00001-of-00002.h5"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1  # in the masks, which come last
    path.write_bytes(content)
    assert "train-00001-of-00002.h5: damaged" in verify(tmp_path).problems[0]
    report = build(load_spec("MNIST-II-05"), tmp_path, masks=True, **SIZES)
    assert (report.made, report.kept) == (1, 2)
    assert verify(tmp_path, rerender=200).ok


def test_the_command_makes_masks(tmp_path):
    run = CliRunner().invoke(
        cli,
        ["build", "MNIST-II-01", "--masks", "--train", "1000", "--test", "0", "--out", str(tmp_path / "x"), "--json"],
    )
    assert run.exit_code == 0, run.output
    manifest = read_manifest(tmp_path / "x")
    entry = manifest.splits["train"].shards[0]
    assert read_shard(tmp_path / "x" / entry.name, entry.sha256).masks.shape == (1000, 2, 28, 28)


def test_a_shard_larger_than_memory_allows_is_refused(tmp_path):
    spec = load_spec("MNIST-boxes").model_copy(
        update={"output": load_spec("MNIST-boxes").output.model_copy(update={"width": 256, "height": 256})}
    )
    with pytest.raises(InputError, match=r"shard_size = 100000: .* in a file, .* at most \d\d000\Z"):
        build(spec, tmp_path / "x", shard_size=100_000, masks=True)
    assert not (tmp_path / "x").exists()


# --- torch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", extra_names())
def test_datasets_give_images_as_torch_has_them(folders, name):
    torch = pytest.importorskip("torch")
    from mnistcompose import ComposedDigits, ShardedDigits

    spec = load_spec(name)
    wanted = compose_shard(BANK, spec, "train", 0, 0, COUNT)
    channels_first = wanted.images[:, None] if wanted.images.ndim == 3 else np.moveaxis(wanted.images, -1, 1)
    shown = np.where(wanted.digits == ABSENT, 10, wanted.digits)
    for target, truth in (
        ("number", wanted.labels),
        ("digits", shown),
        ("set", np.stack([np.bincount(own, minlength=11)[:10] > 0 for own in shown])),
    ):
        for data in (
            ShardedDigits(folders[name], "train", target=target),
            ComposedDigits(spec, "train", 0, COUNT, target=target),
        ):
            images, targets = data[[3, 1200, 7]]
            assert np.array_equal(images.numpy(), channels_first[[3, 1200, 7]])
            assert np.array_equal(targets.numpy(), truth[[3, 1200, 7]])
            images, targets = data.as_tensors()
            assert images.is_contiguous()
            assert images.shape[1:] == data.image_shape
            assert torch.equal(images, torch.from_numpy(channels_first))
            assert np.array_equal(targets.numpy(), truth)


@pytest.mark.parametrize("name", ["MultiMNIST-tasks", "MNIST-colour"])
@pytest.mark.parametrize("model", ["A3S", "oracle"])
def test_networks_train_on_other_sizes_and_colours(folders, tmp_path, monkeypatch, name, model):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    trained = CliRunner().invoke(
        cli, ["train", str(folders[name]), "--model", model, "--epochs", "1", "--out", str(out), "--device", "cpu"]
    )
    assert trained.exit_code == 0, trained.output
    measured = CliRunner().invoke(cli, ["evaluate", str(out), str(folders[name]), "--json"])
    assert measured.exit_code == 0, measured.output
    error = json.loads((out / "run.json").read_text())["error_percent"]
    assert json.loads(measured.output)["error_percent"] == pytest.approx(error)


def test_models_of_numbers_refuse_varying_lengths_before_anything_is_built(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(cli, ["train", "MNIST-lengths", "--out", "run"])
    assert isinstance(run.exception, InputError)
    assert "MNIST-lengths: numbers of varying length" in str(run.exception)
    assert not (tmp_path / "data").exists()


# --- exports --------------------------------------------------------------------------------------------------------


def test_coco_holds_the_boxes_and_masks_of_the_digits_that_are_there(folders, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    export(folders["MNIST-boxes"], tmp_path / "coco", "coco")
    found = coco.COCO(tmp_path / "coco" / "annotations" / "instances_train.json")
    wanted = compose_shard(BANK, load_spec("MNIST-boxes"), "train", 0, 0, COUNT, masks=True)
    assert len(found.anns) == (wanted.digits != ABSENT).sum()
    for index in (0, 1, 2, 700, COUNT - 1):
        annotations = found.loadAnns(found.getAnnIds(index))
        assert [each["category_id"] for each in annotations] == [d for d in wanted.digits[index] if d != ABSENT]
        for each in annotations:
            mask = wanted.masks[index, each["slot"]] >= 128
            assert np.array_equal(found.annToMask(each), mask)
            assert each["area"] == mask.sum()
            x0, y0, x1, y1 = wanted.box[index, each["slot"]]
            assert each["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1e-4)


def test_npz_holds_the_masks(folders, tmp_path):
    export(folders["MNIST-colour"], tmp_path / "npz", "npz", splits=("train",))
    wanted = compose_shard(BANK, load_spec("MNIST-colour"), "train", 0, 0, COUNT, masks=True)
    with np.load(tmp_path / "npz" / "train.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], wanted.images)
        assert np.array_equal(arrays["masks"], wanted.masks)


def test_colour_survives_png_tars_and_parquet(folders, tmp_path):
    wanted = compose_shard(BANK, load_spec("MNIST-colour"), "train", 0, 0, COUNT).images
    for kind in ("png", "webdataset"):
        export(folders["MNIST-colour"], tmp_path / kind, kind, splits=("train",))
    file = next((tmp_path / "png" / "train").rglob("0000000012.png"))
    assert np.array_equal(np.asarray(Image.open(file)), wanted[12])
    with tarfile.open(tmp_path / "webdataset" / "train-000000.tar") as tar:
        content = tar.extractfile("0000000012.png").read()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), wanted[12])
    datasets = pytest.importorskip("datasets")
    export(folders["MNIST-colour"], tmp_path / "parquet", "parquet", splits=("train",))
    train = datasets.load_dataset(str(tmp_path / "parquet"), split="train", cache_dir=str(tmp_path / "cache"))
    assert np.array_equal(np.asarray(train[12]["image"]), wanted[12])


def test_mnists_own_classes_take_no_colour(folders, tmp_path):
    with pytest.raises(InputError, match="grey images, not colour"):
        export(folders["MNIST-colour"], tmp_path / "idx", "idx")


def test_cards_say_what_is_there(folders, tmp_path):
    export(folders["MNIST-lengths"], tmp_path / "npz", "npz")
    card = " ".join((tmp_path / "npz" / "README.md").read_text().split())
    assert "Numbers of 1, 2, 3, 4 or 5 digits" in card
    assert "in images of 96 x 32 grey pixels" in card
    assert "mnistcompose build MNIST-lengths --seed 0" in card
