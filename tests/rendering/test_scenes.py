"""Other sizes, colours, windows, lengths and masks."""

import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import render_one
from strategies import scenes, specs

from mnistcompose import InputError, draw, load_digits, load_spec
from mnistcompose.layout.names import extra_names, spec_names
from mnistcompose.layout.reading import parse_spec
from mnistcompose.rendering.draws import ABSENT
from mnistcompose.rendering.render import labels, numbers, render, render_with_masks

BANK = load_digits("train")
SEEDS = st.integers(0, 2**63 - 1)
few = settings(max_examples=30, deadline=None)


def drawn(spec, count=4, seed=0):
    return draw(spec, "train", 0, count, seed, BANK)


def layout(slots, more=""):
    return parse_spec(f"name: x\nslots: [{', '.join(slots)}]\n{more}")


# --- with masks and without, and against the reference --------------------------------------------------------------


def assert_masks_change_nothing(spec, draws):
    images, boxes = render(BANK, spec, draws)
    others, theirs, masks = render_with_masks(BANK, spec, draws)
    assert np.array_equal(images, others)
    assert np.array_equal(boxes, theirs)
    assert masks.shape == (*draws.source.shape, 28, 28)


@pytest.mark.parametrize("name", spec_names())
def test_masks_change_no_bit_of_a_bundled_layout(name):
    spec = load_spec(name)
    assert_masks_change_nothing(spec, drawn(spec, 500))


@few
@given(spec=specs(), seed=SEEDS)
def test_masks_change_no_bit_of_any_layout(spec, seed):
    assert_masks_change_nothing(spec, drawn(spec, 4, seed))


@few
@given(spec=scenes(), seed=SEEDS)
def test_the_kernel_agrees_with_the_reference(spec, seed):
    draws = drawn(spec, 3, seed)
    still = replace(draws, gaussian=0 * draws.gaussian, impulse=0 * draws.impulse)
    try:
        images, boxes, masks = render_with_masks(BANK, spec, still)
    except InputError as error:
        assume("beyond the window" not in str(error))
        raise
    for n, (image, box, mask) in enumerate(zip(images, boxes, masks, strict=True)):
        wanted = render_one(BANK, spec, draws, n)
        present = len(wanted.masks)
        assert image.shape == wanted.image.shape == spec.output.shape
        assert not mask[present:].any()
        assert not box[present:].any()
        if wanted.steady:
            assert np.abs(box[:present] - wanted.boxes).max() < 1e-3
            for ours, theirs in ((image, wanted.image), (mask[:present], wanted.masks)):
                assert (np.abs(ours.astype(int) - theirs) > 2).mean() <= 0.01


@few
@given(spec=scenes(), seed=SEEDS)
def test_a_sample_depends_on_its_index_alone(spec, seed):
    try:
        whole = render_with_masks(BANK, spec, drawn(spec, 4, seed))
    except InputError:
        return
    part = render_with_masks(BANK, spec, draw(spec, "train", 2, 4, seed, BANK))
    assert all(np.array_equal(a[2:], b) for a, b in zip(whole, part, strict=True))
    draws = drawn(spec, 4, seed)
    turned = replace(draws, **{field.name: getattr(draws, field.name)[[3, 1, 0, 2]] for field in fields(draws)})
    parts = render_with_masks(BANK, spec, turned)
    assert all(np.array_equal(a[[3, 1, 0, 2]], b) for a, b in zip(whole, parts, strict=True))


# --- properties -----------------------------------------------------------------------------------------------------


def test_a_window_of_the_images_own_size_copies_pixels():
    """Two source images pasted on a canvas by numpy, as for CapsNet; but for quanta of 1/205 pixel."""
    spec = load_spec("MultiMNIST-CapsNet")
    moves = np.arange(-4, 5)
    for n in range(50):
        draws = draw(spec, "train", n, n + 1, 5, BANK)
        image = render(BANK, spec, draws)[0][0].astype(int)
        sources = BANK.images[draws.source[0]].astype(int)
        boxes = BANK.boxes[draws.source[0]].astype(float)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - 14
        shift = draws.center[0] / 4096 * 20 - middle
        assert np.abs(shift - shift.round()).max() < 0.01
        assert set(shift.round().astype(int).ravel()) <= set(moves)
        canvas = np.zeros((36, 36), int)
        for source, (x, y) in zip(sources, shift.round().astype(int), strict=True):
            canvas[4 + y : 32 + y, 4 + x : 32 + x] += np.where(faint(source), 0, source)
        assert np.abs(image - np.minimum(canvas, 255)).max() <= 4


