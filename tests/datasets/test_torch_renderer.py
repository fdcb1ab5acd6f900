"""The renderer in torch operations makes the kernel's images and boxes, to the bit."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import specs

from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.datasets.torch_renderer import DeviceBank, fresh_batches, render_on_device
from mnistcompose.digits.bank import DigitBank, load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.names import load_spec, spec_names
from mnistcompose.layout.reading import parse_spec
from mnistcompose.rendering.draws import draw
from mnistcompose.rendering.render import render


@pytest.fixture(scope="module")
def bank():
    return load_digits("train")


def assert_same(bank, spec, count, seed=0):
    draws = draw(spec, "train", 0, count, seed, bank)
    images, boxes = render(bank, spec, draws)
    theirs, their_boxes = render_on_device(DeviceBank.of(bank, "cpu"), spec, draws)
    assert theirs.dtype == torch.uint8
    assert (theirs[:, 0].numpy() == images).all()
    assert (their_boxes.numpy() == boxes).all()


@pytest.mark.parametrize("name", spec_names())
def test_every_bundled_layout(bank, name):
    assert_same(bank, load_spec(name), 100)


@settings(max_examples=50, deadline=None)
@given(spec=specs(), composite=st.sampled_from(["lighten", "add", "screen", "over"]), seed=st.integers(0, 2**63 - 1))
def test_any_layout(bank, spec, composite, seed):
    assert_same(bank, spec.model_copy(update={"composite": composite}), 4, seed)


@settings(max_examples=20, deadline=None)
@given(sides=st.tuples(st.integers(1, 300), st.integers(1, 300)), seed=st.integers(0, 2**32))
def test_source_images_of_any_size(sides, seed):
    height, width = sides
    images = np.random.default_rng(seed).integers(0, 256, (5, height, width), np.uint8)
    images[:, 0, 0] = images[:, -1, -1] = 255
    boxes = np.tile(np.array([0, 0, width, height], np.int16), (5, 1))
    assert_same(DigitBank(images, np.arange(5, dtype=np.uint8), boxes, 5, ""), load_spec("MNIST-III-07"), 2)


def test_fresh_batches_are_the_split_in_order():
    spec = load_spec("MNIST-III-10")
    wanted, numbers = ComposedDigits(spec, "validation", seed=3, length=70)[10:70]
    batches = list(islice(fresh_batches(spec, "validation", 20, "cpu", seed=3, start=10), 3))
    assert torch.equal(torch.cat([images for images, _ in batches]), wanted)
    assert torch.equal(torch.cat([targets for _, targets in batches]), numbers)


def test_a_digit_without_ink_is_refused_as_by_the_kernel():
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 0, 0] = 33
    bank = DigitBank(images, np.zeros(1, np.uint8), np.array([[0, 0, 1, 1]], np.int16), 1, "")
    spec = parse_spec("name: x\nslots: [{center: [0, 0], dx: 0.02, scale: 0.4}]\n")
    draws = draw(spec, "train", 5, 7, 0, bank)
    with pytest.raises(InputError) as ours:
        render(bank, spec, draws)
    with pytest.raises(InputError) as theirs:
        render_on_device(DeviceBank.of(bank, "cpu"), spec, draws)
    assert str(theirs.value) == str(ours.value)
