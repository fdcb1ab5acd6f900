"""The paper's claims about DCL's options (sections 3.5, 4.1.2 and 4.1.3), compared with stored runs."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan

import numpy as np
from numpy.typing import NDArray

from ..experiments.registry import MODELS
from ..experiments.run_file import FINISHED, Record, status_of
from .statistics import CONFIDENCE, holm, mean_interval, relative_drop
from .table import check_alike, difference_of, markdown_table

Runs = Mapping[tuple[str, str], Mapping[int, Record]]  # by dataset and model, then seed


def by_model(records: Iterable[Record]) -> Runs:
    """Group runs with a result by dataset and model, then by seed.

    Raises
    ------
    InputError
        As `check_alike`.
    """
    finished = [record for record in records if status_of(record) == FINISHED]
    check_alike(finished)
    found: dict[tuple[str, str], dict[int, Record]] = defaultdict(dict)
    for record in finished:
        run = record["determined_by"]
        found[run["dataset"], run["model"]][run["seed"]] = record
    return found


@dataclass(frozen=True)
class Comparison:
    """Two models compared over datasets, on the seeds that both have.

    Attributes
    ----------
    datasets : int
        Number of datasets on which both were trained.
    lower : int
        Number of these on which the first model's error is below the second's.
    clearly_lower, clearly_higher : int
        Number on which the 95 % interval of the difference confirms that (`paired_difference`).
    holm_lower, holm_higher : int
        Number on which that still holds after Holm's correction for the number of datasets.
    gain : float
        Mean over datasets of the relative drop of the error, in percent, where the second model's error is above 0;
        NaN without such datasets.
    low, high : float
        Student's 95 % interval of that mean; it treats the datasets as a sample of such datasets.
    """

    model: str
    against: str
    datasets: int
    lower: int
    clearly_lower: int
    clearly_higher: int
    holm_lower: int
    holm_higher: int
    gain: float
    low: float
    high: float


def paired_runs(runs: Runs, model: str, against: str, family: str) -> Iterator[tuple[list[Record], list[Record]]]:
    """Yield the runs of both models on each dataset whose name begins with `family`, of the seeds that both have."""
    for dataset in sorted({dataset for dataset, _ in runs if dataset.startswith(family)}):
        first, second = (runs.get((dataset, name), {}) for name in (model, against))
        if seeds := sorted(first.keys() & second.keys()):
            yield [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def compare_models(runs: Runs, model: str, against: str, family: str = "MNIST-") -> Comparison | None:
    """Compare two models on the datasets whose names begin with `family`; None if none has both."""
    pairs = list(paired_runs(runs, model, against, family))
    if not pairs:
        return None
    differences = [difference_of(ours, theirs) for ours, theirs in pairs]
    gains = [relative_drop(*(_mean(r["error_percent"] for r in each) for each in pair)) for pair in pairs]
    holds = [p < 1 - CONFIDENCE for p in holm([each.p_value for each in differences])]
    return Comparison(
        model,
        against,
        len(differences),
        sum(each.mean < 0 for each in differences),
        sum(each.high < 0 for each in differences),
        sum(each.low > 0 for each in differences),
        sum(each.mean < 0 and held for each, held in zip(differences, holds, strict=True)),
        sum(each.mean > 0 and held for each, held in zip(differences, holds, strict=True)),
        *_interval([gain for gain in gains if gain is not None]),
    )


def _interval(gains: Sequence[float]) -> tuple[float, float, float]:
    return mean_interval(gains) if gains else (nan, nan, nan)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


CLAIMS = {  # as in sections 4.1.2 and 4.1.3: what is compared, on which family
    "the oracle's error is much lower than the baseline's": [("oracle", "baseline", "MNIST-")],
    "DCL on the first fully-connected layer always beats the baseline": [
        (model, "baseline", "MNIST-") for model in ("A2", "A3S", "A3D")
    ],
    "on the second, sometimes it is better, sometimes worse": [
        (model, "baseline", "MNIST-") for model in ("B2", "B3S", "B3D")
    ],
    "three branches beat two on three digits, by much": [(three, "A2", "MNIST-III") for three in ("A3S", "A3D")],
    "and on two digits by less": [(three, "A2", "MNIST-II-") for three in ("A3S", "A3D")],
    "the stochastic strategy often beats the deterministic one": [
        ("A3S", "A3D", "MNIST-"),
        ("B3S", "B3D", "MNIST-"),
    ],
}


def claims_table(runs: Runs) -> str:
    """Write a Markdown table of each claim and the comparisons that test it.

    'Clearly' means by the 95 % interval on each dataset; in parentheses, the number after Holm's correction.
    """
    head = ["the paper says", "compared", "datasets", "lower", "clearly lower", "clearly higher", "mean gain % [95 %]"]
    lines = []
    for claim, comparisons in CLAIMS.items():
        made = [made for each in comparisons if (made := compare_models(runs, *each)) is not None]
        for place, c in enumerate(made):
            interval = f" [{c.low:+.1f}, {c.high:+.1f}]" if isfinite(c.low) else ""
            cells = [
                f"{c.datasets}",
                f"{c.lower}",
                f"{c.clearly_lower} ({c.holm_lower})",
                f"{c.clearly_higher} ({c.holm_higher})",
                "" if isnan(c.gain) else f"{c.gain:+.1f}{interval}",
            ]
            lines.append([claim if place == 0 else "", f"{c.model} to {c.against}", *cells])
    return markdown_table(head, lines, texts=2)


def loss_gaps(runs: Runs, model: str) -> list[tuple[float, float]]:
    """Gaps between test and training loss of a model and of the baseline, by dataset that has both (figure 4).

    A gap is test minus training loss after the last epoch, averaged over the seeds that both have. Training losses are
    means over the last epoch, with dropout.
    """
    pairs = paired_runs(runs, model, "baseline", "MNIST-")
    return [(_mean(map(_loss_gap, ours)), _mean(map(_loss_gap, theirs))) for ours, theirs in pairs]


def _loss_gap(record: Record) -> float:
    test, train = (record["history"][name][-1] for name in ("test_loss", "train_loss"))
    return float(test - train)


def gaps_table(runs: Runs) -> str:
    """Write a Markdown table of each model's loss gap next to the baseline's (figure 4: DCL reduces over-fitting)."""
    head = ["model", "datasets", "test - training loss", "baseline's", "smaller", "mean difference [95 %]"]
    lines = []
    for model in (name for name in MODELS if name not in ("baseline", "oracle")):
        if gaps := loss_gaps(runs, model):
            mean, low, high = mean_interval([ours - theirs for ours, theirs in gaps])
            interval = f" [{low:+.3f}, {high:+.3f}]" if isfinite(low) else ""
            means = (f"{_mean(each):.3f}" for each in zip(*gaps, strict=True))
            smaller = sum(ours < theirs for ours, theirs in gaps)
            lines.append([model, f"{len(gaps)}", *means, f"{smaller}", f"{mean:+.3f}{interval}"])
    return markdown_table(head, lines)


def dead_outputs(branches: NDArray[np.floating], fusion: str) -> int:
    """Count dead outputs, at which no image makes all T branches respond (stochastic: two of them).

    Parameters
    ----------
    branches : float (T, N, outputs)
        The v(t).
    fusion : str
        `deterministic` or `stochastic`.
    """
    needed = 2 if fusion == "stochastic" else len(branches)
    return int(((branches > 0).sum(0) < needed).all(0).sum())


def fired(branches: NDArray[np.floating]) -> list[float]:
    """Share of outputs, over all images, at which at least 1, 2, ... T branches respond (section 3.5).

    Parameters
    ----------
    branches : float (T, N, outputs)
        The v(t).
    """
    firing = (branches > 0).sum(0)
    return [float((firing >= least).mean()) for least in range(1, len(branches) + 1)]
