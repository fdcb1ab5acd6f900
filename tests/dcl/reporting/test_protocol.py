"""The paper's numbers stand only next to runs of its protocol, and never without their note."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from dcl.reporting.html import as_html, as_markdown
from dcl.reporting.protocol import NOTE, follows_protocol
from dcl.reporting.report import make_report
from dcl.reporting.statistics import relative_drop
from dcl.reporting.table import check_alike, summarise
from mnistcompose.cli import main
from mnistcompose.digits.bank import load_digits
from mnistcompose.errors import InputError
from mnistcompose.layout.names import load_spec

STORED = Path(__file__).parents[3] / "results" / "table1"
PROTOCOL = {
    "dataset": "MNIST-III-10",
    "model": "baseline",
    "epochs": 20,
    "data_seed": 0,
    "measured_on": "test",
    "splits": {"train": {"images": 60_000}, "test": {"images": 10_000}},
}


@settings(deadline=None)  # the first call reads the digits
@given(
    st.sampled_from(["baseline", "oracle"]),
    st.sampled_from([1, 10, 20]),
    st.sampled_from([2000, 60_000]),
    st.sampled_from([1000, 10_000]),
    st.sampled_from([0, 1]),
)
def test_only_the_protocol_counts(model, epochs, train, test, data_seed):
    counts = {"train": {"images": train}, "test": {"images": test}}
    run = PROTOCOL | {"model": model, "epochs": epochs, "data_seed": data_seed, "splits": counts}
    of_protocol = (train, test, data_seed) == (60_000, 10_000, 0) and epochs == (10 if model == "oracle" else 20)
    assert follows_protocol(run) == of_protocol
    assert not follows_protocol(run | {"measured_on": "validation"})
    bundled = {"spec": load_spec("MNIST-III-10").digest, "digits": load_digits("test").digest}
    assert follows_protocol(run | bundled) == of_protocol
    for name, other in (("spec", load_spec("MNIST-III-09").digest), ("digits", "0" * 64), ("dataset", "mine")):
        assert not follows_protocol(run | bundled | {name: other})
    record = {"determined_by": {**run, "seed": 0}, "error_percent": 1.0, "wrong": [0], "parameters": 1, "seconds": 1.0}
    (row,) = summarise([record])
    assert (row.paper_percent is not None) == of_protocol


def small(changes: dict) -> dict:
    """A finished run of the protocol, but for these changes."""
    run = {**PROTOCOL, "seed": 0, "notation": "OUT", "precision": "float32", "recipe": {"lr": 0.1}, **changes}
    history = {"train_loss": [1.0], "test_loss": [1.0], "test_error": [1.0]}
    found = {"error_percent": 98.7, "wrong": [0], "predicted": [1], "parameters": 1, "seconds": 1.0}
    return {"determined_by": run, "history": history, **found}


@pytest.mark.parametrize("epochs", [1, 20])
def test_the_papers_gain_needs_a_baseline_of_the_protocol(epochs):
    rows = summarise([small({"epochs": epochs}), small({"model": "A2"})])
    assert rows[1].paper_percent == 9.17
    assert (rows[1].paper_gain_percent is None) == (epochs == 1)


def test_a_report_says_why_the_papers_errors_are_missing_or_what_they_are_worth():
    for changes, shown in (({"epochs": 1}, False), ({}, True)):
        report = make_report({Path("a"): small(changes)}, root=Path())
        for text in (as_html(report), as_markdown(report)):
            plain = text.replace("&#39;", "'")
            assert ("10.12" in text) == shown
            assert (NOTE in plain) == shown
            assert ("are not shown" in plain) != shown


def test_compare_prints_the_note_next_to_the_papers_numbers(capsys):
    for style in ([], ["--markdown"]):
        main(["compare", "--out", str(STORED), *style])
        shown = capsys.readouterr().out
        assert "10.12(25)" in shown
        assert NOTE in shown


def test_a_message_names_files_where_there_are_files():
    one, other = small({}), small({"seed": 1, "digits": "f" * 64})
    with pytest.raises(InputError, match=r"^x\.json and y\.json differ in digits"):
        check_alike([one, other], ["x.json", "y.json"])
    with pytest.raises(
        InputError, match=r"^MNIST-III-10 baseline seed 0 and MNIST-III-10 baseline seed 1 differ in digits"
    ):
        check_alike([one, other])
    with pytest.raises(InputError, match=r"^x\.json and y\.json have the same dataset, model and seed"):
        check_alike([one, one], ["x.json", "y.json"])
    check_alike([one, small({"model": "A2", "notation": "other"})])


@given(st.floats(0, 100), st.floats(0, 100))
def test_a_drop_from_zero_is_unknown(error, reference):
    drop = relative_drop(error, reference)
    assert (drop is None) == (reference == 0)
    if drop is not None and error <= reference:
        assert 0 <= drop <= 100 * (1 + 1e-9)
