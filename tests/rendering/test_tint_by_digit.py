"""Colours that predict the class: as often as the layout says, in every split, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mnistcompose import ComposedDigits, InputError, LayoutSpec, build, load_digits, load_spec
from mnistcompose.rendering.compose import compose
from mnistcompose.rendering.draws import draw

BANKS = {split: load_digits(split) for split in ("train", "fit", "validation", "test")}
BUNDLED = load_spec("MNIST-III-10-tinted")
COLOURS = BUNDLED.placed[0].tint.by_digit


def layout(slots=1, **tint):
    place = [{"center": [each, 0]} for each in range(slots)]
    fields = {"name": "x", "slots": place, "output": {"channels": 3}, "digit": {"tint": {"by_digit": COLOURS, **tint}}}
    return LayoutSpec.model_validate(fields)


def tints(spec, split, count, seed=0):
    """Class of each digit, and the index of its colour, (n, k)."""
    draws = draw(spec, split, 0, count, seed, BANKS[split])
    table = {color: place for place, color in enumerate(COLOURS)}
    found = [table[tuple(color)] for color in draws.tint.reshape(-1, 3).tolist()]
    return BANKS[split].labels[draws.source], np.reshape(found, draws.source.shape)


@pytest.mark.parametrize(
    ("split", "rate"), [("train", 0.8), ("fit", 0.8), ("validation", 0.8), ("test", 0.3)], ids=lambda value: str(value)
)
def test_a_colour_agrees_as_often_as_the_layout_says_and_the_others_are_equally_likely(split, rate):
    digits, colours = tints(layout(2, agree=0.8, agree_test=0.3), split, 20_000)
    for own, color in zip(digits.T, colours.T, strict=True):  # each slot for itself
        agreeing = own == color
        assert stats.binomtest(int(agreeing.sum()), len(own), rate).pvalue > 1e-4
        for digit in range(10):
            others = np.bincount(color[(own == digit) & ~agreeing], minlength=10)
            assert others[digit] == 0
            assert stats.chisquare(np.delete(others, digit)).pvalue > 1e-5
    table = np.histogram2d(*(digits == colours).T, bins=2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4  # slots are independent


@given(st.sampled_from(["train", "test", "validation"]), st.integers(0, 2**63 - 1))
@settings(max_examples=20)
def test_without_a_turned_test_all_splits_agree_alike_and_0_and_1_are_exact(split, seed):
    digits, colours = tints(layout(3, agree=1.0), split, 300, seed)
    assert np.array_equal(digits, colours)
    digits, colours = tints(layout(3, agree=0.0), split, 300, seed)
    assert not (digits == colours).any()


def test_a_bias_depends_on_nothing_else_that_is_drawn():
    plain = layout(2, agree=0.5)
    draws = draw(plain, "train", 0, 20_000, 0, BANKS["train"])
    agreeing = BANKS["train"].labels[draws.source] == tints(plain, "train", 20_000)[1]
    for other in (draws.source[:, 0] % 2 == 0, BANKS["train"].labels[draws.source[:, 1]] < 5):
        assert stats.chi2_contingency(np.histogram2d(agreeing[:, 0], other, bins=2)[0]).pvalue > 1e-4


def test_classes_may_share_a_colour():
    shared = (COLOURS[0],) * 5 + (COLOURS[1],) * 5
    digits, colours = tints(layout(by_digit=shared, agree=0.7), "train", 5000)
    assert stats.binomtest(int((digits // 5 == colours).sum()), digits.size, 0.7).pvalue > 1e-4


def directions(colors):
    colors = np.asarray(colors, float)
    return colors / np.linalg.norm(colors, axis=-1, keepdims=True)


@pytest.mark.parametrize(("split", "rate"), [("train", 0.95), ("test", 0.05)])
def test_a_classifier_on_mean_colour_alone_scores_the_agreement(split, rate):
    """Its score on the turned split is about what is left: the bias is all that it has learned."""
    made = compose(BANKS[split], layout(agree=0.95, agree_test=0.05), split, 0, 0, 4000)
    mean = made.images.reshape(len(made.images), -1, 3).mean(axis=1)
    guess = (directions(mean) @ directions(COLOURS).T).argmax(axis=1)
    assert np.mean(guess == made.labels) == pytest.approx(rate, abs=0.012)


@pytest.mark.parametrize(("split", "rate"), [("train", 0.95), ("test", 0.05)])
def test_the_bundled_example_is_biased(split, rate):
    digits, colours = tints(BUNDLED, split, 5000)
    assert np.mean(digits == colours) == pytest.approx(rate, abs=0.01)


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_as_many_colours_as_classes(tmp_path):
    spec = layout(by_digit=COLOURS[:9])
    told = r"x: slots\[0\].tint.by_digit has 9 colours; should have 10, one for each class of digit"
    with pytest.raises(InputError, match=told):
        ComposedDigits(spec, "train")
    with pytest.raises(InputError, match=told):
        build(spec, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("tint", "told"),
    [
        ({"agree": 1.01}, "less than or equal to 1"),
        ({"agree_test": -0.1}, "greater than or equal to 0"),
        ({"by_digit": COLOURS[:1] * 10, "agree": 0.5}, "a digit cannot have another one"),
        ({"by_digit": []}, "at least 1"),
        ({"by_digit": [[1, 2]]}, "3|Field required"),
    ],
)
def test_a_wrong_bias_is_told(tint, told):
    with pytest.raises(ValueError, match=told):
        layout(**tint)


def test_a_bias_needs_colour():
    with pytest.raises(ValueError, match=r"a tint needs output\.channels: 3"):
        layout().model_copy(update={"output": {}})
