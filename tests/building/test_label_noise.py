"""Wrong labels in training splits: exact in expectation, never right by chance, and the truth is kept."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mnistcompose import (
    ComposedDigits,
    InputError,
    LayoutSpec,
    ShardedDigits,
    build,
    export,
    load_digits,
    load_spec,
    verify,
)
from mnistcompose.building.worker import compose_shard
from mnistcompose.digits.bank import DigitBank
from mnistcompose.layout.names import bundled_names
from mnistcompose.layout.reading import parse_spec
from mnistcompose.rendering.compose import compose
from mnistcompose.rendering.draws import ABSENT, draw, draw_at, numbers
from mnistcompose.rendering.render import labels
from mnistcompose.storage.digests import block_digests, pieces_digest, split_digest
from mnistcompose.storage.hdf5 import encode, read_shard
from mnistcompose.storage.manifest import Manifest, manifest_bytes, read_manifest

BANK = load_digits("train")


def layout(noise=0.2, kind="symmetric", slots=2, **more):
    place = [{"center": [each, 0]} for each in range(slots)]
    return LayoutSpec.model_validate({"name": "x", "slots": place, "labels": {"noise": noise, "kind": kind}, **more})


def small_bank(classes, images=40):
    """A bank in which all classes occur."""
    own = (np.arange(images) % classes).astype(np.uint8)
    return DigitBank(BANK.images[:images], own, BANK.boxes[:images], classes, "0" * 64)


@given(
    st.sampled_from(["symmetric", "neighbour"]),
    st.integers(1, 9),
    st.integers(2, 60),
    st.integers(0, 2**63 - 1),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_a_wrong_label_is_another_number_of_the_layout(kind, slots, classes, seed, data):
    classes = min(classes, int(2 ** (63 / slots)))
    lengths = data.draw(st.lists(st.integers(1, slots), min_size=1, max_size=3))
    spec = layout(1.0, kind, slots, length={"choice": lengths})
    bank = small_bank(classes, 60)
    noisy, digits = labels(bank, draw(spec, "train", 0, 200, seed, bank))
    clean = numbers(digits, classes)
    assert (noisy != clean).all()  # noise: 1, so a flip to itself would show
    assert (noisy >= 0).all()
    assert (noisy < classes ** max(lengths)).all()
    if kind == "neighbour":
        for own, wrong, right in zip(digits.tolist(), noisy.tolist(), clean.tolist(), strict=True):
            present = [digit for digit in own if digit != ABSENT]
            near = [
                [*present[:place], (digit + step) % classes, *present[place + 1 :]]
                for place, digit in enumerate(present)
                for step in (1, -1)
            ]
            assert right != wrong
            assert wrong in [sum(d * classes**p for p, d in enumerate(reversed(each))) for each in near]


@pytest.mark.parametrize("kind", ["symmetric", "neighbour"])
@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_the_rate_is_exact_in_expectation(kind, noise):
    shift = draw(layout(noise, kind), "train", 0, 100_000, 0, BANK).label_shift
    assert stats.binomtest(int((shift != 0).sum()), len(shift), noise).pvalue > 1e-4


@given(
    st.sampled_from(["symmetric", "neighbour"]), st.integers(0, 10**12), st.integers(0, 30), st.integers(0, 2**63 - 1)
)
def test_any_range_alone_has_the_same_colours_and_labels(kind, start, count, seed):
    tint = {"by_digit": [[10 * each, 255, 0] for each in range(10)], "agree": 0.5}
    spec = layout(0.5, kind, 3, output={"channels": 3}, digit={"tint": tint}, length={"choice": [1, 3]})
    whole = draw(spec, "train", start, start + count + 9, seed, BANK)
    part = draw(spec, "train", start + 9, start + count + 9, seed, BANK)
    back = draw_at(spec, "train", np.arange(start + 9, start + count + 9)[::-1], seed, BANK)
    for name in ("tint", "label_shift"):
        assert np.array_equal(getattr(whole, name)[9:], getattr(part, name))
        assert np.array_equal(getattr(part, name)[::-1], getattr(back, name))


def test_symmetric_noise_takes_all_other_numbers_alike():
    bank = small_bank(3)
    noisy, digits = labels(bank, draw(layout(1.0), "train", 0, 40_000, 0, bank))
    for right in range(9):
        found = np.bincount(noisy[numbers(digits, 3) == right], minlength=9)
        assert found[right] == 0
        assert stats.chisquare(np.delete(found, right)).pvalue > 1e-5


def test_a_neighbour_is_one_step_of_any_digit_alike():
    noisy, digits = labels(BANK, draw(layout(1.0, "neighbour"), "train", 0, 40_000, 0, BANK))
    steps = (np.stack([noisy // 10, noisy % 10], axis=1) - digits.astype(int)) % 10
    kinds = [[1, 0], [9, 0], [0, 1], [0, 9]]
    counts = [int((steps == kind).all(axis=1).sum()) for kind in kinds]
    assert sum(counts) == len(noisy)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_only_training_splits_have_noise_and_noise_moves_no_pixel():
    for split in ("train", "fit", "validation", "test"):
        bank = load_digits(split)
        clean, noisy, other = (
            compose(bank, spec, split, 0, 0, 300) for spec in (layout(0.0), layout(0.3), layout(0.6, "neighbour"))
        )
        assert np.array_equal(clean.images, noisy.images)
        assert np.array_equal(clean.images, other.images)
        assert np.array_equal(clean.digits, noisy.digits)
        assert np.array_equal(clean.labels, noisy.labels) == (split in ("validation", "test"))
        assert (noisy.labels != clean.labels)[other.labels == clean.labels].sum() == 0  # more noise adds to less


def test_the_default_is_in_no_canonical_form_and_other_noise_is():
    for name in bundled_names():
        spec = load_spec(name)
        assert "labels" not in json.loads(spec.canonical)
        assert spec.canonical == spec.canonical_pixels
    none = [layout(0.0), layout(0.0, "neighbour"), LayoutSpec(name="x", slots=layout().slots)]
    assert len({spec.digest for spec in none}) == 1
    some = [layout(0.2), layout(0.3), layout(0.2, "neighbour")]
    assert len({spec.digest for spec in (*none, *some)}) == 4
    assert len({spec.canonical_pixels for spec in (*none, *some)}) == 1


def test_one_class_has_no_other_number(tmp_path):
    with pytest.raises(InputError, match=r"x: labels\.noise = 0\.2: digits of a single class make no other number"):
        draw(layout(), "train", 0, 0, 0, small_bank(1))


# --- stored ---------------------------------------------------------------------------------------------------------

SIZES = {"train": 1500, "test": 200, "shard_size": 1000}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy") / "x"
    build(layout(0.25), folder, **SIZES)
    return folder


def test_a_dataset_keeps_the_truth(root, tmp_path):
    assert verify(root, rerender=-1).problems == ()
    entry = read_manifest(root).splits["train"].shards[1]
    shard = read_shard(root / entry.name, entry.sha256)
    assert np.array_equal(shard.labels_clean, numbers(shard.digits, 10))
    assert np.mean(shard.labels != shard.labels_clean) == pytest.approx(0.25, abs=0.06)
    export(root, tmp_path / "npz", "npz", splits=("train",))
    assert "25 % of the labels are wrong on purpose (symmetric noise)" in (tmp_path / "npz" / "README.md").read_text()
    with np.load(tmp_path / "npz" / "train.npz") as arrays:
        assert np.array_equal(arrays["labels_clean"][1000:], shard.labels_clean)
        assert np.array_equal(arrays["labels"][1000:], shard.labels)


def test_other_datasets_have_no_such_column(tmp_path):
    build(layout(0.0), tmp_path / "x", **SIZES)
    assert "labels_clean" not in read_manifest(tmp_path / "x").form.columns
    assert "labels" not in read_manifest(tmp_path / "x").spec or not read_manifest(tmp_path / "x").layout.labels.noise
    assert verify(tmp_path / "x", rerender=100).ok


@pytest.mark.parametrize("make", [ShardedDigits, ComposedDigits])
def test_a_dataset_gives_noisy_or_clean_numbers(root, make):
    where = (root, "train") if make is ShardedDigits else (layout(0.25), "train", 0, 1500)
    wanted = compose_shard(BANK, layout(0.25), "train", 0, 0, 1500)
    for target, truth in (("number", wanted.labels), ("clean", wanted.labels_clean), ("digits", wanted.digits)):
        assert np.array_equal(make(*where, target=target).as_tensors()[1].numpy(), truth)
    assert (wanted.labels != wanted.labels_clean).any()


@pytest.mark.parametrize(
    ("split", "change", "told"),
    [
        (
            "train",
            lambda shard: replace(shard, labels=shard.labels_clean),
            "labels of sample .* is not what the layout",
        ),
        ("train", lambda shard: replace(shard, labels_clean=shard.labels), "is not the number that its digits make"),
        (
            "test",
            lambda shard: replace(shard, labels=(shard.labels + (np.arange(1000) == 7)) % 100),
            "the label of sample 7 is wrong; only training labels have noise",
        ),
    ],
)
def test_verify_knows_which_labels_are_wrong(tmp_path, split, change, told):
    """A shard with other labels under a sealed manifest, as another program would have to forge it."""
    spec = layout(0.25)
    build(spec, tmp_path, train=1000, test=1000, shard_size=1000)
    manifest = read_manifest(tmp_path)
    entry = manifest.splits[split].shards[0]
    shard = change(read_shard(tmp_path / entry.name, entry.sha256))
    content = encode(shard)
    (tmp_path / entry.name).write_bytes(b"".join(content))
    blocks = list(block_digests(shard.images, shard.labels))
    forged = entry.model_copy(
        update={"sha256": pieces_digest(content), "bytes": sum(map(len, content)), "blocks": blocks}
    )
    own = manifest.splits[split].model_copy(update={"shards": [forged], "digest": split_digest(blocks)})
    sealed = Manifest.model_validate({**dict(manifest), "splits": {**manifest.splits, split: own}})
    (tmp_path / "manifest.json").write_bytes(manifest_bytes(sealed))
    problems = verify(tmp_path).problems
    assert any(re.search(told, problem) for problem in problems), problems


def test_wrong_labels_are_never_numbers_that_are_held_out():
    text = "name: x\nslots: [{center: [0, 0]}, {center: [1, 0]}]\nlabels: {noise: 0.1}\n"
    parse_spec(text)
    with pytest.raises(InputError, match=r"labels\.noise: a wrong label could be a number that is held out"):
        parse_spec(text + "numbers: {held_out: {share: 0.2}}\n")
