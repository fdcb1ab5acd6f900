"""Image sets: files in the real formats, splits, crops and contrast; and one epoch of every network on them."""

import hashlib
import io
import json
import pickle
import shutil
from contextlib import nullcontext
from dataclasses import replace
from importlib import resources
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from idx_files import digits, mnist_like, write
from PIL import Image
from scipy import ndimage
from torchvision import datasets

from dcl.data import image_sets as images
from dcl.data.augmentation import Augmentation
from dcl.data.image_sets import SETS, held_out, open_images, svhn_split
from dcl.data.local_contrast_norm import RANGE, SIGMA, WINDOW, local_contrast
from dcl.experiments import run as experiment
from dcl.experiments.image_recipes import IMAGE_RECIPES, augmentation, recipe_name
from dcl.experiments.inference import load_trained
from dcl.experiments.run import Run, refuse_other, run_one
from dcl.experiments.run_file import read_records, status_of
from dcl.models.networks import IMAGE_NETWORKS, image_network_shape
from dcl.reporting.protocol import IMAGES, follows_protocol
from dcl.reporting.table import check_alike, paper_table2, summarise
from dcl.reporting.table2 import TOP5, paper_gain, pivot
from dcl.training.evaluation import evaluate
from dcl.training.recipe import Recipe, learning_rate
from mnistcompose.errors import BuildError, InputError

CPU = torch.device("cpu")
AS_IT_IS = Augmentation()


# --- files ----------------------------------------------------------------------------------------------------------


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def some_images(count: int, seed: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8)


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, hundred: bool = False, each: int = 8) -> None:
    """The pickled batches of CIFAR's Python version, with their sums in the place of those that torchvision knows."""
    kind = datasets.CIFAR100 if hundred else datasets.CIFAR10
    folder = root / kind.base_folder
    folder.mkdir(parents=True)

    def write(name: str, seed: int) -> list[str]:
        batch = {
            "data": some_images(each, seed).reshape(each, 3072),
            "fine_labels" if hundred else "labels": [i % 10 for i in range(each)],
        }
        (folder / name).write_bytes(pickle.dumps(batch))
        return [name, md5(folder / name)]

    for part in ("train_list", "test_list"):
        names = [name for name, _ in getattr(kind, part)]
        monkeypatch.setattr(kind, part, [write(name, i + 10 * (part == "test_list")) for i, name in enumerate(names)])
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: [str(i) for i in range(10)]}))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / kind.meta["filename"])})


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch, counts: dict[str, int]) -> dict[str, tuple]:
    """SVHN's .mat files: X (H, W, C, N), y (N, 1) with 10 for the digit 0."""
    written, known = {}, {}
    for seed, (part, count) in enumerate(counts.items()):
        pixels, labels = some_images(count, seed), np.arange(count) % 10
        path = root / f"{part}_32x32.mat"
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        scipy.io.savemat(path, {"X": pixels.transpose(2, 3, 1, 0), "y": y})
        written[part], known[part] = (pixels, labels), ["", path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", known)
    monkeypatch.setattr(images, "SVHN_HELD_OUT", (2, 1))
    return written


def write_folder(root: Path, classes: int = 2, each: int = 3) -> None:
    for part, seed in (("train", 0), ("val", 1)):
        for label in range(classes):
            folder = root / part / f"n{label:08d}"
            folder.mkdir(parents=True)
            for i, pixels in enumerate(some_images(each, 10 * seed + label, 40)):
                Image.fromarray(pixels.transpose(1, 2, 0)[: 30 + i]).save(folder / f"{i}.JPEG")


def write_fashion(root: Path, train: int = 36, test: int = 20) -> dict[str, tuple]:
    parts = {"train": digits(train), "test": digits(test, seed=1)}
    write(root, mnist_like(parts["train"], parts["test"]), ".gz")
    return parts


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    images._read.cache_clear()


@pytest.mark.parametrize("hundred", [False, True])
def test_cifars_pickled_batches(hundred: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, hundred)
    data = open_images("cifar100" if hundred else "cifar10", tmp_path, AS_IT_IS)
    batches = 1 if hundred else 5
    assert {name: entry["images"] for name, entry in data.splits.items()} == {"train": 8 * batches, "test": 8}
    pixels, labels = data.load("train", "number", CPU)
    assert torch.equal(pixels, torch.from_numpy(np.concatenate([some_images(8, i) for i in range(batches)])))
    assert labels.tolist() == batches * [i % 10 for i in range(8)]
    assert torch.equal(data.load("test", "number", CPU)[0], torch.from_numpy(some_images(8, 10)))


def test_a_batch_with_another_sum_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"cos\nsystem\n(S'touch unpickled'\ntR.")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="cifar10 train: Dataset not found or corrupted") as caught:
        open_images("cifar10", tmp_path, AS_IT_IS)
    assert "\n" not in str(caught.value)
    assert not Path("unpickled").exists()


