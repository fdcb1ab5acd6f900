import dataclasses
import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnistcompose import InputError, load_digits
from mnistcompose.digits.bank import DigitBank
from mnistcompose.layout.names import load_spec, spec_names
from mnistcompose.layout.reading import parse_spec
from mnistcompose.layout.varying import NORMAL_CUT
from mnistcompose.rendering import draws
from mnistcompose.rendering.draws import ANGLE, POSITION, SCALE, draw, draw_at, sines

BANK = load_digits("train")
POOL = len(BANK.labels)
COUNTS = st.integers(0, 40)


def fields(draws):
    return [f.name for f in dataclasses.fields(draws)]


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in fields(a))


def join(a, b):
    arrays = fields(a)
    return dataclasses.replace(a, **{name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in arrays})


@given(st.sampled_from(spec_names()), st.integers(0, 10**12), COUNTS, COUNTS, st.integers(0, 2**63 - 1))
def test_a_range_is_the_join_of_its_parts(name, start, first, second, seed):
    spec, stop = load_spec(name), start + first + second
    whole = draw(spec, "train", start, stop, seed, BANK)
    parts = draw(spec, "train", start, start + first, seed, BANK), draw(spec, "train", start + first, stop, seed, BANK)
    assert len(whole) == first + second
    assert equal(whole, join(*parts))


def test_a_split_that_is_none_is_refused():
    for split in ("Train", "all", True, None):
        with pytest.raises(InputError, match=f"no split {split!r}; there are 'train'"):
            draw("MNIST-III-10", split, 0, 3, 0, BANK)


@given(
    st.sampled_from(spec_names()),
    st.sampled_from(["train", "validation"]),
    st.lists(st.integers(0, 10**15), max_size=12),
    st.integers(0, 2**63 - 1),
)
def test_scattered_samples_are_those_of_their_ranges(name, split, indices, seed):
    spec = load_spec(name)
    scattered = draw_at(spec, split, np.array(indices, np.int64), seed, BANK)
    assert len(scattered) == len(indices)
    for row, index in enumerate(indices):
        own = draw(spec, split, index, index + 1, seed, BANK)
        for name in fields(own):
            assert np.array_equal(getattr(scattered, name)[row], getattr(own, name)[0])


@given(st.sampled_from(spec_names()), st.integers(0, 2**63 - 2))
def test_seed_split_and_layout_each_change_the_draws(name, seed):
    spec = load_spec(name)
    base = draw(spec, "train", 0, 50, seed, BANK).source
    other = parse_spec("name: other\nslots: [" + "{center: [0, 0]}, " * len(spec.slots) + "]")
    assert not np.array_equal(base, draw(spec, "train", 0, 50, seed + 1, BANK).source)
    assert not np.array_equal(base, draw(spec, "test", 0, 50, seed, BANK).source)
    assert not np.array_equal(base, draw(other, "train", 0, 50, seed, BANK).source)


def test_the_stream_never_changes():
    """Raw Philox outputs, so that neither numpy nor a new optional field can move a published dataset."""
    slots = "[{center: [0, 0], dx: {uniform: [-1, 1]}, dy: {normal: [0, 0.5]}}, {center: [1, 0]}]"
    draws = draw(parse_spec(f"name: x\nslots: {slots}\n"), "train", 7, 9, 0, BANK)
    assert draws.source.tolist() == [[50331, 29363], [23207, 30729]]
    assert draws.center.tolist() == [[[-715, 131], [4096, 0]], [[-4082, -863], [4096, 0]]]
    assert draws.noise_key.tolist() == [6105914748494636475, 10186299800456433150]


SPREAD = parse_spec("""
name: spread
slots:
  - center: [1, -2]
    dx: {uniform: [-0.5, 0.25]}
    dy: {normal: [0.1, 0.2]}
    scale: {choice: [0.5, 1, 1, 2]}
    rotation: {uniform: [-30, 90]}
    flip: {choice: [none, horizontal, vertical, both]}
noise: {gaussian: {uniform: [1, 3]}, impulse: {normal: [0.5, 0.1]}}
""")


