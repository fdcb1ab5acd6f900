from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import render_one
from strategies import specs

from mnistcompose.digits.bank import DigitBank, load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.model import SIZE
from mnistcompose.layout.names import load_spec, spec_names
from mnistcompose.layout.reading import parse_spec
from mnistcompose.rendering.draws import GREY, SHARE, draw
from mnistcompose.rendering.render import labels, render

SEEDS = st.integers(0, 2**63 - 1)
BUNDLED = st.sampled_from(spec_names()).map(load_spec)
many = settings(max_examples=100, deadline=None)
few = settings(max_examples=30, deadline=None)


@pytest.fixture(scope="module")
def bank():
    return load_digits("train")


def drawn(bank, spec, start, stop, seed=0, split="train"):
    return draw(spec, split, start, stop, seed, bank)


def noiseless(draws):
    return replace(draws, gaussian=np.zeros_like(draws.gaussian), impulse=np.zeros_like(draws.impulse))


def chosen(draws, indices):
    """The draws of some samples, in any order."""
    return replace(draws, **{f.name: getattr(draws, f.name)[indices] for f in fields(draws)})


# --- against the reference ------------------------------------------------------------------------------------------


def compare(bank, spec, draws):
    """Each sample's pixel differences, its largest difference of boxes, and whether its boxes are beyond doubt.

    The second is in canvas pixels, on the axis where a canvas pixel is largest in the image.
    """
    images, boxes = render(bank, spec, noiseless(draws))
    pictures = [render_one(bank, spec, draws, n) for n in range(len(draws))]
    sides = np.array([picture.number_box[2:] - picture.number_box[:2] for picture in pictures])
    gaps = np.abs(boxes - np.array([picture.boxes for picture in pictures])).reshape(len(draws), -1, 2, 2)
    difference = np.abs(images.astype(int) - np.array([picture.image for picture in pictures]))
    steady = np.array([picture.steady for picture in pictures])
    return difference, (gaps * sides[:, None, None] / SIZE).max((1, 2, 3)), steady


def assert_agreement(bank, spec, draws):
    difference, gap, steady = compare(bank, spec, draws)
    agree = gap < 1e-4
    assert difference[agree].mean() < 0.02
    assert (difference[agree] <= 1).mean() > 0.9999
    assert agree.mean() > 0.99
    assert gap.max() < 1.01
    assert agree[steady].all()


@pytest.mark.parametrize("name", spec_names())
def test_the_kernel_agrees_with_the_reference(bank, name):
    spec = load_spec(name)
    assert_agreement(bank, spec, drawn(bank, spec, 0, 500))


@pytest.mark.parametrize("composite", ["lighten", "add", "screen", "over"])
def test_every_way_to_composite_agrees_with_the_reference(bank, composite):
    spec = load_spec("MNIST-III-08").model_copy(update={"composite": composite})
    assert_agreement(bank, spec, drawn(bank, spec, 0, 200))


def assert_agreement_beyond_doubt(bank, spec, draws):
    """For layouts far from the bundled ones: a lone digit's box in the image says nothing of its box on the canvas."""
    difference, gap, steady = compare(bank, spec, draws)
    assert gap.max() < 1.01
    assert gap[steady].max(initial=0) < 1e-3
    assert (difference[steady] > 2).sum() <= 0.01 * difference[steady].size


@few
@given(spec=specs(), seed=SEEDS)
def test_the_kernel_agrees_with_the_reference_on_any_layout(bank, spec, seed):
    assert_agreement_beyond_doubt(bank, spec, drawn(bank, spec, 0, 2, seed))


@few
@given(sides=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 2**32))
def test_source_images_of_any_size_agree_with_the_reference(sides, seed):
    height, width = sides
    images = np.random.default_rng(seed).integers(0, 256, (5, height, width), np.uint8)
    images[:, 0, 0] = images[:, -1, -1] = 255
    boxes = np.tile(np.array([0, 0, width, height], np.int16), (5, 1))
    bank = DigitBank(images, np.arange(5, dtype=np.uint8), boxes, 5, "")
    spec = load_spec("MNIST-III-07")
    assert_agreement_beyond_doubt(bank, spec, drawn(bank, spec, 0, 4))