def test_svhns_mat_files_and_the_papers_validation_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_svhn(tmp_path, monkeypatch, {"train": 50, "extra": 40, "test": 20})
    data = open_images("svhn", tmp_path, AS_IT_IS)
    assert {name: entry["images"] for name, entry in data.splits.items()} == {"train": 60, "test": 20}
    pixels, labels = data.load("test", "number", CPU)
    assert torch.equal(pixels, local_contrast(torch.from_numpy(written["test"][0])))
    assert labels.tolist() == written["test"][1].tolist()
    cut, _ = open_images("svhn", tmp_path, Augmentation(crop=24)).load("test", "number", CPU)
    assert torch.equal(cut, pixels[:, :, 4:28, 4:28])  # the edges of an image, not of a window, count for contrast
    selection = open_images("svhn", tmp_path, AS_IT_IS, validation=True)
    assert {name: entry["images"] for name, entry in selection.splits.items()} == {"fit": 60, "validation": 30}
    assert all(
        map(torch.equal, data.load("train", "number", CPU), selection.load("fit", "number", CPU))
    )  # the held-out images are trained on in no case
    assert selection.load("validation", "number", CPU)[1].bincount().tolist() == [3] * 10
    both = [images._read("svhn", tmp_path, split).images for split in ("fit", "validation")]
    every = np.concatenate([written["train"][0], written["extra"][0]])
    assert sorted(x.tobytes() for x in np.concatenate(both)) == sorted(x.tobytes() for x in every)


def test_a_folder_of_jpegs_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path)
    pixels, labels, _ = images._read_folder(tmp_path / "train", side=24)
    assert (pixels.shape, pixels.dtype, labels.tolist()) == ((6, 3, 24, 24), np.uint8, [0, 0, 0, 1, 1, 1])
    with Image.open(tmp_path / "train/n00000001/2.JPEG") as image:
        expected = np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels[5], expected)
    monkeypatch.setattr(images, "_decode", None)
    np.testing.assert_array_equal(images._read_folder(tmp_path / "train", side=24).images, pixels)
    monkeypatch.undo()
    (kept,) = tmp_path.glob("train-24-*.npy")
    kept.write_bytes(kept.read_bytes()[:200])
    with pytest.raises(BuildError, match="damaged; delete it"):
        images._read_folder(tmp_path / "train", side=24)
    (tmp_path / "train/n00000000/0.JPEG").unlink()
    assert len(images._read_folder(tmp_path / "train", side=24).images) == 5
    data = open_images("ilsvrc2012", tmp_path, Augmentation(crop=227, flip=True))
    assert (data.classes, data.input_shape, data.data_on_device) == (1000, (3, 227, 227), False)
    assert data.load("test", "number", CPU)[0].shape == (6, 3, 227, 227)
    assert data.load("train", "number", CPU)[0].shape == (5, 3, 256, 256)


@pytest.mark.parametrize("name", IMAGES)
def test_a_run_on_all_images_stands_next_to_the_papers(name: str) -> None:
    whole = {  # of torchvision's documentation, less the paper's validation set of SVHN
        "svhn": (73_257 + 531_131 - 10 * sum(images.SVHN_HELD_OUT), 26_032),
        "cifar10": (50_000, 10_000),
        "cifar100": (50_000, 10_000),
        "ilsvrc2012": (1_281_167, 50_000),
    }
    splits = {split: {"images": count} for split, count in zip(("train", "test"), whole[name], strict=True)}
    networks = [network for dataset, network in paper_table2() if dataset == name and network in IMAGE_NETWORKS]
    assert networks
    for network in networks:
        epochs = IMAGE_RECIPES[recipe_name(network, name)].epochs_of(whole[name][0])
        run = {"model": network, "dataset": name, "measured_on": "test", "splits": splits, "epochs": epochs}
        assert follows_protocol(run)
        assert not follows_protocol({**run, "epochs": epochs + 1})


def test_fashion_mnist_is_found_next_to_mnist_and_never_taken_for_it(tmp_path: Path) -> None:
    bundled = resources.files("mnistcompose") / "data"
    shutil.copytree(str(bundled), tmp_path / "MNIST" / "raw")
    with pytest.raises(InputError, match="holds MNIST, not fashion-mnist; give its folder"):
        open_images("fashion-mnist", tmp_path, AS_IT_IS)
    parts = write_fashion(tmp_path / "FashionMNIST" / "raw")
    read, _ = open_images("fashion-mnist", tmp_path, AS_IT_IS).load("test", "number", CPU)
    assert torch.equal(read[:, 0], torch.from_numpy(parts["test"][0]))


