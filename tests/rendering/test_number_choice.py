"""Which numbers are drawn, and which are held out."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnistcompose.digits.bank import DigitBank, load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.reading import parse_spec
from mnistcompose.rendering.draws import draw, draw_at
from mnistcompose.rendering.number_choice import pool_of, unseen_count

BANK = load_digits("train")
SURE = 1e-4  # the draws are fixed, so a test passes always or never
COUNTS = st.integers(0, 30)


def layout(numbers: str, slots: int = 2):
    return parse_spec(f"name: x\nslots: [{', '.join(['{center: [0, 0]}'] * slots)}]\nnumbers: {numbers}\n")


def shown(spec, split, start, stop, seed=0, bank=BANK):
    """Numbers of samples start .. stop - 1, read from the source images that were drawn."""
    source = draw(spec, split, start, stop, seed, bank).source
    return bank.labels[source].astype(np.int64) @ bank.classes ** np.arange(source.shape[1] - 1, -1, -1)


RULES = st.sampled_from(
    [
        "{}",
        "{weights: balanced}",
        "{weights: {long_tail: 0.1}, held_out: {share: 0.3}}",
        '{weights: {list: {"07": 3, "70": 1, "33": 9}}}',
        '{weights: balanced, held_out: "5*"}',
        "{weights: {long_tail: 0.1}, balanced_test: true, held_out: {share: 0.2, validation: 0.1}}",
    ]
)
SPLITS = st.sampled_from(["train", "test", "fit", "validation"])


@given(RULES, SPLITS, st.integers(0, 10**12), COUNTS, COUNTS, st.integers(0, 2**63 - 1))
def test_a_range_is_the_join_of_its_parts(numbers, split, start, first, second, seed):
    spec, middle = layout(numbers), start + first
    whole = draw(spec, split, start, middle + second, seed, BANK).source
    parts = [draw(spec, split, a, b, seed, BANK).source for a, b in ((start, middle), (middle, middle + second))]
    assert np.array_equal(whole, np.concatenate(parts))


@given(RULES, SPLITS, st.lists(st.integers(0, 10**15), max_size=8), st.integers(0, 2**63 - 1))
def test_scattered_samples_are_those_of_their_ranges(numbers, split, indices, seed):
    spec = layout(numbers)
    scattered = draw_at(spec, split, np.array(indices, np.int64), seed, BANK).source
    for row, index in enumerate(indices):
        assert np.array_equal(scattered[row], draw(spec, split, index, index + 1, seed, BANK).source[0])


# --- frequencies ----------------------------------------------------------------------------------------------------


def test_uniform_numbers_are_equally_frequent():
    counts = np.bincount(shown(layout("{}"), "train", 0, 50_000), minlength=100)
    assert stats.chisquare(counts).pvalue > SURE


def test_listed_numbers_have_their_weights():
    found, counts = np.unique(shown(layout('{weights: {list: {"70": 1, "07": 3, "33": 6}}}'), "train", 0, 50_000),
                              return_counts=True)  # fmt: skip
    assert found.tolist() == [7, 33, 70]
    assert stats.chisquare(counts, [15_000, 30_000, 5_000]).pvalue > SURE


def test_a_long_tail_is_geometric_in_a_random_order():
    spec = layout("{weights: {long_tail: 0.01}}")
    weights = pool_of(spec, "train", 0, 10).weights
    falling = np.sort(weights)[::-1]
    assert (falling[0], falling[-1]) == (10**9, 10**7)
    exact = [float(Decimal("0.01") ** (Decimal(rank) / 99)) * 1e9 for rank in range(100)]
    assert np.abs(falling - exact).max() <= 1
    assert not np.array_equal(weights, falling)
    assert not np.array_equal(weights, pool_of(spec, "train", 1, 10).weights)
    counts = np.bincount(shown(spec, "train", 0, 50_000), minlength=100)
    assert stats.chisquare(counts, weights / weights.sum() * 50_000).pvalue > SURE


def test_weights_never_change():
    """Exact arithmetic, so that no machine's `pow` moves a published dataset."""
    weights = pool_of(layout("{weights: {long_tail: 0.05}}", 1), "train", 0, 10).weights
    assert sorted(weights.tolist()) == [
        *(50000000, 69747540, 97294386, 135720881, 189323950),
        *(264097595, 368403150, 513904266, 716871164, 1000000000),
    ]