# --- properties -----------------------------------------------------------------------------------------------------


@many
@given(spec=specs(), seed=SEEDS)
def test_every_slot_leaves_ink_inside_the_image_and_the_cut_out_is_tight(bank, spec, seed):
    _, boxes = render(bank, spec, drawn(bank, spec, 0, 8, seed))
    assert boxes.shape == (8, len(spec.slots), 4)
    assert (boxes[..., 2:] > boxes[..., :2]).all()
    assert boxes.min() >= 0
    assert boxes.max() <= SIZE
    if spec.composite in ("lighten", "over"):  # the others make ink of two greys that are none
        assert (boxes[..., :2].min(1) == 0).all()
        assert (boxes[..., 2:].max(1) == SIZE).all()


@many
@given(spec=specs(), seed=SEEDS)
def test_labels_are_the_sources_labels(bank, spec, seed):
    draws = drawn(bank, spec, 5, 25, seed)
    numbers, digits = labels(bank, draws)
    assert digits.dtype == np.uint8
    assert numbers.dtype == np.int64
    assert np.array_equal(digits, bank.labels[draws.source])
    assert numbers.tolist() == [int("".join(map(str, row))) for row in digits]


def test_labels_count_in_the_base_of_the_digit_set(bank):
    spec = load_spec("MNIST-III-10")
    draws = drawn(bank, spec, 0, 50)
    numbers, digits = labels(replace(bank, classes=26), draws)
    assert np.array_equal(numbers, digits.astype(int) @ [676, 26, 1])


@many
@given(spec=specs(), start=st.integers(0, 10**9), seed=SEEDS, order=st.permutations(range(12)))
def test_an_image_depends_on_its_own_draws_alone(bank, spec, start, seed, order):
    draws = drawn(bank, spec, start, start + 12, seed)
    images, boxes = render(bank, spec, draws)
    for pick in (list(order), slice(0, 5), slice(5, 12), slice(3, 4), slice(0, 0)):
        some_images, some_boxes = render(bank, spec, chosen(draws, pick))
        assert np.array_equal(some_images, images[pick])
        assert np.array_equal(some_boxes, boxes[pick])
    later, _ = render(bank, spec, drawn(bank, spec, start + 7, start + 12, seed))
    assert np.array_equal(later, images[7:])


@many
@given(spec=BUNDLED, seed=st.integers(0, 2**63 - 2))
def test_another_seed_or_split_gives_other_images(bank, spec, seed):
    images = {
        render(bank, spec, drawn(bank, spec, 0, 3, seed + step, split))[0].tobytes()
        for step in (0, 1)
        for split in ("train", "test", "fit", "validation")
    }
    assert len(images) == 8


def test_threads_render_the_same_images(bank):
    spec = load_spec("MNIST-III-10")
    draws = drawn(bank, spec, 0, 400)
    parts = [chosen(draws, slice(start, start + 50)) for start in range(0, 400, 50)]
    with ThreadPoolExecutor(4) as pool:
        images = np.concatenate([images for images, _ in pool.map(lambda part: render(bank, spec, part), parts)])
    assert np.array_equal(images, render(bank, spec, draws)[0])


def test_a_digit_too_small_to_leave_ink_is_an_error_that_names_it():
    """One source pixel, shrunk, between four canvas pixels' centres."""
    images = np.zeros((1, 3, 3), np.uint8)
    images[0, 1, 1] = 255
    dot = DigitBank(images, np.zeros(1, np.uint8), np.array([[1, 1, 2, 2]], np.int16), 1, "")
    spec = parse_spec("name: dots\nslots: [{center: [0, 0]}, {center: [1, 0], scale: 0.4}]")
    with pytest.raises(InputError, match=r"dots: .*slot 1 of sample 17 "):
        render(dot, spec, drawn(dot, spec, 17, 20))


# --- noise ----------------------------------------------------------------------------------------------------------

GREY_SQUARE = DigitBank(
    np.full((1, 20, 20), 128, np.uint8), np.zeros(1, np.uint8), np.array([[0, 0, 20, 20]], np.int16), 1, ""
)
SAMPLES = 2000
PIXELS = SAMPLES * SIZE**2


