"""Addition pairs, read back by readers written from the published formats of DeepProbLog and NeurASP."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mnistcompose import InputError, addition_pairs, load_digits
from mnistcompose.cli import cli, main
from mnistcompose.digits.addition import SPLITS

OWN = {"test": load_digits("test").labels}  # MNIST's files by split; 'fit' and 'validation' are of the training file
COUNTS = {split: len(load_digits(split).labels) for split in SPLITS}


def labels_of(split):
    return OWN.get(split, load_digits("train").labels)


def read_json(text, split):
    """DeepProbLog's `to_json`: [EXAMPLE, ...]; EXAMPLE is [ARGS, result], ARGS [NUMBER, ...], NUMBER [image id, ...].

    Yields the two lists of images and the result, after checking the result as its loader computes it: each number
    from its images' labels, digit by digit, and their sum.
    """
    for arguments, result in json.loads(text):
        numbers = [int("".join(str(labels_of(split)[image]) for image in number)) for number in arguments]
        assert sum(numbers) == result
        yield arguments, result


def read_lines(text, split):
    """NeurASP's files: whole numbers with one space between them; i, j and the sum."""
    for line in text.splitlines():
        *images, result = (int(word) for word in line.strip().split(" "))
        half = len(images) // 2
        arguments = [images[:half], images[half:]]
        numbers = [int("".join(str(labels_of(split)[image]) for image in number)) for number in arguments]
        assert sum(numbers) == result
        yield arguments, result


@given(st.sampled_from(SPLITS), st.integers(1, 18), st.integers(0, 2**63 - 1))
@settings(max_examples=12, deadline=None)
def test_both_formats_hold_right_sums_and_each_image_once(split, digits, seed):
    pairs = addition_pairs(split, digits, seed)
    assert len(pairs) == COUNTS[split] // (2 * digits)
    used = pairs.images.ravel()
    assert len(np.unique(used)) == len(used)
    for found in (list(read_json(pairs.to_json(), split)), list(read_lines(pairs.to_lines(), split))):
        assert [arguments for arguments, _ in found] == pairs.images.tolist()
        assert [result for _, result in found] == pairs.sums.tolist()
    assert len(pairs.to_lines().split("\n", 1)[0].split(" ")) == 2 * digits + 1


def test_fit_and_validation_share_no_image():
    fit, validation = (addition_pairs(split).images for split in ("fit", "validation"))
    assert (fit.max(), validation.min(), validation.max()) == (54_999, 55_000, 59_999)


def test_the_order_is_random_and_a_function_of_split_and_seed():
    pairs = addition_pairs("train", 2, 3)
    assert np.array_equal(pairs.images, addition_pairs("train", np.int64(2), np.uint8(3)).images)
    assert np.array_equal(pairs.images.ravel(), addition_pairs("train", 1, 3).images.ravel())
    assert not np.array_equal(pairs.images, addition_pairs("train", 2, 4).images)
    order = addition_pairs("train", 1, 0).images.ravel()
    assert stats.kendalltau(np.arange(len(order)), order).pvalue > 1e-4
    first, second = load_digits("train").labels[order].reshape(-1, 2).T
    assert stats.chi2_contingency(np.histogram2d(first, second, bins=10)[0]).pvalue > 1e-4


FIRST = ["30462 8319 8", "43780 25368 11", "37278 56109 15"]
FIRST_OF_TWO = "[[[[574, 922], [812, 8486]], 90],"


def test_published_pairs_never_change():
    assert addition_pairs("train").to_lines().splitlines()[:3] == FIRST
    assert addition_pairs("test", 2).to_json().startswith(FIRST_OF_TWO)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", 0), "digits = 0: allowed are 1 to 18"),
        (("train", 19), "digits = 19"),
        (("train", 1.0), "digits = 1.0"),
        (("train", 1, -1), "seed = -1"),
        (("all",), "split = 'all'"),
    ],
)
def test_what_cannot_be_is_told(arguments, told):
    with pytest.raises(InputError, match=told):
        addition_pairs(*arguments)


def test_the_command_writes_either_format(tmp_path, capsys):
    path = tmp_path / "pairs.json"
    run = CliRunner().invoke(cli, ["pairs", "--split", "test", "--digits", "2", "--seed", "5", "-o", str(path)])
    assert (run.exit_code, run.output) == (0, f"{path}: 2,500 pairs of the test split\n")
    assert path.read_text() == addition_pairs("test", 2, 5).to_json()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pairs.json"]
    lines = CliRunner().invoke(cli, ["pairs", "--split", "test", "--format", "lines"])
    assert lines.output == addition_pairs("test").to_lines()
    with pytest.raises(SystemExit) as end:
        main(["pairs", "--digits", "0"])
    assert end.value.code == 2
    assert "digits = 0" in capsys.readouterr().err


def test_a_split_without_images_of_its_own_is_refused():
    with pytest.raises(InputError, match="split = 'test_unseen': allowed are train"):
        addition_pairs("test_unseen")
