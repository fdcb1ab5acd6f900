"""Figures 3 to 5 of the paper from stored runs: numbers first, then a picture of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, permutations
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor, nn

from mnistcompose.errors import InputError

from ..data.numbers import to_digits, to_numbers
from ..experiments.run_file import FINISHED, Record, status_of
from ..models.fusion import DCLLinear
from ..models.grammar import Dcl, parse_layers
from ..models.networks import lenet_notation
from ..training.device_data import Normaliser
from .statistics import mean_and_std
from .table import first_difference

COLORS = (  # Okabe and Ito's, which colour-blind readers can tell apart
    "#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442",
)  # fmt: skip
COLUMN = 3.4  # inches, a column's width
Rows = list[tuple[Any, ...]]


def _axes(height: float, columns: int = 1, rows: int = 1, width: float = COLUMN) -> tuple[Figure, NDArray[Any]]:
    figure = Figure((width, height), dpi=200, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.tick_params(which="both", labelsize=7)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    return figure, axes


# --- figure 3: filters per branch -----------------------------------------------------------------------------------

_BASELINE = lenet_notation(classes=10)  # the same for any number of classes
FILTERS = ("filters_per_branch", "error_percent", "std_percent", "runs")


def branch_filters(records: Iterable[Record]) -> Rows:
    """Error in percent of LeNet by the number of filters of a two-branch DCL that replaces FC500; 0 is the baseline.

    Other networks are left out.

    Raises
    ------
    InputError
        There is no such run, or two of them differ in more than the network and the seed.
    """
    errors: dict[int, list[float]] = defaultdict(list)
    firsts: dict[bool, Record] = {}  # the first baseline and the first DCL network; a baseline has no fusion
    for record in records:
        run = record["determined_by"]
        if run["model"] == "oracle" or status_of(record) != FINISHED:
            continue
        layers = parse_layers(run["notation"])
        full = next((layer for layer in layers if layer.kind == "FC"), None)
        plain = "-".join(str(replace(layer, dcl=None) if layer is full else layer) for layer in layers)
        if full is None or plain != _BASELINE:
            continue
        if full.dcl is None or full.dcl == Dcl((full.dcl.filters[0],) * 2, "deterministic"):
            for kind, other in firsts.items():
                ignoring = "model", "notation", *(() if kind == bool(full.dcl) else ("fusion",))
                if unlike := first_difference(other, record, ignoring):
                    raise InputError(f"figure 3: {other['determined_by']['model']} and {run['model']} {unlike}")
            firsts.setdefault(bool(full.dcl), record)
            errors[full.dcl.filters[0] if full.dcl else 0].append(record["error_percent"])
    if not any(errors):
        raise InputError("figure 3 needs runs of A2 with different numbers of filters, as FC500[2x50]")
    return [(filters, *mean_and_std(values), len(values)) for filters, values in sorted(errors.items())]


def draw_filters(rows: Rows) -> Figure:
    """Figure 3: error against filters per branch, the baseline dashed."""
    figure, axes = _axes(2.2)
    ax = axes[0, 0]
    filters, errors, spreads, _ = zip(*(row for row in rows if row[0]), strict=True)
    ax.errorbar(filters, errors, [spread or 0 for spread in spreads], fmt="o-", ms=3, lw=1, color=COLORS[1], label="A2")
    for _, baseline, *_ in (row for row in rows if not row[0]):
        ax.axhline(baseline, color=COLORS[0], ls="--", lw=1, label="baseline")
    ax.set_xscale("log", base=2)
    ax.set_xticks(filters, [str(each) for each in filters])
    ax.set_xlabel("filters in each branch", fontsize=8)
    ax.set_ylabel("test error, %", fontsize=8)
    ax.legend(fontsize=7, frameon=False)
    return figure


# --- figure 4: losses -----------------------------------------------------------------------------------------------

CURVES = ("dataset", "model", "seed", "epoch", "train_loss", "test_loss", "test_error_percent")


def loss_curves(records: Iterable[Record]) -> Rows:
    """Losses and error of each run, one row per epoch."""
    return [
        (run["dataset"], run["model"], run["seed"], epoch, *values)
        for record in records
        for run, history in [(record["determined_by"], record["history"])]
        for epoch, values in enumerate(
            zip(history["train_loss"], history["test_loss"], history["test_error"], strict=True), 1
        )
    ]


def draw_curves(rows: Rows) -> Figure:
    """Figure 4: training (dashed) and test loss by epoch, of each model's first run."""
    figure, axes = _axes(2.4)
    ax = axes[0, 0]
    for color, model in zip(cycle(COLORS), dict.fromkeys(row[1] for row in rows), strict=False):
        first = min(int(row[2]) for row in rows if row[1] == model)
        mine = [row for row in rows if row[1] == model and row[2] == first]
        epochs = [row[3] for row in mine]
        ax.plot(epochs, [row[4] for row in mine], "--", lw=0.8, color=color)
        ax.plot(epochs, [row[5] for row in mine], "-", lw=1.2, color=color, label=model)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:.0e}"[0] in "25" else "")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch", fontsize=8)
    ax.set_ylabel("loss (dashed: training)", fontsize=8)
    ax.legend(fontsize=7, frameon=False)
    return figure