@pytest.mark.parametrize("split", ["train", "test", "test_unseen"])
def test_a_source_image_of_the_digit_is_any_of_its_class(split):
    spec = layout('{held_out: ["37"]}')
    bank = load_digits(split)
    source = draw(spec, split, 0, 40_000, 0, bank).source[:, 0]
    of_class = np.flatnonzero(bank.labels == 3)
    places = np.searchsorted(of_class, source[bank.labels[source] == 3])
    bins = np.bincount(places * 20 // len(of_class), minlength=20)
    sizes = np.bincount(np.arange(len(of_class)) * 20 // len(of_class))
    assert stats.chisquare(bins, sizes / sizes.sum() * bins.sum()).pvalue > SURE


# --- balance --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(0, 10**9), st.integers(0, 2**63 - 1))
def test_a_block_of_balanced_samples_shows_every_number_once(slots, block, seed):
    spec, size = layout("{weights: balanced}", slots), 10**slots
    assert sorted(shown(spec, "train", block * size, (block + 1) * size, seed)) == list(range(size))


def test_blocks_have_orders_of_their_own_and_every_order_is_as_likely():
    spec = layout('{weights: balanced, held_out: {test: ["0", "1", "2", "3", "4", "5"]}}', 1)
    orders = shown(spec, "train", 0, 4 * 24_000).reshape(-1, 4)
    counts = np.unique(orders @ 10 ** np.arange(4), return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > SURE
    wide = shown(layout("{weights: balanced}"), "train", 0, 100 * 5000).reshape(-1, 100)
    for place in (0, 41, 99):
        assert stats.chisquare(np.bincount(wide[:, place], minlength=100)).pvalue > SURE
    follows = np.bincount(wide[:, 10] * 100 + wide[:, 11], minlength=10_000).reshape(100, 100)
    assert follows.diagonal().sum() == 0
    assert stats.chisquare(follows[~np.eye(100, dtype=bool)]).pvalue > SURE


def test_evaluation_can_be_balanced_whatever_the_weights():
    spec = layout("{weights: {long_tail: 0.01}, balanced_test: true}")
    for split in ("test", "validation"):
        assert (np.bincount(shown(spec, split, 0, 300), minlength=100) == 3).all()
    assert len(np.unique(np.bincount(shown(spec, "train", 0, 300), minlength=100))) > 1
    assert len(np.unique(np.bincount(shown(spec, "fit", 0, 300), minlength=100))) > 1


# --- held out -------------------------------------------------------------------------------------------------------


@given(
    st.integers(2, 3),
    st.floats(0.02, 0.6),
    st.floats(0, 0.25),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["{}", "list"]),
)
def test_every_digit_occurs_in_every_slot_among_the_seen_numbers(slots, share, validation, seed, kind):
    some = [f'"{number:0{slots}d}": 1' for number in range(3, 10**slots, 7)]
    listed = {
        "{}": "uniform",
        "list": f"{{list: {{{', '.join(some)}}}}}",
    }
    count = len(pool_of(layout(f"{{weights: {listed[kind]}}}", slots), "train", seed, 10).digits)
    spec = layout(f"{{weights: {listed[kind]}, held_out: {{share: {share:.3f}, validation: {validation:.3f}}}}}", slots)
    try:
        pools = {s: pool_of(spec, s, seed, 10).digits for s in ("train", "test_unseen", "validation_unseen")}
    except InputError as error:
        assert "numbers.held_out: " in str(error)  # noqa: PT017
        return
    every = np.concatenate(list(pools.values()))
    for slot in range(slots):
        assert set(pools["train"][:, slot]) == set(every[:, slot])
    sets = {split: {tuple(own) for own in digits.tolist()} for split, digits in pools.items()}
    assert len(sets["test_unseen"]) == round(Decimal(f"{share:.3f}") * count)
    assert not sets["train"] & (sets["test_unseen"] | sets["validation_unseen"])
    if round(Decimal(f"{validation:.3f}") * count):
        assert not sets["test_unseen"] & sets["validation_unseen"]
        assert len(set.union(*sets.values())) == count
    else:
        assert sets["test_unseen"] == sets["validation_unseen"]


def test_what_is_held_out_depends_on_layout_and_seed_only():
    spec, other = layout("{held_out: {share: 0.2}}"), layout("{held_out: {share: 0.21}}")
    unseen = [
        pool_of(each, "test_unseen", seed, 10).digits.tolist() for each, seed in ((spec, 0), (spec, 1), (other, 0))
    ]
    assert unseen[0] != unseen[1]
    assert [each for each in unseen[2] if each in unseen[0]] != unseen[0]
    assert pool_of(layout("{held_out: {share: 0.2}}"), "test_unseen", 0, 10).digits.tolist() == unseen[0]


def test_a_share_that_leaves_too_little_is_refused():
    with pytest.raises(InputError, match=r"95 of 100 numbers; at most about \d\d can be held out so that every digit"):
        pool_of(layout("{held_out: {share: 0.95}}"), "train", 0, 10)


SPLIT_NUMBERS = layout('{held_out: {test: ["5*", "12"], validation: ["13"]}}')


@pytest.mark.parametrize(
    ("split", "wanted"),
    [
        ("train", {*range(100)} - {*range(50, 60), 12, 13}),
        ("test", {*range(100)} - {*range(50, 60), 12, 13}),
        ("fit", {*range(100)} - {*range(50, 60), 12, 13}),
        ("validation", {*range(100)} - {*range(50, 60), 12, 13}),
        ("test_unseen", {*range(50, 60), 12}),
        ("validation_unseen", {13}),
    ],
)
def test_a_split_shows_its_numbers_and_no_others(split, wanted):
    assert set(shown(SPLIT_NUMBERS, split, 0, 4000, bank=load_digits(split))) == wanted


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ('{held_out: {test: ["12"], validation: ["1*"]}}', "12 is in test and in validation"),
        ('{held_out: "**"}', "all numbers are held out; none is left to train on"),
        ('{weights: {list: {"12": 1, "13": 1}}, held_out: "7*"}', "'7\\*' is none of the numbers that occur"),
        ("{held_out: {share: 0.001}}", "share = 0.001 of 100 numbers is none"),
    ],
)
def test_what_cannot_be_held_out_is_told(numbers, message):
    with pytest.raises(InputError, match=message):
        draw(layout(numbers), "train", 0, 1, 0, BANK)