def test_fashion_mnists_idx_files(tmp_path: Path) -> None:
    parts = write_fashion(tmp_path / "FashionMNIST" / "raw")  # where torchvision puts them
    data = open_images("fashion-mnist", tmp_path, AS_IT_IS)
    assert (data.classes, data.slots, data.input_shape, data.data_on_device) == (10, 1, (1, 28, 28), True)
    for split, (pixels, labels) in parts.items():
        read, classes = data.load(split, "number", CPU)
        assert torch.equal(read, torch.from_numpy(pixels)[:, None])
        assert (classes.dtype, classes.tolist()) == (torch.int64, labels.tolist())
    selection = open_images("fashion-mnist", tmp_path, AS_IT_IS, validation=True)
    assert {name: entry["images"] for name, entry in selection.splits.items()} == {"fit": 33, "validation": 3}
    both = torch.cat([selection.load(split, "number", CPU)[0] for split in ("fit", "validation")])
    assert torch.equal(both, torch.from_numpy(parts["train"][0])[:, None])
    cut = open_images("fashion-mnist", tmp_path, Augmentation(crop=24))
    assert cut.input_shape == (1, 24, 24)
    assert torch.equal(cut.load("test", "number", CPU)[0][:, 0], torch.from_numpy(parts["test"][0])[:, 2:26, 2:26])


def test_the_networks_on_fashion_mnist(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    for network in IMAGE_NETWORKS:
        if network.startswith("alexnet"):
            with pytest.raises(InputError, match="28 x 28; the network looks at 227 x 227"):
                open_images("fashion-mnist", tmp_path, augmentation(network, "fashion-mnist"))
            continue
        data = open_images("fashion-mnist", tmp_path, augmentation(network, "fashion-mnist"))
        side = 24 if network.startswith("bignet") else 28
        assert data.input_shape == (1, side, side)
        assert "OUT" in Run(data, network).identity()["notation"]  # every layer fits its input
        assert recipe_name(network, "fashion-mnist").endswith("-fashion-mnist")


def broken_png() -> bytes:
    """A PNG of which a chunk's name is damaged."""
    content = io.BytesIO()
    Image.fromarray(some_images(1, 0, side=300)[0].transpose(1, 2, 0)).save(content, "PNG")
    before, mark, after = content.getvalue().rpartition(b"IDAT")
    return before + mark.replace(b"ID", b"\0\0") + after


@pytest.mark.parametrize("content", [b"", b"no picture", broken_png()])
def test_a_picture_that_cannot_be_read_is_named_and_nothing_is_left(content: bytes, tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "train/n00000001/1.JPEG").write_bytes(content)
    with pytest.raises(InputError, match=r"1\.JPEG: cannot be read") as caught:
        images._read_folder(tmp_path / "train")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "val"]


def test_what_is_not_there_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETS:
        with pytest.raises(InputError, match=str(tmp_path)) as caught:
            open_images(name, tmp_path, AS_IT_IS)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="did you mean cifar10"):
        open_images("CIFAR10", tmp_path, AS_IT_IS)
    write_folder(tmp_path)
    with pytest.raises(InputError, match="256 x 256; the network looks at 300 x 300"):
        open_images("ilsvrc2012", tmp_path, Augmentation(crop=300))
    with pytest.raises(InputError, match="can neither be downloaded"):
        open_images("ilsvrc2012", tmp_path, AS_IT_IS, download=True)

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    for name in ("cifar10", "fashion-mnist"):
        with pytest.raises(BuildError, match=f"{name} cannot be downloaded"):
            open_images(name, tmp_path, AS_IT_IS, download=True)


# --- splits ---------------------------------------------------------------------------------------------------------


def test_the_papers_split_of_svhn() -> None:
    """Section 4.2.1: 73,257 and 531,131 images, of which 6,000 are for validation and 598,388 for training."""
    rng = np.random.default_rng(0)
    train, extra = rng.integers(0, 10, 73_257), rng.integers(0, 10, 531_131)
    of_train, of_extra = svhn_split(train, extra)
    assert np.bincount(train[of_train]).tolist() == [400] * 10
    assert np.bincount(extra[of_extra]).tolist() == [200] * 10
    assert of_train.sum() + of_extra.sum() == 6_000
    assert (~of_train).sum() + (~of_extra).sum() == 598_388


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 4), st.integers(0, 9))
def test_as_many_of_every_class_are_held_out(labels: list[int], each: int, seed: int) -> None:
    of = np.array(labels)
    classes = of.max() + 1
    if min(np.bincount(of, minlength=classes)) < each:
        with pytest.raises(InputError, match="are to be held out"):
            held_out(of, each, seed)
        return
    chosen = held_out(of, each, seed)
    assert np.bincount(of[chosen], minlength=classes).tolist() == [each] * classes
    np.testing.assert_array_equal(held_out(of, each, seed), chosen)