def faint(source):
    """Grey beyond the ink box, which is cropped with it."""
    ys, xs = np.nonzero(source >= 32)
    outside = np.ones(source.shape, bool)
    outside[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = False
    return outside


def test_the_capsnet_digits_differ_in_class_and_move_evenly():
    spec = load_spec("MultiMNIST-CapsNet")
    draws = draw(spec, "test", 0, 20_000, 0, load_digits("test"))
    digits = load_digits("test").labels[draws.source]
    assert (digits[:, 0] != digits[:, 1]).all()
    pairs = np.bincount(digits[:, 0].astype(int) * 10 + digits[:, 1], minlength=100).reshape(10, 10)
    share = np.bincount(load_digits("test").labels) / 10_000
    expected = 20_000 * share[:, None] * share / (1 - share[:, None]) * (1 - np.eye(10))
    assert np.abs(pairs - expected).max() < 6 * np.sqrt(expected.max())


def test_colours_are_those_of_the_slots():
    red, green = "{center: [0, 0], tint: [255, 0, 0]}", "{center: [0.5, 0.2], tint: [0, 128, 0]}"
    spec = layout([red, green], "output: {channels: 3, width: 33, height: 21}")
    images, _, masks = render_with_masks(BANK, spec, drawn(spec, 20))
    assert images.shape == (20, 21, 33, 3)
    assert np.array_equal(images[..., 0], masks[:, 0])
    assert np.abs(images[..., 1] * (255 / 128) - masks[:, 1]).max() < 2.5
    assert not images[..., 2].any()


@pytest.mark.parametrize("composite", ["lighten", "add", "screen", "over"])
def test_white_ink_is_grey(composite):
    slots = ["{center: [0, 0]}", "{center: [0.5, 0.2]}"]
    grey, colored = (layout(slots, f"composite: {composite}\noutput: {{channels: {c}}}") for c in (1, 3))
    draws = replace(drawn(grey, 10), tint=np.full((10, 2, 3), 255, np.uint8))
    images, wanted = render(BANK, colored, draws)[0], render(BANK, grey, draws)[0]
    assert all(np.array_equal(images[..., c], wanted) for c in range(3))


def test_what_covers_all_is_the_brightest_mask():
    spec = layout(["{center: [0, 0]}", "{center: [0.5, 0.2]}"], "output: {width: 40, crop: {width: 2, height: 1.4}}")
    images, _, masks = render_with_masks(BANK, spec, drawn(spec, 50))
    assert (images >= masks.max(1)).all()  # a mean of maxima is no less than the maximum of means
    alone = (masks > 0).sum(1) == 1
    assert np.array_equal(images[alone], masks.max(1)[alone])


def test_lengths_are_as_likely_as_they_are_listed_and_a_number_reads_as_its_digits():
    slots = ["{center: [0, 0]}", "{center: [1, 0]}", "{center: [2, 0]}"]
    spec = layout(slots, "length: {choice: [1, 2, 3, 3]}")
    draws = drawn(spec, 8000)
    found, digits = labels(BANK, draws)
    lengths = (digits != ABSENT).sum(1)
    assert np.abs(np.bincount(lengths) - [0, 2000, 2000, 4000]).max() < 200
    words = ("".join(str(digit) for digit in own if digit != ABSENT) for own in digits)
    assert found.tolist() == [int(word) for word in words]
    assert np.array_equal(draws.source < 0, digits == ABSENT)


def test_a_shorter_number_is_drawn_as_if_the_layout_had_no_more_slots():
    slots = ["{center: [0, 0], rotation: {uniform: [-20, 20]}}", "{center: [1, 0]}", "{center: [2, 0]}"]
    spec, short = layout(slots, "length: {choice: [1, 2, 3]}"), layout(slots[:2])
    draws = drawn(spec, 40)
    two = (draws.source >= 0).sum(1) == 2
    parts = {name: getattr(draws, name)[two][:, :2] for name in ("source", "center", "scale", "rotation", "flip")}
    others = {name: getattr(draws, name)[two] for name in ("index", "gaussian", "impulse", "noise_key")}
    assert np.array_equal(render(BANK, spec, draws)[0][two], render(BANK, short, replace(draws, **parts, **others))[0])


@given(digits=st.lists(st.integers(0, 9), min_size=1, max_size=9), gaps=st.integers(0, 4))
def test_numbers_end_where_digits_end(digits, gaps):
    row = np.array([digits + [ABSENT] * gaps], np.uint8)
    assert numbers(row, 10).tolist() == [int("".join(map(str, digits)))]


@few
@given(slots=st.integers(2, 9), seed=SEEDS)
def test_distinct_digits_are_of_distinct_classes_and_evenly_drawn(slots, seed):
    spec = layout(["{center: [0, 0]}"] * slots, "distinct: true")
    digits = labels(BANK, drawn(spec, 300, seed))[1]
    assert all(len(set(own)) == slots for own in digits.tolist())


def test_more_distinct_digits_than_classes_are_refused():
    bank = replace(BANK, labels=BANK.labels % 3, classes=3)
    spec = layout(["{center: [0, 0]}"] * 4, "distinct: true")
    with pytest.raises(InputError, match=r"4 different digits in a number, of 3 classes"):
        draw(spec, "train", 0, 1, 0, bank)


def test_a_digit_beyond_the_window_is_refused():
    spec = layout(["{center: [0, 0]}", "{center: [5, 0]}"], "output: {crop: {width: 2, height: 2}}")
    with pytest.raises(InputError, match=r"x: the digit in slot 1 of sample 0 .* lies beyond the window"):
        render(BANK, spec, drawn(spec))


def test_anchored_by_its_image_a_digit_turns_and_grows_about_the_images_middle():
    slot = "{center: [1, -2], anchor: image, rotation: {uniform: [-180, 180]}, scale: {uniform: [0.5, 2]}, flip: FLIP}"
    spec = layout([slot.replace("FLIP", "{choice: [none, horizontal, vertical, both]}")])
    draws = drawn(spec, 200)
    x0, y0, x1, y1 = np.moveaxis(BANK.boxes[draws.source[:, 0]].astype(float), -1, 0)
    x, y = (x0 + x1) / 2 - 14, (y0 + y1) / 2 - 14
    point = np.where(draws.flip[:, 0] & 1, -x, x) - 1j * np.where(draws.flip[:, 0] & 2, -y, y)  # y upwards
    point *= draws.scale[:, 0] / 4096 * np.exp(1j * np.deg2rad(draws.rotation[:, 0] / 256))
    found = draws.center[:, 0] / 4096 * 20 - [20, -40]
    assert np.abs(found - np.stack([point.real, -point.imag], axis=1)).max() < 0.01


GOLDEN = {
    "MNIST-III-10-tinted": "c427d67aee282a98",
    "MNIST-boxes": "6afaa8dacf21f481",
    "MNIST-colour": "d998134f9c365cec",
    "MNIST-lengths": "d18a1718b9813e17",
    "MNIST-sets": "74dd6bf13b519398",
    "MultiMNIST-CapsNet": "1935a35bfceef7aa",
    "MultiMNIST-tasks": "db0f83526f3dbdc5",
}


@pytest.mark.parametrize("name", [name for name in extra_names() if load_spec(name).numbers == "any"])
def test_the_extra_layouts_stay_as_they_are(name):
    spec = load_spec(name)
    images = render(BANK, spec, drawn(spec, 100))[0]
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == GOLDEN[name]


BITS = {
    "lighten": "8e58cfd04bc27d7b",
    "add": "4698d2b91a866b59",
    "screen": "51d3b86af3c2c2dd",
    "over": "7c1902a7c92ba9dc",
}


@pytest.mark.parametrize("composite", BITS)
def test_images_boxes_and_masks_stay_as_they_are(composite):
    total = hashlib.sha256()
    for name in (*spec_names(), *GOLDEN):
        spec = load_spec(name).model_copy(update={"composite": composite})
        for array in render_with_masks(BANK, spec, drawn(spec, 50)):
            total.update(array.tobytes())
    assert total.hexdigest()[:16] == BITS[composite]