def test_there_is_no_unseen_split_where_nothing_is_held_out():
    for numbers in ("any", "{}"):
        with pytest.raises(InputError, match="x: no split 'test_unseen': the layout holds no numbers out"):
            draw(layout(numbers), "test_unseen", 0, 1, 0, BANK)


def test_unseen_numbers_are_as_frequent_as_the_seen_ones():
    assert unseen_count(layout("{held_out: {share: 0.2}}"), "test_unseen", 0, 10, 10_000) == 2500
    assert unseen_count(SPLIT_NUMBERS, "test_unseen", 0, 10, 880) == 110
    assert unseen_count(SPLIT_NUMBERS, "validation_unseen", 0, 10, 880) == 10
    assert unseen_count(layout('{held_out: ["12"]}'), "test_unseen", 0, 10, 148) == 1  # 1.49
    assert unseen_count(layout('{held_out: ["12"]}'), "test_unseen", 0, 10, 149) == 2  # 1.51


# --- other digit sets -----------------------------------------------------------------------------------------------


def bank_of(labels, classes):
    count = len(labels)
    boxes = np.tile(np.array([4, 4, 24, 24], np.int16), (count, 1))
    return DigitBank(np.full((count, 28, 28), 255, np.uint8), np.array(labels, np.uint8), boxes, classes, "0" * 64)


def test_a_digit_without_images_and_too_many_numbers_are_told():
    with pytest.raises(InputError, match="the digit 2 has no image in the train split"):
        draw(layout("{}"), "train", 0, 1, 0, bank_of([0, 1, 3], 4))
    with pytest.raises(
        InputError, match=r"6 digits of 26 classes make 308,915,776 numbers; allowed are up to 1,000,000"
    ):
        draw(layout("{}", 6), "train", 0, 1, 0, bank_of(range(26), 26))
    with pytest.raises(InputError, match="'07': the digit set has the classes 0 to 3"):
        draw(layout('{weights: {list: {"07": 1}}}'), "train", 0, 1, 0, bank_of(range(4), 4))


def test_numbers_of_other_classes_are_numbers_in_their_base():
    bank = bank_of([*range(12)] * 2, 12)
    assert set(shown(layout("{weights: balanced}"), "train", 0, 144, bank=bank)) == set(range(144))
    assert set(shown(layout('{weights: {list: {"90": 1}}}'), "train", 0, 9, bank=bank)) == {9 * 12}
