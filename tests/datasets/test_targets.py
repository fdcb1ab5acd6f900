"""Targets against plain Python on each number's digits."""

import math
import pickle
from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from target_functions import halves
from torch.utils.data import DataLoader

from mnistcompose import ComposedDigits, InputError, ShardedDigits, build, load_spec
from mnistcompose.datasets import sharded
from mnistcompose.datasets.targets import TargetName, make_targets
from mnistcompose.rendering.draws import ABSENT

COUNT = 1200


def reference(target, digits, classes, slots):
    """The target of one number, from the list of its digits."""
    rest = [classes] * (slots - len(digits))
    value = sum(digit * classes**place for place, digit in enumerate(reversed(digits)))
    return {
        "number": value,
        "clean": value,
        "digits": digits + rest,
        "set": [int(each in digits) for each in range(classes)],
        "sum": sum(digits),
        "product": math.prod(digits),
        "max": max(digits),
        "sorted": sorted(digits) + rest,
        "parity": sum(digits) % 2,
    }[target]


@st.composite
def numbers_of_any_length(draw):
    """Digits uint8 (n, k), and the number of classes; labels fit into 64 bits."""
    slots = draw(st.integers(1, 9))
    classes = draw(st.integers(1, min(255, int(2 ** (63 / slots)))))
    digit = st.integers(0, classes - 1)
    rows = draw(st.lists(st.lists(digit, min_size=1, max_size=slots), max_size=6))
    padded = [row + [ABSENT] * (slots - len(row)) for row in rows]
    return np.array(padded, np.uint8).reshape(-1, slots), rows, classes


@given(numbers_of_any_length(), st.sampled_from(get_args(TargetName)))
def test_a_target_is_that_of_the_numbers_digits(case, target):
    digits, rows, classes = case
    slots = digits.shape[1]
    labels = np.array([reference("number", row, classes, slots) for row in rows], np.int64)
    made = make_targets(target, labels if target == "number" else digits, classes)
    assert made.dtype == np.int64
    assert made.tolist() == [reference(target, row, classes, slots) for row in rows]


# --- datasets -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths")
    build(load_spec("MNIST-lengths"), folder, train=COUNT, test=0, shard_size=1000)
    return folder


@pytest.fixture(params=["resident", "mapped", "composed"])
def make(request, root, monkeypatch):
    """A dataset of one target, three ways."""
    if request.param == "composed":
        return partial(ComposedDigits, "MNIST-lengths", "train", length=COUNT)
    if request.param == "mapped":
        monkeypatch.setattr(sharded, "_RESIDENT", 0)
    return partial(ShardedDigits, root, "train")


def last_odd(digits):
    """Whether the first digit is odd, as booleans."""
    return digits[:, 0] % 2 == 1


def mean(digits):
    """Mean of the row, as float32 (n,)."""
    return digits.mean(axis=1).astype(np.float32)


@pytest.mark.parametrize("target", [*get_args(TargetName), last_odd, halves, mean])
def test_every_way_of_reading_gives_the_same_targets(make, target):
    data = pickle.loads(pickle.dumps(make(target=target)))
    _, digits = make(target=lambda digits: digits).as_tensors()
    wanted = (
        torch.as_tensor(target(digits.numpy().astype(np.uint8)))
        if callable(target)
        else torch.tensor([reference(target, [d for d in row if d != ABSENT], 10, 5) for row in digits.tolist()])
    )
    wanted = wanted.long() if wanted.dtype == torch.bool else wanted
    whole = data.as_tensors()[1]
    places = [3, 1100, 7]
    for found, truth in (
        (whole, wanted),
        (data[places][1], wanted[places]),
        (next(iter(DataLoader(data, 100)))[1], wanted[:100]),
        (torch.as_tensor(data[7][1]), wanted[7]),
    ):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, truth)
    if isinstance(data, ComposedDigits):
        assert torch.equal(torch.cat([targets for _, targets in data.batches(500)]), wanted)


def test_spawned_workers_make_targets(root):
    wanted = ShardedDigits(root, "train", target=halves).as_tensors()[1]
    loader = DataLoader(
        ShardedDigits(root, "train", target=halves), 600, num_workers=1, multiprocessing_context="spawn"
    )
    assert torch.equal(torch.cat([targets for _, targets in loader]), wanted)


@pytest.mark.parametrize("target", ["sum", "sorted", "set", halves])
def test_an_empty_split_has_targets_of_the_same_form(target):
    few, none = (ComposedDigits("MNIST-lengths", "train", length=n, target=target).as_tensors()[1] for n in (3, 0))
    assert (none.shape, none.dtype) == ((0, *few.shape[1:]), few.dtype)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (lambda digits: digits.sum(), r"of digits \(3, 5\) it made uint64 \(\); should be numbers \(3, ...\)"),
        (lambda digits: digits[:2], r"uint8 \(2, 5\)"),
        (lambda digits: np.array(["x"] * len(digits)), r"<U1 \(3,\)"),
    ],
)
def test_a_function_that_makes_something_else_is_told(target, told):
    with pytest.raises(InputError, match=told):
        ComposedDigits("MNIST-lengths", "train", length=3, target=target)[:]


@pytest.mark.parametrize("target", ["label", "SUM", None, ["sum"], 3])
def test_an_unknown_target_is_refused(target):
    with pytest.raises(InputError, match=r"target = .*; should be 'number', .*'parity', or a function of the digits"):
        ComposedDigits("MNIST-lengths", "train", target=target)
    digits = ComposedDigits("MNIST-lengths", "train")
    with pytest.raises(InputError, match=r"target = .*; should be 'number'"):
        digits.target = target
    assert digits.target == "number"
