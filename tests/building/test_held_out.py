"""Datasets with a third split, of the numbers that are held out: built, verified, read, exported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mnistcompose import ComposedDigits, InputError, MNISTCompose, ShardedDigits, build, export, load_spec, verify
from mnistcompose.building.digests import published_digests
from mnistcompose.cli import cli
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.layout.names import extra_names
from mnistcompose.layout.reading import parse_spec
from mnistcompose.rendering.number_choice import pool_of
from mnistcompose.storage.manifest import read_manifest

SPEC = parse_spec("""
name: held-out
slots: [{center: [0, 0]}, {center: [0.8, 0]}]
numbers: {weights: balanced, held_out: {share: 0.2, validation: 0.1}}
""")
SIZES = {"train": 2100, "test": 1400}
COUNTS = {**SIZES, "test_unseen": 400}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("built") / SPEC.name
    report = build(SPEC, root, **SIZES, shard_size=1000)
    assert report.counts == COUNTS
    return root


def numbers(data) -> list[int]:
    return [int(target) for target in data[:][1]]


def test_training_and_test_show_no_held_out_number_and_test_unseen_no_other(folder):
    shown = {split: numbers(ShardedDigits(folder, split)) for split in COUNTS}
    held_out = pool_of(SPEC, "test_unseen", 0, 10).digits @ [10, 1]
    for split, found in shown.items():
        assert len(found) == COUNTS[split]
        assert (set(found) == set(held_out)) if split == "test_unseen" else not set(found) & set(held_out)
    per_number = [np.unique(shown[split], return_counts=True)[1] for split in ("test", "test_unseen")]
    assert set(per_number[0]) == set(per_number[1]) == {20}


def test_verify_checks_every_split_and_finds_another_number(folder, tmp_path):
    report = verify(folder, rerender=-1)
    assert report.ok
    assert (report.images, report.rendered) == (3900, 3900)
    stray = folder / "test_unseen-00000-of-00009.h5"
    stray.touch()
    assert verify(folder).problems == (f"{stray}: not in the manifest",)
    stray.unlink()
    (folder / "test_unseen.h5").rename(tmp_path / "kept")
    assert verify(folder).problems == (f"{folder / 'test_unseen.h5'}: missing",)
    (tmp_path / "kept").rename(folder / "test_unseen.h5")


def test_a_build_resumes_and_replaces_all_splits(tmp_path):
    build(SPEC, tmp_path, **SIZES, shard_size=1000)
    (tmp_path / "test_unseen-00000-of-00001.h5").unlink()
    (tmp_path / "manifest.json").unlink()
    report = build(SPEC, tmp_path, **SIZES, shard_size=1000)
    assert (report.made, report.kept) == (6, 0)  # the journal went with the first build's end
    plain = parse_spec("name: held-out\nslots: [{center: [0, 0]}, {center: [0.8, 0]}]")
    build(plain, tmp_path, train=100, test=100, force=True)
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == [
        "test-00000-of-00001.h5", "test.h5", "train-00000-of-00001.h5", "train.h5",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["idx", "webdataset", "parquet", "png", "npz", "coco"])
def test_an_export_holds_all_splits(folder, tmp_path, kind):
    report = export(folder, tmp_path / kind, kind)
    assert report.counts == COUNTS
    assert report.digests == {split: entry.digest for split, entry in read_manifest(folder).splits.items()}
    card = (tmp_path / kind / "README.md").read_text()
    assert "| test_unseen | 400 |" in card
    assert "--train 2100 --test 1400 --out" in card
    assert "2,100 train, 1,400 test and 400 test_unseen images" in (tmp_path / kind / "croissant.json").read_text()


def test_an_export_of_one_split_and_of_none(folder, tmp_path):
    run = CliRunner().invoke(
        cli, ["export", str(folder), "--format", "npz", "--split", "test_unseen,test", "-o", str(tmp_path / "x")]
    )
    assert run.exit_code == 0, run.output
    assert "1,400 test and 400 test_unseen images" in run.output
    with np.load(tmp_path / "x" / "test_unseen.npz") as arrays:
        assert arrays["labels"].tolist() == numbers(ShardedDigits(folder, "test_unseen"))
    assert "--split test,test_unseen" in (tmp_path / "x" / "README.md").read_text()
    with pytest.raises(InputError, match="split = 'unseen': there are train, test and test_unseen"):
        export(folder, tmp_path / "y", "npz", splits=["unseen"])


def test_mnists_own_classes_and_functions_read_the_files(folder, tmp_path):
    from torchvision.datasets import MNIST
    from torchvision.datasets.mnist import read_label_file

    export(folder, tmp_path / "idx", "idx")
    assert len(MNIST(tmp_path / "idx", train=False)) == 1400
    labels = read_label_file(str(tmp_path / "idx/MNIST/raw/test_unseen-labels-idx1-ubyte"))
    assert labels.tolist() == numbers(ShardedDigits(folder, "test_unseen"))


def test_datasets_know_the_splits(folder):
    made = ComposedDigits(SPEC, "test_unseen", length=400)
    assert numbers(made) == numbers(ShardedDigits(folder, "test_unseen"))
    assert (made[:][0] == ShardedDigits(folder, "test_unseen")[:][0]).all()
    assert len(ComposedDigits(SPEC, "test_unseen")) == 2857  # of 20 numbers, as many each as 10,000 images of 70
    assert len(ComposedDigits(SPEC, "validation_unseen")) == 1429
    assert MNISTCompose(folder.parent, SPEC, split="test_unseen").targets.tolist() == numbers(made)
    plain = SPEC.model_copy(update={"numbers": "any"})
    with pytest.raises(InputError, match="no split 'validation_unseen': the layout holds no numbers out"):
        ComposedDigits(plain, "validation_unseen")


def test_validation_shares_no_held_out_number_and_no_digit_image_with_the_test():
    splits = ("fit", "validation", "validation_unseen", "test_unseen")
    shown = {split: set(numbers(ComposedDigits(SPEC, split, length=2000))) for split in splits}
    assert shown["fit"] == shown["validation"]
    assert [len(each) for each in shown.values()] == [70, 70, 10, 20]
    assert len(set.union(*shown.values())) == 100


def test_the_learner_trains_on_the_seen_numbers_and_measures_on_any_split(folder):
    import torch

    from dcl.data.numbers import open_dataset

    data = open_dataset(str(folder))
    assert list(data.splits) == ["train", "test"]
    images, targets = data.load("test_unseen", "number", torch.device("cpu"))
    assert len(images) == len(targets) == 400


def test_a_command_tells_all_splits(tmp_path):
    path = tmp_path / "layout.yaml"
    path.write_text(f"{SPEC.model_dump_json(exclude_unset=True)}\n")
    run = CliRunner().invoke(cli, ["build", str(path), "--train", "100", "--test", "70", "--dry-run"])
    assert "100 train, 70 test and 20 test_unseen images in 3 shards" in run.output
    run = CliRunner().invoke(cli, ["preview", str(path), "-o", str(tmp_path / "sheet.png"), "--no-open"])
    assert run.exit_code == 0, run.output


def test_what_does_not_fit_the_digits_is_told_before_anything_is_written(tmp_path):
    wide = LayoutSpec.model_validate({"name": "x", "slots": [{"center": [0, 0]}] * 7, "numbers": {}})
    with pytest.raises(InputError, match="7 digits of 10 classes make 10,000,000 numbers"):
        build(wide, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# --- bundled --------------------------------------------------------------------------------------------------------


def splits_of(name: str) -> dict[str, set[str]]:
    spec = load_spec(name)
    return {
        split: {"".join(map(str, own)) for own in pool_of(spec, split, 0, 10).digits.tolist()}
        for split in ("train", "test", "test_unseen", "validation_unseen")
    }


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("n-digit-mnist-2", (70, 70, 30, 30)),
        ("n-digit-mnist-3", (700, 700, 100, 200)),
        ("DoubleMNIST", (64, 64, 20, 16)),
        ("TripleMNIST", (640, 640, 200, 160)),
        ("MNIST-III-10-heldout", (800, 800, 200, 200)),
    ],
)
def test_bundled_layouts_have_the_published_numbers_of_numbers(name, sizes):
    sets = splits_of(name)
    assert tuple(map(len, sets.values())) == sizes
    assert not sets["train"] & (sets["test_unseen"] | sets["validation_unseen"])


def test_the_double_mnist_numbers_are_those_that_its_generator_shuffles():
    for name, count in (("DoubleMNIST", 100), ("TripleMNIST", 1000)):
        order = list(range(count))
        np.random.RandomState(123).shuffle(order)
        texts = [f"{number:0{len(str(count - 1))}d}" for number in order]
        sets = splits_of(name)
        assert sets["train"] == set(texts[: count * 64 // 100])
        assert sets["test_unseen"] == set(texts[count * 80 // 100 :])


def test_bundled_layouts_with_numbers_are_published():
    withs = [name for name in extra_names() if load_spec(name).numbers != "any"]
    assert set(withs) <= set(published_digests())
    for name in withs:
        assert ("test_unseen" in published_digests()[name]) == load_spec(name).holds_out


def test_verify_compares_a_bundled_extra_with_its_published_digest(tmp_path, monkeypatch):
    from mnistcompose.building import verify as verification

    spec = load_spec("n-digit-mnist-2").model_copy(update={"train": 700, "test": 700})
    report = build(spec, tmp_path)
    monkeypatch.setattr(verification, "load_spec", lambda name: spec)
    table = {"n-digit-mnist-2": report.digests}
    monkeypatch.setattr(verification, "published_digests", lambda: table)
    assert replace(verify(tmp_path), root=Path()) == replace(verify(tmp_path), root=Path(), published=True, problems=())
    table["n-digit-mnist-2"] = {**report.digests, "test_unseen": "0" * 64}
    (problem,) = verify(tmp_path).problems
    assert "the test_unseen digest is" in problem
    assert json.loads((tmp_path / "build.json").read_text())["train"] == 700
