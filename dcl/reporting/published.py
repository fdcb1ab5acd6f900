"""The runs of a grid in the form of the paper's Table 1: datasets by models, the paper's errors next to ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from mnistcompose.quantities import counted

from ..experiments.registry import MODELS
from .statistics import mean_and_std, mean_interval
from .table import Row, error_cell, markdown_table, paper_notation


@dataclass(frozen=True)
class Gains:
    """Relative drops of a model's error against the baseline's, in percent, over the datasets that have both.

    Attributes
    ----------
    rank, p_value : float or None
        Spearman's rank correlation of our gains with the paper's, and its two-sided p-value; None below three datasets.
    families : dict
        By family: our mean gain, its 95 % interval over datasets, and the paper's mean gain.
    """

    rank: float | None
    p_value: float | None
    families: dict[str, tuple[float, float, float, float]]


@dataclass(frozen=True)
class Agreement:
    """How our Table 1 and the paper's agree.

    The layouts are calibrated to the paper's baseline errors, so errors agree for any model: only gains show whether
    the paper's findings are reproduced.

    Attributes
    ----------
    within : dict
        By model, the numbers of datasets on which our error is within 10, 20 and 25 % of the paper's.
    gains : dict
        By model, without the baseline.
    ordered : int
        Number of datasets on which oracle < A3S < baseline.
    datasets : int
        Number of datasets with all three.
    """

    within: dict[str, tuple[int, int, int]]
    gains: dict[str, Gains]
    ordered: int
    datasets: int


FAMILIES = {"two digits": "MNIST-II-", "three digits": "MNIST-III-"}


def agreement(rows: Sequence[Row]) -> Agreement:
    """Compare the rows of `summarise` with the paper."""
    within, gains = {}, {}
    for model in MODELS:
        of_model = [row for row in rows if row.model == model]
        both = [(row.error_percent, row.paper_percent) for row in of_model]
        off = [abs(ours / paper - 1) for ours, paper in both if ours is not None and paper is not None]
        if len(off) >= 3:
            within[model] = (sum(o <= 0.10 for o in off), sum(o <= 0.20 for o in off), sum(o <= 0.25 for o in off))
        found = {
            row.dataset: (row.gain_percent, row.paper_gain_percent)
            for row in of_model
            if row.gain_percent is not None and row.paper_gain_percent is not None
        }
        if found:
            gains[model] = _gains(found)
    ours = {(row.dataset, row.model): row.error_percent for row in rows if row.error_percent is not None}
    whole = [d for d in {d for d, _ in ours} if all((d, m) in ours for m in ("oracle", "A3S", "baseline"))]
    ordered = sum(ours[d, "oracle"] < ours[d, "A3S"] < ours[d, "baseline"] for d in whole)
    return Agreement(within, gains, ordered, len(whole))


def _gains(by_dataset: Mapping[str, tuple[float, float]]) -> Gains:
    """Summarise gains, ours and the paper's, by dataset."""
    from scipy.stats import spearmanr

    ours, paper = zip(*by_dataset.values(), strict=True)
    rank = spearmanr(ours, paper) if len(ours) >= 3 else None
    families = {}
    for family, prefix in FAMILIES.items():
        if members := [gains for dataset, gains in by_dataset.items() if dataset.startswith(prefix)]:
            families[family] = (*mean_interval([own for own, _ in members]), mean_and_std([p for _, p in members])[0])
    return Gains(
        None if rank is None else float(rank.statistic), None if rank is None else float(rank.pvalue), families
    )


def as_paper(rows: Sequence[Row]) -> str:
    """Write a Markdown table: error in percent, ours / the paper's, and A3S's relative gain over the baseline."""
    found = {(row.dataset, row.model): row for row in rows}
    models = [model for model in MODELS if any(row.model == model for row in rows)]
    head = ["dataset", *models, *(["gain of A3S %"] if "A3S" in models else [])]
    lines = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        cells = [paper_cell(found.get((dataset, model))) for model in models]
        lines.append([dataset, *cells, *([_gain(found.get((dataset, "A3S")))] if "A3S" in models else [])])
    return markdown_table(head, lines)


def paper_cell(row: Row | None) -> str:
    """Write a cell: error in percent, ours / the paper's; empty without a row."""
    if row is None:
        return ""
    ours = error_cell(row)
    return ours if row.paper_percent is None else f"{ours} / {paper_notation(row.paper_percent, row.paper_std_percent)}"


def _gain(row: Row | None) -> str:
    if row is None or row.gain_percent is None:
        return ""
    return " / ".join(f"{gain:.1f}" for gain in (row.gain_percent, row.paper_gain_percent) if gain is not None)


def as_sentences(found: Agreement) -> str:
    """Write what `agreement` found as a Markdown list."""
    lines = (
        [f"oracle < A3S < baseline on {found.ordered} of {counted(found.datasets, 'dataset')}"]
        if found.datasets
        else []
    )
    lines += [
        f"{model}: error within 10 % of the paper's on {counted(ten, 'dataset')}, 20 % on {twenty}, 25 % on {quarter}"
        for model, (ten, twenty, quarter) in found.within.items()
    ]
    for model, gains in found.gains.items():
        families = "; ".join(
            f"{family} {mean:+.1f} %{f' [{low:+.1f}, {high:+.1f}]' if isfinite(low) else ''}, the paper {paper:+.1f} %"
            for family, (mean, low, high, paper) in gains.families.items()
        )
        rank = (
            ""
            if gains.rank is None
            else f"; rank correlation with the paper's gains {gains.rank:+.2f} (p = {gains.p_value:.2f})"
        )
        lines.append(f"{model}: mean gain over the baseline: {families}{rank}")
    return "\n".join(f"- {line}" for line in lines)