def test_the_choice_is_the_same_on_every_machine() -> None:
    choice = np.flatnonzero(held_out(np.arange(40) % 2, 3)).tolist()
    assert choice == [0, 2, 11, 17, 21, 38]
    assert np.flatnonzero(held_out(np.arange(40) % 2, 3, seed=1)).tolist() != choice


# --- crops, flips, contrast -----------------------------------------------------------------------------------------


@given(
    crop=st.none() | st.integers(1, 7),
    padding=st.integers(0, 4),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=100, deadline=None)
def test_a_random_window_is_one_of_the_padded_images(crop: int | None, padding: int, flip: bool, seed: int) -> None:
    torch.manual_seed(seed)
    batch = torch.randint(256, (3, 2, 7, 8), dtype=torch.uint8)
    windows = Augmentation(crop, padding, flip)(batch)
    height, width = crop or 7, crop or 8
    assert (windows.shape, windows.dtype) == ((3, 2, height, width), torch.uint8)
    padded = np.pad(batch.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)), "reflect")
    for image, window in zip(padded, windows.numpy(), strict=True):
        places = np.lib.stride_tricks.sliding_window_view(image, (height, width), (1, 2))
        forms = [window, window[..., ::-1]] if flip else [window]
        assert any((places == form[:, None, None]).all((0, 3, 4)).any() for form in forms)


def test_windows_and_mirror_images_come_as_often() -> None:
    torch.manual_seed(0)
    batch = torch.arange(5, dtype=torch.uint8).repeat(4000, 1, 5, 1)
    windows = Augmentation(crop=3, padding=1, flip=True)(batch)[:, 0, 0].tolist()
    counts = {window: windows.count(list(window)) for window in map(tuple, windows)}
    assert len(counts) == 8  # five places, each of them mirrored or not, which is the same over an edge
    assert all(300 < count / (1 + (window == window[::-1])) < 500 for window, count in counts.items())


def test_the_central_window() -> None:
    batch = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    assert torch.equal(Augmentation(crop=4).central(batch), batch[:, :, 2:6, 2:6])
    assert torch.equal(Augmentation(padding=4, flip=True).central(batch), batch)


def test_augmentation_reads_nothing_back_from_the_device() -> None:
    batch = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="meta")
    assert Augmentation(24, 4, flip=True)(batch).shape == (4, 3, 24, 24)


def test_local_contrast_is_its_definition() -> None:
    pixels = some_images(2, 0, 12)
    place = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-(place[:, None] ** 2 + place**2) / (2 * SIGMA**2))
    for image, ours in zip(pixels, local_contrast(torch.from_numpy(pixels)).numpy(), strict=True):
        for plane, result in zip(image.astype(float), ours, strict=True):

            def mean(x: np.ndarray) -> np.ndarray:
                parts = (ndimage.convolve(y, window, mode="constant") for y in (x, np.ones_like(x)))
                return np.divide(*parts)

            centred = plane - mean(plane)
            deviation = np.sqrt(mean(centred**2))
            expected = centred / np.maximum(deviation, deviation.mean()) * 127 / RANGE + 128
            assert np.abs(result - expected.clip(1, 255)).max() <= 0.51


