from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from dcl.reporting.claims import by_model, compare_models
from dcl.reporting.published import agreement, as_paper
from dcl.reporting.statistics import relative_drop
from dcl.reporting.table import Row, paper_table, summarise

DATASETS = sorted({dataset for dataset, _ in paper_table()})


def row(dataset: str, model: str, error: float, baseline: float | None = None) -> Row:
    paper, std = paper_table()[dataset, model]
    gains = None, None
    if baseline is not None and model != "baseline":
        gains = relative_drop(error, baseline), relative_drop(paper, paper_table()[dataset, "baseline"][0])
    return Row(dataset, model, error, None, 1, paper, std, None, None, None, *gains, 20, 1, 1.0)


def the_papers() -> list[Row]:
    return [row(d, model, error, paper_table()[d, "baseline"][0]) for (d, model), (error, _) in paper_table().items()]


def test_the_paper_agrees_with_itself():
    found = agreement(the_papers())
    assert [gains.rank for gains in found.gains.values()] == pytest.approx([1.0] * 7)
    for gains in found.gains.values():
        assert list(gains.families) == ["two digits", "three digits"]
        assert all(low <= mean == pytest.approx(paper) for mean, low, _, paper in gains.families.values())
    assert set(found.within.values()) == {(15, 15, 15)}
    assert (found.ordered, found.datasets) == (15, 15)


@given(st.integers(50, 200).filter(lambda percent: percent not in (75, 80, 90, 110, 120, 125)))
def test_agreement_is_relative(percent):
    factor = percent / 100
    found = agreement([row(dataset, "A3S", factor * paper_table()[dataset, "A3S"][0]) for dataset in DATASETS])
    ten, twenty, quarter = found.within["A3S"]
    assert ten <= twenty <= quarter
    assert {ten, twenty, quarter} <= {0, 15}
    assert (quarter == 15) == (abs(factor - 1) <= 0.25)
    assert found.gains == {}  # there is no baseline
    assert found.datasets == 0


def test_datasets_without_an_error_of_the_baseline_have_no_gain():
    rows = [row(dataset, "A2", 1.0, 0.0) for dataset in DATASETS]
    assert agreement(rows).gains == {}
    found = agreement([*rows[1:], row(DATASETS[0], "A2", 1.0, 2.0)])
    assert found.gains["A2"].families["two digits"][0] == 50


@settings(deadline=None, max_examples=20)  # scipy's first import counts
@given(st.lists(st.lists(st.integers(0, 400), min_size=1, max_size=3), min_size=2, max_size=2))
def test_gains_are_those_of_the_rows_and_of_the_claims(wrong):
    """Whatever seeds there are: two tables of one page never give a different gain."""
    records = [
        a_record(model, seed, count) for model, counts in zip(("A2", "baseline"), wrong, strict=True)
        for seed, count in enumerate(counts)
    ]  # fmt: skip
    rows = summarise(records)
    (gain,) = (row.gain_percent for row in rows if row.model == "A2")
    gains = agreement(rows).gains
    assert (gain is None) == (not gains)
    claimed = compare_models(by_model(records), "A2", "baseline").gain
    assert np.isnan(claimed) if gain is None else claimed == pytest.approx(gain)
    if gains:
        assert gains["A2"].families["three digits"][0] == pytest.approx(gain)


def a_record(model: str, seed: int, wrong: int) -> dict:
    run = {"dataset": "MNIST-III-10", "model": model, "seed": seed, "epochs": 20, "measured_on": "test"}
    splits = {"train": {"images": 60_000}, "test": {"images": 10_000}}
    history = {"train_loss": [1.0], "test_loss": [1.0], "test_error": [1.0]}
    found = {"error_percent": wrong / 100, "wrong": list(range(wrong)), "parameters": 1, "seconds": 1.0}
    return {"determined_by": {**run, "splits": splits}, "history": history, **found}


def test_the_table_has_the_papers_rows_and_columns():
    rows = the_papers()
    lines = as_paper(rows).splitlines()
    assert len(lines) == 2 + 15
    widths = {line.count("|") for line in lines}
    assert len(widths) == 1
    assert "9.14 / 9.14(07)" in lines[-1]
    assert all(a < b for a, b in pairwise(line.split("|")[1] for line in lines[2:]))


def test_table_1_is_what_the_stored_runs_give():
    from table1 import table1

    for path, text in table1().items():
        assert path.read_text() == text, f"{path.name}: python benchmarks/table1.py makes it anew"
