"""Means, paired differences and their intervals: functions of arrays that know nothing about runs or datasets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistcompose.errors import InputError

CONFIDENCE = 0.95


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1), which is None for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def relative_drop(error: float, reference: float) -> float | None:
    """By how many percent an error is below a reference; None where the reference is 0."""
    return 100 * (reference - error) / reference if reference else None


@dataclass(frozen=True)
class Difference:
    """Difference of two models' error rates, in percentage points, with its confidence interval.

    Attributes
    ----------
    p_value : float
        Two-sided: 1 minus the confidence at which the interval ends at 0; 1 if all differences are 0.
    """

    mean: float
    low: float
    high: float
    p_value: float = 1.0


def paired_difference(
    model: NDArray[np.bool_],
    baseline: NDArray[np.bool_],
    confidence: float = CONFIDENCE,
    sharing: Any = None,
) -> Difference:
    """Confidence interval of the difference between two models that were measured on the same test images.

    Test images and run seeds are crossed: the effect of an image recurs over seeds, that of a seed over images. The
    variance of the mean is the sum of two parts: that of the images (images - 1 degrees of freedom), and that of the
    seeds, including the interaction of seed and image (seeds - 1). Where the seeds' means differ by less than the
    interaction alone explains, the interaction's own estimate adds what is missing ((images - 1) (seeds - 1)). The
    squared half-width is the sum of each part times its squared quantile of Student's t. With a single seed the
    interval covers the choice of test images only. A single image tells nothing: the interval is -100 to 100.

    Parameters
    ----------
    model, baseline : bool (seeds, N)
        Whether the answer was wrong.
    sharing : sparse array (N, N), optional
        `sharing_sources` of the images. Images that share a source digit are not independent; the images' variance is
        then that for dyadic data (Cameron and Miller): the sum over all pairs that share, or the plain one if larger.

    Raises
    ------
    InputError
        The two have other numbers of seeds or images.
    """
    from scipy import optimize, stats

    if model.shape != baseline.shape:
        raise InputError(f"model {model.shape}, baseline {baseline.shape}: should have the same seeds and images")
    differences = 100.0 * (model.astype(np.int8) - baseline.astype(np.int8))
    seeds, images = differences.shape
    mean = float(differences.mean())
    if images == 1:
        return Difference(mean, -100.0, 100.0)
    by_image, by_seed = differences.mean(0) - mean, differences.mean(1)
    pairs = float(by_image @ by_image)
    if sharing is not None:
        pairs = max(pairs, float(by_image @ (sharing @ by_image)))
    of_images = pairs / (images * (images - 1))
    of_seeds = of_both = 0.0
    if seeds > 1:
        residual = differences - by_image - by_seed[:, None]
        of_seeds = float(by_seed.var(ddof=1)) / seeds
        of_both = float((residual**2).sum()) / ((images - 1) * (seeds - 1)) / (images * seeds)
    parts = np.array([max(0.0, of_images - of_both), of_seeds, max(0.0, of_both - of_seeds)])
    freedom = np.maximum(1, [images - 1, seeds - 1, (images - 1) * (seeds - 1)])

    def half_width(confidence: float) -> float:
        return float(np.sqrt((stats.t.isf((1 - confidence) / 2, freedom) ** 2 * parts).sum()))

    if not parts.any():
        return Difference(mean, mean, mean, 1.0 if mean == 0 else 0.0)
    if abs(mean) < half_width(1e-9):
        p_value = 1.0
    elif abs(mean) > half_width(1 - 1e-12):
        p_value = 0.0
    else:
        p_value = 1 - optimize.brentq(lambda c: half_width(c) - abs(mean), 1e-9, 1 - 1e-12, xtol=1e-13)
    half = half_width(confidence)
    return Difference(mean, mean - half, mean + half, p_value)


def sharing_sources(sources: NDArray[np.integer[Any]]) -> Any:
    """Pairs of images that share a source digit: sparse int64 (images, images), 1 there and on the diagonal.

    Parameters
    ----------
    sources : int (N, slots)
        Source image of each digit.
    """
    from scipy.sparse import csr_array

    _, columns = np.unique(sources, return_inverse=True)
    rows = np.repeat(np.arange(len(sources)), sources.shape[1])
    incidence = csr_array((np.ones(rows.size, np.int64), (rows, columns.ravel())))
    sharing = incidence @ incidence.T
    sharing.data = np.ones_like(sharing.data)
    return sharing


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple tests (Holm's step-down method); a test holds if its value is below 0.05."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(p) for p in adjusted]


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of a sample, and both ends of Student's 95 % interval, which are infinite for a single value."""
    from scipy import stats

    mean, std = mean_and_std(values)
    if std is None:
        return mean, -np.inf, np.inf
    half = float(stats.t.isf((1 - CONFIDENCE) / 2, len(values) - 1)) * std / len(values) ** 0.5
    return mean, mean - half, mean + half
