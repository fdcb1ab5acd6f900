"""The runs of a grid in the form of the paper's Table 1: datasets by models, the paper's beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from .experiment import MODELS
from .table import Row, error_cell, markdown_table, paper_notation


@dataclass(frozen=True)
class Agreement:
    """How our Table 1 and the paper's agree.

    Attributes
    ----------
    rank : dict
        Spearman's rank correlation of our errors with the paper's over datasets, by model.
    within : dict
        By model, on how many datasets our error is within 10, 20 and 25 % of the paper's.
    ordered : int
        Datasets on which oracle < A3S < baseline.
    datasets : int
        Datasets with all three.
    """

    rank: dict[str, float]
    within: dict[str, tuple[int, int, int]]
    ordered: int
    datasets: int


def agreement(rows: Sequence[Row]) -> Agreement:
    """Compare what `summarise` gives with the paper."""
    from scipy.stats import spearmanr

    errors = {(row.dataset, row.model): row.error_percent for row in rows if row.error_percent is not None}
    rank, within = {}, {}
    for model in MODELS:
        pairs = [
            (errors[r.dataset, model], r.paper_percent)
            for r in rows
            if (r.dataset, model) in errors and r.model == model and r.paper_percent is not None
        ]
        if len(pairs) < 3:
            continue
        rank[model] = float(spearmanr([ours for ours, _ in pairs], [paper for _, paper in pairs]).statistic)
        off = [abs(ours / paper - 1) for ours, paper in pairs]
        within[model] = (sum(o <= 0.10 for o in off), sum(o <= 0.20 for o in off), sum(o <= 0.25 for o in off))
    whole = [d for d in {d for d, _ in errors} if all((d, m) in errors for m in ("oracle", "A3S", "baseline"))]
    ordered = sum(errors[d, "oracle"] < errors[d, "A3S"] < errors[d, "baseline"] for d in whole)
    return Agreement(rank, within, ordered, len(whole))


def as_paper(rows: Sequence[Row]) -> str:
    """Markdown: error in percent, ours / the paper's, and the relative gain of A3S over the baseline."""
    found = {(row.dataset, row.model): row for row in rows}
    models = [model for model in MODELS if any(row.model == model for row in rows)]
    head = ["dataset", *models, *(["gain of A3S %"] if "A3S" in models else [])]
    lines = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        cells = [_cell(found.get((dataset, model))) for model in models]
        lines.append([dataset, *cells, *([_gain(found.get((dataset, "A3S")))] if "A3S" in models else [])])
    return markdown_table(head, lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    ours = error_cell(row)
    return ours if row.paper_percent is None else f"{ours} / {paper_notation(row.paper_percent, row.paper_std_percent)}"


def _gain(row: Row | None) -> str:
    if row is None or row.gain_percent is None:
        return ""
    return " / ".join(f"{gain:.1f}" for gain in (row.gain_percent, row.paper_gain_percent) if gain is not None)


def as_sentences(found: Agreement) -> str:
    """Markdown list of what `agreement` found."""
    lines = [f"oracle < A3S < baseline on {found.ordered} of {found.datasets} datasets"] if found.datasets else []
    lines += [
        f"{model}: rank correlation with the paper {found.rank[model]:.3f}; within 10 % of the paper's error on {ten} "
        f"datasets, 20 % on {twenty}, 25 % on {quarter}"
        for model, (ten, twenty, quarter) in found.within.items()
    ]
    return "\n".join(f"- {line}" for line in lines)
