from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from dcl.reporting.published import agreement, as_paper
from dcl.reporting.table import Row, paper_table

DATASETS = sorted({dataset for dataset, _ in paper_table()})


def row(dataset: str, model: str, error: float) -> Row:
    paper, std = paper_table()[dataset, model]
    return Row(dataset, model, error, None, 1, paper, std, None, None, None, None, None, 20, 1, 1.0)


def test_the_paper_agrees_with_itself():
    found = agreement([row(dataset, model, error) for (dataset, model), (error, _) in paper_table().items()])
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
    rows = [row(dataset, "baseline", 0.0) for dataset in DATASETS] + [row(dataset, "A2", 1.0) for dataset in DATASETS]
    assert agreement(rows).gains == {}
    found = agreement([*rows, row(DATASETS[0], "baseline", 2.0)])
    assert found.gains["A2"].families["two digits"][0] == 50


def test_the_table_has_the_papers_rows_and_columns():
    rows = [row(dataset, model, error) for (dataset, model), (error, _) in paper_table().items()]
    lines = as_paper(rows).splitlines()
    assert len(lines) == 2 + 15
    widths = {line.count("|") for line in lines}
    assert len(widths) == 1
    assert "9.14 / 9.14(07)" in lines[-1]
    assert all(a < b for a, b in pairwise(line.split("|")[1] for line in lines[2:]))


def test_table_1_is_what_the_stored_runs_give():
    root = Path(__file__).parents[3]
    if not (root / "results" / "table1" / "table1.csv").exists():
        pytest.skip("no runs are stored yet")
    from table1 import table1

    for path, text in table1().items():
        assert path.read_text() == text, f"{path.name}: python benchmarks/table1.py makes it anew"