# --- figure 5: responses of branches --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Responses:
    """Mean responses of a network's DCL module to the images of each class (section 4.1.4).

    Attributes
    ----------
    fused : float64 (classes**k, outputs)
        Of z, for each number.
    branches : float64 (T, k, classes, outputs)
        Of v(t), for each digit at each position.
    """

    fused: NDArray[np.float64]
    branches: NDArray[np.float64]


@torch.inference_mode()
def module_responses(
    net: nn.Module, images: Tensor, normalise: Normaliser, batch: int = 500
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Responses of a network's first DCL module that replaces a fully-connected layer.

    Parameters
    ----------
    images : uint8 (N, 1, 28, 28)

    Returns
    -------
    float32 (N, outputs), float32 (T, N, outputs)
        z, and the v(t).

    Raises
    ------
    InputError
        The network has no such module.
    """
    module = next((m for m in net.modules() if isinstance(m, DCLLinear)), None)
    if module is None:
        raise InputError("the network should have DCL in a fully-connected layer's place, as A2 or B2")
    taken: list[tuple[Tensor, Tensor]] = []
    hook = module.register_forward_hook(
        lambda m, inputs, z: taken.append((z.cpu(), torch.stack(m.responses(inputs[0])).cpu()))
    )
    try:
        for part in torch.split(images, batch):
            net(normalise(part))
    finally:
        hook.remove()
    fused, branches = zip(*taken, strict=True)
    return torch.cat(fused).numpy(), torch.cat(branches, 1).numpy()


def mean_responses(
    net: nn.Module, images: Tensor, digits: Tensor, classes: int, normalise: Normaliser, batch: int = 500
) -> Responses:
    """Average z and v(t) of a network's first DCL module that replaces a fully-connected layer.

    Parameters
    ----------
    images : uint8 (N, 1, 28, 28)
    digits : int64 (N, k)
    classes : int
        Number of classes of a digit.

    Raises
    ------
    InputError
        The network has no such module.
    """
    z, v = module_responses(net, images, normalise, batch)
    slots = digits.shape[1]
    each = digits.cpu().numpy()
    return Responses(
        fused=_means(z, to_numbers(each, classes), classes**slots),
        branches=np.stack([[_means(branch, each[:, p], classes) for p in range(slots)] for branch in v]),
    )


def _means(values: NDArray[np.floating[Any]], groups: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Mean over each group of rows, summed in float64; 0 where there is none."""
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, groups, values)
    return sums / np.maximum(np.bincount(groups, minlength=count), 1)[:, None]