@given(scale=st.floats(0.2, 1), shift=st.integers(0, 40), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_local_contrast_takes_brightness_and_contrast_away(scale: float, shift: int, seed: int) -> None:
    pixels = 180 * np.random.default_rng(seed).integers(0, 2, (1, 1, 16, 16))
    plain, changed = (
        local_contrast(torch.from_numpy(np.rint(x).astype(np.uint8))).int() for x in (pixels, pixels * scale + shift)
    )
    assert (plain - changed).abs().max() <= 2


def test_local_contrast_of_one_grey_level_is_none() -> None:
    levels = torch.tensor([0, 7, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 9, 9)
    assert (local_contrast(levels) == 128).all()


def test_an_images_contrast_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.from_numpy(some_images(7, 1))
    together = local_contrast(pixels)
    monkeypatch.setattr("dcl.data.local_contrast_norm.BATCH", 2)
    assert torch.equal(local_contrast(pixels), together)


# --- recipes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "images_", "epochs", "rates"),
    [
        ("lenet", 50_000, 150, {0: 1e-3, 119: 1e-3, 120: 1e-4, 139: 1e-4, 140: 1e-5, 149: 1e-5}),
        ("bignet", 50_000, 200, {0: 1e-2, 119: 1e-2, 120: 1e-3, 179: 1e-3, 180: 1e-4}),  # 6, 3 and 1 million samples
        ("wrn", 50_000, 200, {0: 0.1, 59: 0.1, 60: 0.02, 120: 4e-3, 160: 8e-4}),
        ("wrn-svhn", 598_388, 160, {0: 0.01, 80: 1e-3, 120: 1e-4}),
        ("lenet-fashion-mnist", 60_000, 15, {11: 1e-3, 12: 1e-4, 13: 1e-4, 14: 1e-5}),
        (
            "bignet-fashion-mnist",
            60_000,
            17,
            {0: 1e-2, 9: 1e-2, 11: 1e-3, 16: 1e-4},
        ),  # 0.6, 0.3, 0.1 million samples
        ("wrn-fashion-mnist", 60_000, 20, {5: 0.1, 6: 0.02, 12: 4e-3, 16: 8e-4}),
        ("alexnet", 1_281_167, 90, {0: 1e-2, 19: 1e-2, 20: 1e-3, 40: 1e-4, 60: 1e-5, 80: 1e-6}),
    ],
)
def test_the_papers_schedules(name: str, images_: int, epochs: int, rates: dict[int, float]) -> None:
    recipe = IMAGE_RECIPES[name]
    assert recipe.epochs_of(images_) == epochs
    for epoch, rate in rates.items():
        assert learning_rate(recipe.recipe, epoch, epochs) == pytest.approx(rate)


def test_fashion_mnists_recipes_are_the_papers_in_a_tenth_of_the_length() -> None:
    for name in ("lenet", "bignet", "wrn"):
        ours, papers = IMAGE_RECIPES[f"{name}-fashion-mnist"], IMAGE_RECIPES[name]
        assert ours.epochs_of(60_000) == round(papers.epochs_of(60_000) / 10)
        assert replace(ours, epochs=papers.epochs, samples=papers.samples) == papers


def test_alexnets_rate_falls_every_100_000_of_450_000_batches() -> None:
    recipe = IMAGE_RECIPES["alexnet"].recipe
    assert (recipe.batch_size, recipe.momentum, recipe.weight_decay) == (256, 0.9, 5e-4)
    for step in (0, 99_999, 100_000, 250_000, 399_999, 400_000):
        assert learning_rate(recipe, step, 450_000) == pytest.approx(1e-2 * 0.1 ** (step // 100_000))


def test_what_the_networks_see() -> None:
    assert augmentation("bignet+dcl", "cifar10") == Augmentation(crop=24, flip=True)
    assert augmentation("bignet", "svhn") == Augmentation(crop=24)  # a mirrored digit is none
    assert augmentation("wrn", "cifar100") == Augmentation(padding=4, flip=True)
    assert augmentation("wrn+dcl", "svhn") == augmentation("lenet", "svhn") == Augmentation()
    for network in IMAGE_NETWORKS:
        shape, _ = image_network_shape(network)
        whole = 256 if network.startswith("alexnet") else 32
        assert (augmentation(network, "cifar10").crop or whole) == shape[1]
        assert {recipe_name(network, name) for name in ("svhn", "cifar10")} <= set(IMAGE_RECIPES)


# --- Table 2 --------------------------------------------------------------------------------------------------------


def test_the_papers_table_gives_the_drops_that_its_text_says() -> None:
    """Section 4.2.1, and 4.2.2's "about 0.5%"."""
    said = {"lenet": (9.74, 4.44, 4.38), "bignet": (7.31, 5.33, 3.87), "wrn": (4.52, 3.07, 1.65)}
    for network, drops in said.items():
        for dataset, drop in zip(("svhn", "cifar10", "cifar100"), drops, strict=True):
            assert paper_gain(dataset, f"{network}+dcl") == pytest.approx(drop, abs=0.005)
    assert paper_gain("ilsvrc2012", "alexnet+dcl") == pytest.approx(0.5, abs=0.02)
    assert paper_gain(TOP5, "alexnet+dcl") == pytest.approx(0.9, abs=0.02)
    assert len(paper_table2()) == 3 * (8 + 6) + 4


def a_record(model: str, seed: int, wrong: list[int], dataset: str = "cifar10") -> dict:
    counts = IMAGES.get(dataset, {"train": 60_000, "test": 10_000})
    return {
        "determined_by": {
            "dataset": dataset, "model": model, "seed": seed, "measured_on": "test",
            "epochs": IMAGE_RECIPES[recipe_name(model, dataset)].epochs_of(counts["train"]),
            "splits": {split: {"images": count} for split, count in counts.items()},
        },
        "error_percent": len(wrong) / 10, "wrong": wrong, "parameters": 1234, "seconds": 1.0,
    }  # fmt: skip


def test_the_form_of_table_2() -> None:
    records = [
        a_record("bignet+dcl", 0, list(range(72))),
        a_record("bignet", 0, list(range(80))),
        a_record("lenet", 0, list(range(140))),
        a_record("lenet", 1, list(range(142))),
        a_record("lenet", 0, list(range(40)), "svhn"),
    ]
    head, lines = pivot(summarise(records))
    assert head == [
        "network", "svhn %", "to w/o DCL [95 %]", "drop %", "paper %", "paper's",
        "cifar10 %", "to w/o DCL [95 %]", "drop %", "paper %", "paper's", "parameters", "runs",
    ]  # fmt: skip
    (row,) = (row for row in summarise(records) if row.model == "bignet+dcl")
    interval = f"-0.08 [{row.low:+.2f}, {row.high:+.2f}]"
    assert lines == [
        ["LeNet (w/o DCL)", "4.00", "", "", "4.21", "", "14.10(14)", "", "", "14.18", "", "1,234", "1/2"],
        ["BigNet (w/o DCL)", "", "", "", "2.19", "", "8.00", "", "", "7.88", "", "1,234", "1"],
        ["BigNet (w/ DCL)", "", "", "", "2.03", "7.31", "7.20", interval, "10.00", "7.46", "5.33", "1,234", "1"],
    ]
    selection = a_record("lenet", 0, [1])
    selection["determined_by"] |= {"measured_on": "validation", "splits": {"validation": {"images": 1000}}}
    assert pivot(summarise([selection]))[1][0][:5] == ["LeNet (w/o DCL)", "0.10", "", "", ""]
    others = pivot(summarise(records), others=True)[1]
    assert others[8:] == lines
    assert others[0] == ["Zeiler et al. [48]", "", "", "", "2.80", "", "", "", "", "15.13", "", "", ""]


def test_a_set_that_the_paper_lacks_has_no_columns_of_the_paper() -> None:
    base, two, three = (
        a_record(f"lenet{form}", 0, list(range(wrong)), "fashion-mnist")
        for form, wrong in (("", 100), ("+dcl", 90), ("+dcl3s", 80))
    )
    records = [base, two, three, a_record("lenet", 0, [1], "cifar10")]
    head, lines = pivot(summarise(records), others=True)
    assert head[6:] == ["fashion-mnist %", "to w/o DCL [95 %]", "drop %", "parameters", "runs"]
    assert [line[0] for line in lines[-3:]] == ["LeNet (w/o DCL)", "LeNet (w/ DCL)", "LeNet (w/ DCL, 3 stochastic)"]
    assert [line[-3] for line in lines[-3:]] == ["", "10.00", "20.00"]
    assert lines[-1][7].startswith("-0.20 [")
    assert {len(line) for line in lines} == {len(head)}


def test_ilsvrc2012_has_its_top_5_errors_beside() -> None:
    records = [
        {**a_record("alexnet", 0, list(range(440)), "ilsvrc2012"), "top5_error_percent": 20.0},
        {**a_record("alexnet+dcl", 0, list(range(430)), "ilsvrc2012"), "top5_error_percent": 19.5},
    ]
    head, lines = pivot(summarise(records))
    assert head[6] == "ilsvrc2012 top-5 %"
    assert [line[6:11] for line in lines] == [["20.00", "", "", "19.87", ""], ["19.50", "", "2.50", "19.69", "0.91"]]
    alone = {**a_record("alexnet", 1, [1], "ilsvrc2012"), "top5_error_percent": 90.0}  # a seed that DCL lacks
    assert pivot(summarise([*records, alone]))[1][1][6:11] == lines[1][6:11]
    assert len(pivot(summarise([a_record("alexnet", 0, [1], "ilsvrc2012")]))[0]) == 8  # of older runs it is not known


# --- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("alexnet", "alexnet+dcl3s") else name
        for name in IMAGE_NETWORKS
    ],
)
def test_an_epoch_of_every_network(network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ilsvrc2012" if network.startswith("alexnet") else "svhn" if network == "lenet" else "cifar10"
    name = "fashion-mnist" if network.endswith("3s") and name == "cifar10" else name
    if name == "ilsvrc2012":
        write_folder(tmp_path)
    elif name == "fashion-mnist":
        write_fashion(tmp_path)
    elif name == "svhn":
        write_svhn(tmp_path, monkeypatch, {"train": 30, "extra": 20, "test": 10})
    else:
        write_cifar(tmp_path, monkeypatch, each=2)
    data = open_images(name, tmp_path, augmentation(network, name))
    run = Run(data, network, epochs=1, recipe=Recipe(batch_size=4, lr=1e-3), device="cpu")
    assert run.file == f"{name}/{network}-0.json"
    record = run_one(run, tmp_path / "run.json", keep=True)
    assert np.isfinite(record["history"]["train_loss"]).all()
    assert record["determined_by"] == json.loads(json.dumps(run.identity()))
    trained = load_trained(tmp_path / "run.json")
    again = evaluate(trained.net, data.load("test", "number", CPU), trained.normalisation, "cpu")
    assert np.flatnonzero(again.wrong).tolist() == record["wrong"]
    (tmp_path / "run.pt").unlink()  # AlexNet's has 0.4 GB


def test_compare_images(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "files"
    write_cifar(root, monkeypatch)
    ask = ("compare-images", "cifar10", "--networks", "lenet", "--root", root, "--epochs", 1, "--batch-size", 8)
    code, out, err = command(*ask, "--device", "cpu", "--markdown")
    assert (code, err) == (0, "")
    assert [line.split(" | ")[0] for line in out.splitlines()[2:]] == ["| LeNet (w/o DCL)", "| LeNet (w/ DCL)"]
    assert "| 14.18 |" not in out  # of one epoch on a few images
    stored = sorted(path.name for path in read_records(tmp_path / "results/table2/cifar10-lenet"))
    assert stored == ["lenet+dcl-0.json", "lenet-0.json"]
    monkeypatch.setattr("dcl.experiments.run.fit", None)
    assert command(*ask, "--device", "cpu", "--markdown")[1] == out  # nothing is trained twice
    assert command("compare-images", "--markdown")[1] == out
    rows = json.loads(command("compare-images", "--json")[1])
    assert [(row["model"], row["paper_percent"]) for row in rows] == [("lenet", None), ("lenet+dcl", None)]
    code, _, err = command(*ask, "--device", "cpu", "--lr", 0.5)
    assert (code, err.count("\n")) == (2, 1)
    assert "recipe.lr = 0.001, not 0.5" in err
    images._read.cache_clear()
    code, out, _ = command("compare-images", "--others")
    assert code == 0
    assert "Zeiler" in out


def test_a_network_that_fails_does_not_stop_the_others(command, tmp_path: Path, monkeypatch) -> None:
    real = experiment.fit

    def fit(net, *arguments, **options):
        if options["metadata"]["model"] == "lenet":
            raise MemoryError("too large")
        return real(net, *arguments, **options)

    monkeypatch.setattr(experiment, "fit", fit)
    write_fashion(tmp_path / "files")
    ask = ("--networks", "lenet,bignet", "--root", tmp_path / "files", "--epochs", 1, "--device", "cpu")
    code, _, err = command("compare-images", "fashion-mnist", *ask)
    assert (code, err.count("\n")) == (1, 1)
    assert "lenet-0.json: MemoryError: too large" in err
    stored = read_records(tmp_path / "results/table2/fashion-mnist-bignet").values()
    assert [status_of(record) for record in stored] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("networks", "models"),
    [
        ("lenet", ["lenet", "lenet+dcl"]),
        ("lenet+dcl", ["lenet", "lenet+dcl"]),
        ("lenet+dcl3s", ["lenet", "lenet+dcl3s"]),
        ("lenet,lenet+dcl3s", ["lenet", "lenet+dcl", "lenet+dcl3s"]),
    ],
)
def test_which_forms_compare_images_trains(command, networks: str, models: list[str], tmp_path: Path) -> None:
    write_fashion(tmp_path / "files")
    ask = ("compare-images", "fashion-mnist", "--networks", networks, "--root", tmp_path / "files", "--epochs", 1)
    code, out, err = command(*ask, "--device", "cpu", "--keep", "--json")
    assert (code, err) == (0, "")
    assert [row["model"] for row in json.loads(out)] == models
    run = tmp_path / f"results/table2/fashion-mnist-lenet/fashion-mnist/{models[-1]}-0.json"
    assert command("evaluate", run, "fashion-mnist", "--root", tmp_path / "files", "--device", "cpu")[0] == 0
    code, _, err = command("predict", run, "a.png")  # its classes are no numbers, although its images are 28 x 28
    assert (code, err.count("\n")) == (2, 1)
    assert "was trained on fashion-mnist; only models of" in err


def test_evaluate_and_predict_after_compare_images(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "files"
    write_cifar(root, monkeypatch)
    ask = ("compare-images", "cifar10", "--networks", "bignet", "--root", root, "--epochs", 1, "--batch-size", 8)
    assert command(*ask, "--device", "cpu", "--keep")[0] == 0
    run = tmp_path / "results/table2/cifar10-bignet/cifar10/bignet-0.json"
    stored = json.loads(run.read_text())
    code, out, _ = command("evaluate", run, "cifar10", "--root", root, "--device", "cpu", "--json")
    assert code == 0
    again = json.loads(out)
    assert [again[key] for key in ("error_percent", "top5_error_percent")] == [
        stored[key] for key in ("error_percent", "top5_error_percent")
    ]
    assert command("evaluate", run, "cifar10", "--root", root, "--split", "train", "--device", "cpu")[0] == 0
    code, _, err = command("evaluate", run, "MNIST-II-01", "--device", "cpu")
    assert (code, err.splitlines()[-1]) == (2, "mnistcompose: MNIST-II-01: slots = 2, the model was trained with 1")
    code, _, err = command("predict", run, "a.png")
    assert (code, err.count("\n")) == (2, 1)
    assert "bignet was trained on cifar10" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar1",), "did you mean cifar10?"),
        (("cifar10", "--networks", "linet"), "did you mean lenet?"),
        (("cifar10", "--networks", "lenet"), "cifar10 train: Dataset not found"),
        (("ilsvrc2012", "--networks", "alexnet"), "data/train: "),
        (("--out", "nothing"), "nothing: holds no runs"),
    ],
)
def test_bad_input_ends_with_one_line(command, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = command("compare-images", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not any(Path.cwd().iterdir())


def identity(name: str, root: Path) -> dict:
    images._read.cache_clear()
    return open_images(name, root, AS_IT_IS).identity()


def test_a_set_is_identified_by_all_pixels_that_are_in_memory(tmp_path: Path) -> None:
    pixels, labels = digits(36)
    for name in ("first", "again"):
        write(tmp_path / name, mnist_like((pixels, labels), digits(20)))
    first = identity("fashion-mnist", tmp_path / "first")
    assert identity("fashion-mnist", tmp_path / "again") == first
    pixels[-1, -1, -1] ^= 1
    write(tmp_path / "second", mnist_like((pixels, labels), digits(20)))
    second = identity("fashion-mnist", tmp_path / "second")
    assert second["splits"]["test"] == first["splits"]["test"]
    differing = {key for key, value in first["splits"]["train"].items() if second["splits"]["train"][key] != value}
    assert differing == {"images_sha256"}


def test_a_folder_is_identified_by_names_sizes_and_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path)
    monkeypatch.setattr(images, "_SAMPLE", 2)  # of six files: the first and the fourth
    read: list[str] = []
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or plain(path))
    first = identity("ilsvrc2012", tmp_path)
    assert len(read) == 2 * 2
    assert identity("ilsvrc2012", tmp_path) == first
    chosen, other, renamed = (tmp_path / f"train/n00000000/{number}.JPEG" for number in (0, 1, 7))
    content = plain(chosen)
    for change, undo in (
        (lambda: chosen.write_bytes(content[:-1] + b"\0"), lambda: chosen.write_bytes(content)),  # same size
        (lambda: other.write_bytes(plain(other) + b"\0"), lambda: other.write_bytes(plain(other)[:-1])),  # another size
        (lambda: other.rename(renamed), lambda: renamed.rename(other)),
    ):
        change()
        assert identity("ilsvrc2012", tmp_path) != first
        undo()
        assert identity("ilsvrc2012", tmp_path) == first


def with_hashes(record: dict, value: str | None) -> dict:
    splits = record["determined_by"]["splits"]
    for entry in splits.values():
        entry |= {} if value is None else {"images_sha256": value}
    return record


@pytest.mark.parametrize("order", [*permutations((None, "a", "b"))])
def test_runs_on_other_images_are_not_in_one_table(order: tuple) -> None:
    """A run that was stored without hashes belongs to any; two that have them must agree."""
    records = {value: with_hashes(a_record("lenet", seed, [1]), value) for seed, value in enumerate((None, "a", "b"))}
    with pytest.raises(InputError, match="differ in splits"):
        check_alike([records[value] for value in order])
    check_alike([records[value] for value in order if value != "b"])


@pytest.mark.parametrize(("stored", "refused"), [(None, False), ("a", False), ("b", True)])
def test_a_run_on_other_images_is_not_resumed(stored: str | None, refused: bool) -> None:
    there, wanted = (with_hashes(a_record("lenet", 0, [1]), value)["determined_by"] for value in (stored, "a"))
    with pytest.raises(InputError, match="was made with splits") if refused else nullcontext():
        refuse_other(Path("run.json"), there, wanted, ["splits"])
    with pytest.raises(InputError, match="was made with seed"):
        refuse_other(Path("run.json"), there | {"seed": 3}, wanted, ["seed"])
