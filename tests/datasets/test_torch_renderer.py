"""The renderer in torch operations makes the kernel's images and boxes, to the bit."""

from contextlib import contextmanager
from dataclasses import replace
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


def test_boxes_in_another_order_of_memory(bank):
    turned = replace(bank, boxes=np.asfortranarray(bank.boxes))
    assert_same(turned, load_spec("MNIST-III-10"), 3)


def test_fresh_batches_are_the_split_in_order():
    spec = load_spec("MNIST-III-10")
    wanted, numbers = ComposedDigits(spec, "validation", seed=3, length=70)[10:70]
    batches = list(islice(fresh_batches(spec, "validation", 20, "cpu", seed=3, start=10), 3))
    assert torch.equal(torch.cat([images for images, _ in batches]), wanted)
    assert torch.equal(torch.cat([targets for _, targets in batches]), numbers)


def test_no_draws_give_no_images(bank):
    none = draw("MNIST-III-10", "train", 5, 5, 0, bank)
    images, boxes = render_on_device(DeviceBank.of(bank, "cpu"), "MNIST-III-10", none)
    assert (images.shape, images.dtype) == ((0, 1, 28, 28), torch.uint8)
    assert (boxes.shape, boxes.dtype) == ((0, 3, 4), torch.float32)


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", 0), ("start", -1), ("start", 0.5), ("seed", 2**63), ("split", "all")]
)
def test_fresh_batches_refuse_an_argument_before_the_first_batch(name, value):
    arguments = {"spec": "MNIST-III-10", "split": "train", "batch_size": 2, "device": "cpu", name: value}
    with pytest.raises(InputError, match=name):
        fresh_batches(**arguments)


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


@contextmanager
def changed(get, change, value):
    """One of torch's global settings, changed for a while."""
    before = get()
    change(value)
    try:
        yield
    finally:
        change(before)


def attribute(place, name, value):
    return changed(lambda: getattr(place, name), lambda new: setattr(place, name, new), value)


SETTINGS = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "medium matmul": lambda: changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "TF32": lambda: attribute(torch.backends.cuda.matmul, "allow_tf32", True),
    "float64": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "float16": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float16),
    "another device": lambda: torch.device("meta"),
    "deterministic": lambda: changed(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_the_callers_settings_change_nothing(bank, setting):
    spec = load_spec("MNIST-III-10")
    with setting():
        assert_same(bank, spec, 50)
        images, numbers = next(fresh_batches(spec, "train", 50, "cpu"))
    wanted, labels = ComposedDigits(spec, "train")[:50]
    assert torch.equal(images, wanted)
    assert torch.equal(numbers, labels)
    images.zero_()  # no inference tensors, which could not be changed any more
    numbers.zero_()


def test_products_are_in_a_type_that_no_setting_reaches(bank, monkeypatch):
    """TF32 and bfloat16 products cannot be had on every machine; no float32 matrix product may be made at all."""
    kinds = set()
    product = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda one, other: kinds.add((one.dtype, other.dtype)) or product(one, other)
    )
    assert_same(bank, load_spec("MNIST-III-10"), 5)
    assert kinds == {(torch.float64, torch.float64)}