def firing(found: Responses) -> NDArray[np.int64]:
    """Indices of fused filters whose mean responses to numbers vary at least half as much as the median filter's."""
    ranges = np.ptp(found.fused, axis=0)
    return np.flatnonzero((ranges > 0) & (ranges >= np.median(ranges) / 2))


def agreeing(found: Responses) -> tuple[float, float]:
    """Share of fused filters that peak at the number to which their branches' peaks point, and the share by chance.

    A filter agrees if its branches can be assigned to different positions such that each branch peaks, at its position,
    at the digit that z's peak, a number, has there. The share by chance combines z of one filter with v of
    another, over all pairs. Filters that do not fire are left out.

    Raises
    ------
    InputError
        There are not as many branches as positions, or fewer than two filters fire.
    """
    positions, classes = found.branches.shape[1:3]
    alive = firing(found)
    if found.branches.shape[0] != positions:
        raise InputError(
            f"{found.branches.shape[0]} branches cannot share {positions} positions; give A2 or B2 and two digits"
        )
    if len(alive) < 2:
        raise InputError(f"{len(alive)} fused filters fire; should be at least 2, so train for longer")
    wanted = to_digits(found.fused.argmax(0)[alive], classes, positions)  # (filters, positions)
    peaks = found.branches.argmax(2)[:, :, alive]  # (T, positions, filters)
    agrees = np.zeros((len(alive), len(alive)), np.bool_)  # z of one, v of another
    for order in permutations(range(positions)):
        hits = [wanted[:, p][:, None] == peaks[branch, p][None] for branch, p in enumerate(order)]
        agrees |= np.logical_and.reduce(hits)
    own = float(np.diagonal(agrees).mean())
    return own, float((agrees.sum() - np.diagonal(agrees).sum()) / (agrees.size - len(alive)))


PLACES = ("first", "second", "third")
RESPONSES = ("model", "filter", "of", "position", "class", "mean_response")


def response_rows(model: str, found: Responses, filters: int) -> Rows:
    """Mean responses of the first filters that fire."""
    rows: Rows = []
    for k in firing(found)[:filters]:
        rows += [(model, int(k), "z", "", number, float(m)) for number, m in enumerate(found.fused[:, k])]
        for branch, of_branch in enumerate(found.branches[..., k], 1):
            for position, means in enumerate(of_branch, 1):
                rows += [(model, int(k), f"v({branch})", position, digit, float(m)) for digit, m in enumerate(means)]
    return rows


def draw_responses(rows: Rows) -> Figure:
    """Figure 5: one row per filter; z over all numbers, then v(t) over digits at the position with the larger range."""
    filters = list(dict.fromkeys(row[:2] for row in rows))
    branches = sorted({row[2] for row in rows if row[2] != "z"})
    figure, axes = _axes(1.1 * len(filters), 1 + len(branches), len(filters), width=2 * COLUMN)
    for line, key in zip(axes, filters, strict=True):
        mine = [row for row in rows if row[:2] == key]
        fused = [row[5] for row in mine if row[2] == "z"]
        _bars(line[0], fused, f"{key[0]}, filter {key[1]}: z")
        for ax, branch in zip(line[1:], branches, strict=True):
            by_position: dict[int, list[float]] = defaultdict(list)
            for _, _, _, position, _, mean in (row for row in mine if row[2] == branch):
                by_position[position].append(mean)
            position = max(by_position, key=lambda p: float(np.ptp(by_position[p])))
            place = PLACES[position - 1] if position <= len(PLACES) else f"{position}th"
            _bars(ax, by_position[position], f"{branch} by {place} digit")
    return figure


def _bars(ax: Any, values: Sequence[float], title: str) -> None:
    colors = [COLORS[1]] * len(values)
    colors[int(np.argmax(values))] = COLORS[2]
    ax.bar(range(len(values)), values, color=colors, width=1 if len(values) > 20 else 0.8)
    ax.set_title(title, fontsize=7)
