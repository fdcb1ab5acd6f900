from itertools import pairwise
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("torch")

from dcl.reporting.claims import by_model, claims_table, compare_models, fired, gaps_table, loss_gaps


def a_record(dataset: str, model: str, wrong: list[int], seed: int = 0) -> dict:
    return {
        "determined_by": {
            "dataset": dataset, "model": model, "seed": seed,
            "measured_on": "test", "splits": {"test": {"images": 500}},
        },
        "error_percent": len(wrong) / 5, "wrong": wrong,
        "history": {"train_loss": [2.0, 0.5], "test_loss": [2.0, 0.75]},
    }  # fmt: skip


WRONG = st.lists(st.integers(0, 499), unique=True).map(sorted)


@settings(deadline=None)  # scipy's first import counts
@given(st.lists(st.tuples(WRONG, WRONG), min_size=1, max_size=5))
def test_a_comparison_and_its_reverse(pairs):
    records = [
        a_record(f"MNIST-II-{i}", model, wrong)
        for i, pair in enumerate(pairs)
        for model, wrong in zip("ab", pair, strict=True)
    ]
    runs = by_model(records)
    there, back = compare_models(runs, "a", "b"), compare_models(runs, "b", "a")
    assert there is not None
    assert back is not None
    assert there.datasets == len(pairs)
    assert (there.clearly_lower, there.clearly_higher) == (back.clearly_higher, back.clearly_lower)
    assert there.lower + back.lower == sum(len(a) != len(b) for a, b in pairs)
    assert there.clearly_lower <= there.lower
    assert there.holm_lower <= there.clearly_lower
    known = any(b for _, b in pairs)  # a drop from an error of 0 is not known
    assert there.low <= there.gain <= there.high if known else isnan(there.gain)
    same = compare_models(runs, "a", "a")
    assert (same.lower, same.clearly_lower) == (0, 0)
    assert same.gain == 0 if any(a for a, _ in pairs) else isnan(same.gain)
    assert compare_models(runs, "a", "b", "MNIST-III") is None
    assert compare_models(runs, "a", "c") is None


def test_only_seeds_that_both_have_are_compared():
    runs = by_model([
        a_record("MNIST-II-01", "A2", [1]),
        a_record("MNIST-II-01", "A2", list(range(400)), seed=1),
        a_record("MNIST-II-01", "baseline", [1, 2]),
    ])  # fmt: skip
    assert compare_models(runs, "A2", "baseline").gain == 50
    assert "| A2 to baseline | 1 | 1 | 0 (0) | 0 (0) | +50.0 |" in claims_table(runs)


@given(arrays(np.float64, st.tuples(*(st.integers(1, 5),) * 3), elements=st.sampled_from([0.0, 0.5])))
def test_shares_of_firing_outputs(branches):
    shares = fired(branches)
    assert len(shares) == len(branches)
    assert sum(shares) == pytest.approx((branches > 0).sum(0).mean())  # the mean of a count is the sum of its tail
    assert all(a >= b for a, b in pairwise(shares))
    assert shares[-1] == pytest.approx((branches > 0).all(0).mean())


@settings(deadline=None)  # scipy's first import counts
@given(
    st.dictionaries(
        st.sampled_from(["MNIST-II-01", "MNIST-III-01", "MNIST-III-02"]),
        st.lists(st.tuples(*(st.sampled_from([0.0, 0.25, 0.5]),) * 4), min_size=1, max_size=3),
        min_size=1,
    ),
    st.integers(0, 2),
)
def test_loss_gaps_are_compared_on_common_seeds(losses, more):
    def of(dataset: str, model: str, seed: int, train: float, test: float) -> dict:
        return a_record(dataset, model, [], seed) | {"history": {"train_loss": [9.0, train], "test_loss": [9.0, test]}}

    records = [
        of(dataset, model, seed, *values)
        for dataset, seeds in losses.items()
        for seed, (*ours, train, test) in enumerate(seeds)
        for model, values in (("A2", ours), ("baseline", (train, test)))
    ]
    records += [of(dataset, "A2", 100 + i, 5.0, 1.0) for dataset in losses for i in range(more)]
    runs = by_model(records)
    means = [np.mean(losses[dataset], axis=0) for dataset in sorted(losses)]
    assert np.allclose(loss_gaps(runs, "A2"), [(b - a, d - c) for a, b, c, d in means])
    sums = [np.sum(losses[dataset], axis=0) for dataset in losses]  # exact, so that a tie is one
    smaller = sum(b - a < d - c for a, b, c, d in sums)
    assert f"| {smaller} |" in gaps_table(runs).splitlines()[-1]
    assert loss_gaps(runs, "B2") == []


def test_the_table_of_firing_outputs_is_what_was_measured():
    from fired import FIRED, fired_table

    assert FIRED.with_suffix(".md").read_text() == fired_table(FIRED.with_suffix(".csv").read_text()) + "\n"