def noisy(start=0, stop=SAMPLES, gaussian=0.0, impulse=0.0):
    """Images that would be all 128 without the noise; the same noise, but for its strength, whatever the arguments."""
    spec = parse_spec("name: grey\nslots: [{center: [0, 0]}]")
    draws = drawn(GREY_SQUARE, spec, start, stop)
    strength = {
        "gaussian": np.full_like(draws.gaussian, round(gaussian * GREY)),
        "impulse": np.full_like(draws.impulse, round(impulse * SHARE)),
    }
    return render(GREY_SQUARE, spec, replace(draws, **strength))[0]


def neighbours(images):
    """Pairs of pixels that must know nothing of each other: beside, below, in the next sample, at the same place."""
    yield images[:, :, :-1], images[:, :, 1:]
    yield images[:, :-1], images[:, 1:]
    yield images[:-1], images[1:]
    flat = images.reshape(len(images), -1)
    yield flat[:, :-1:2], flat[:, 1::2]
    yield flat[:, : SIZE**2 // 2], flat[:, SIZE**2 // 2 :]


def test_without_noise_the_square_is_grey():
    assert (noisy(stop=3) == 128).all()


@pytest.mark.parametrize("std", [2.0, 16.0, 30.0])
def test_gaussian_noise_is_normal_and_independent(std):
    noise = noisy(gaussian=std).astype(float) - 128
    sure = 5 / np.sqrt(PIXELS)  # five standard errors; the noise is fixed, so this passes always or never
    assert abs(noise.mean()) < std * sure
    assert abs(noise.std() / np.hypot(std, np.sqrt(1 / 12)) - 1) < sure + 0.002
    assert abs((noise**3).mean()) / std**3 < 15**0.5 * sure
    assert abs((noise**4).mean() / noise.var() ** 2 - 3) < 0.05
    assert np.abs(noise.mean(axis=0)).max() < 6 * std / np.sqrt(SAMPLES)
    for one, other in neighbours(noise):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 2 * sure


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_impulse_noise_hits_its_share_and_is_half_white(share):
    images = noisy(impulse=share)
    hit = images != 128
    assert set(np.unique(images)) == {0, 128, 255}
    assert abs(hit.mean() - share) < 5 * np.sqrt(share / PIXELS) + 1 / SHARE
    assert abs((images[hit] == 255).mean() - 0.5) < 2.5 / np.sqrt(hit.sum())
    for one, other in neighbours(images.astype(float)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 10 / np.sqrt(PIXELS)


def test_a_whole_of_impulses_leaves_no_grey():
    assert set(np.unique(noisy(stop=20, impulse=1.0, gaussian=20.0))) == {0, 255}


def test_impulses_replace_what_gaussian_noise_left():
    both, alone = noisy(gaussian=10.0, impulse=0.1), noisy(gaussian=10.0)
    same = both == alone
    assert np.isin(both[~same], (0, 255)).all()
    assert abs((~same).mean() - 0.1) < 0.002


def test_noise_is_clamped():
    images = noisy(gaussian=128.0)
    assert abs((images == 0).mean() - 0.16) < 0.01
    assert abs((images == 255).mean() - 0.16) < 0.01


def test_noise_belongs_to_the_sample_not_to_the_range():
    whole = noisy(stop=60, gaussian=9.0, impulse=0.05)
    assert np.array_equal(noisy(start=13, stop=60, gaussian=9.0, impulse=0.05), whole[13:])
    assert len({image.tobytes() for image in whole}) == 60


def test_noise_of_each_image_has_the_strength_that_was_drawn(bank):
    spec = load_spec("MNIST-III-08")
    draws = drawn(bank, spec, 0, 300)
    clean, _ = render(bank, spec, noiseless(draws))
    grainy, _ = render(bank, spec, draws)
    error = np.where((clean > 100) & (clean < 155), grainy - clean.astype(float), np.nan)
    measured = np.nanstd(error, axis=(1, 2))
    assert np.corrcoef(measured, draws.gaussian / GREY)[0, 1] > 0.95