def test_values_follow_their_distributions():
    draws = draw(SPREAD, "train", 0, 20_000, 3, BANK)
    sure = 1e-4  # the draws are fixed, so this passes always or never

    def fits(values, distribution):
        return stats.kstest(values, distribution.cdf).pvalue > sure

    normal = stats.truncnorm(-NORMAL_CUT, NORMAL_CUT)
    assert fits(draws.center[:, 0, 0] / POSITION - 1, stats.uniform(-0.5, 0.75))
    assert fits((draws.center[:, 0, 1] / POSITION + 2 - 0.1) / 0.2, normal)
    assert fits((draws.impulse / 65536 - 0.5) / 0.1, normal)
    assert fits(draws.rotation[:, 0] / ANGLE, stats.uniform(-30, 120))
    assert fits(draws.gaussian / 256, stats.uniform(1, 2))
    assert fits(draws.source[:, 0] / POOL, stats.uniform(0, 1))
    counts = np.unique(draws.scale[:, 0] / SCALE, return_counts=True)
    assert counts[0].tolist() == [0.5, 1, 2]
    assert stats.chisquare(counts[1], [5000, 10_000, 5000]).pvalue > sure
    assert stats.chisquare(np.bincount(draws.flip[:, 0])).pvalue > sure


def test_quantities_are_independent_of_each_other_and_of_the_neighbours():
    draws = draw(SPREAD, "train", 0, 20_000, 4, BANK)
    columns = [draws.source[:, 0], draws.center[:, 0, 0], draws.center[:, 0, 1], draws.rotation[:, 0], draws.gaussian]
    columns += [np.roll(column, 1) for column in columns]
    correlation = np.corrcoef(np.array(columns, float)) - np.eye(len(columns))
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("pool", [1, 2, 10_000, 2**31 - 1])
def test_source_indices_stay_in_the_pool(pool):
    labels, boxes = (
        np.broadcast_to(np.zeros(1, kind), (pool, *shape)) for kind, shape in ((np.uint8, ()), (np.int16, (4,)))
    )
    bank = DigitBank(np.zeros((1, 28, 28), np.uint8), labels, boxes, 10, "")
    source = draw(SPREAD, "test", 0, 5000, 0, bank).source
    assert source.min() >= 0
    assert source.max() < pool
    if pool <= 2:
        assert set(source.ravel()) == set(range(pool))


# --- angles ---------------------------------------------------------------------------------------------------------

ANGLES = np.arange(-360 * ANGLE, 360 * ANGLE + 1, dtype=np.int32)  # all that a layout can ask for


def turned(rotation):
    return sines(SimpleNamespace(rotation=rotation))


def libm(angles, error=0):
    """Cosines and sines of a C library that errs by some units in the last place, in multiples of 2**-30."""
    for function in (np.cos, np.sin):
        values = function(np.deg2rad(angles / ANGLE))
        yield np.rint((values + error * np.spacing(values)) * 2.0**30) * 2.0**-30


def test_sines_are_those_of_the_published_datasets():
    assert len(ANGLES) == 184_321
    multiples = np.rint(np.stack(turned(ANGLES)) * 2.0**30).astype("<i8")
    assert hashlib.sha256(multiples.tobytes()).hexdigest() == (
        "a9b4a484197bd8470aa385319cc3e2662175f5e566bd1d7c7a4c439115fb3eee"
    )


@pytest.mark.parametrize("error", [-1, 0, 1])
def test_sines_are_those_of_a_c_library_but_for_one_angle(error):
    for mine, theirs, doubtful in zip(turned(ANGLES), libm(ANGLES, error), (160.12109375, 289.87890625), strict=True):
        assert set(np.abs(ANGLES[mine != theirs] / ANGLE)) <= {doubtful}


def test_sines_come_from_no_c_library(monkeypatch):
    before = turned(ANGLES)
    draws._sine_table.cache_clear()
    for name in ("sin", "cos", "tan", "deg2rad", "exp"):
        monkeypatch.setattr(np, name, None)
    for mine, theirs in zip(turned(ANGLES), before, strict=True):
        assert np.array_equal(mine, theirs)


@given(st.integers(-(2**31) + 90 * ANGLE, 2**31 - 1 - 90 * ANGLE))
def test_any_angle_has_a_sine(rotation):
    for mine, theirs in zip(turned(np.array([[rotation]], np.int32)), libm(rotation % (360 * ANGLE), 0), strict=True):
        assert abs(mine.item() - theirs) < 2.0**-29
