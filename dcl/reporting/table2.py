"""Runs of networks on images in the form of the paper's Table 2: a line per network, columns per dataset."""

from collections.abc import Sequence
from dataclasses import replace

from ..data.image_sets import SETS
from ..models.networks import IMAGE_NETWORKS, without_dcl
from .statistics import relative_drop
from .table import Row, baseline_of, difference_cell, error_cell, paper_table2

TOP5 = "ilsvrc2012 top-5"
TITLES = {"lenet": "LeNet", "bignet": "BigNet", "wrn": "WRN", "alexnet": "AlexNet"}
_FORMS = {"": "w/o DCL", "+dcl": "w/ DCL", "+dcl3s": "w/ DCL, 3 stochastic"}


def title(network: str) -> str:
    """Name of a network, as in the paper's Table 2."""
    plain = without_dcl(network)
    return f"{TITLES[plain]} ({_FORMS[network.removeprefix(plain)]})"


def paper_gain(dataset: str, network: str) -> float | None:
    """By how many percent the network's error in the paper is below that of the same network without DCL."""
    error, reference = (paper_table2().get((dataset, name)) for name in (network, baseline_of(network)))
    return None if error is None or reference is None else relative_drop(error, reference)


def with_top5(rows: Sequence[Row]) -> list[Row]:
    """Add rows with ILSVRC2012's top-5 errors, as the paper gives them."""
    again = [
        replace(
            row,
            dataset=TOP5,
            error_percent=row.top5_percent,
            std_percent=None,
            difference=None,  # the intervals are of the top-1 errors
            paper_percent=row.paper_percent and paper_table2().get((TOP5, row.model)),
            gain_percent=row.top5_gain_percent,
        )
        for row in rows
        if row.dataset == "ilsvrc2012" and row.top5_percent is not None
    ]
    return [*rows, *again]


def pivot(rows: Sequence[Row], others: bool = False) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table, in percent.

    For each dataset: our error, its difference to the network without DCL with a 95 % interval, the relative drop; and,
    of the paper's datasets, the paper's error and drop.

    Parameters
    ----------
    others : bool
        Put the other methods of the paper's table before the networks.
    """
    cells = {(row.dataset, row.model): row for row in with_top5(rows)}
    datasets = [name for name in (*SETS, TOP5) if any(name == dataset for dataset, _ in cells)]
    networks = [name for name in IMAGE_NETWORKS if any(name == model for _, model in cells)]
    known = dict.fromkeys(network for _, network in paper_table2() if network not in IMAGE_NETWORKS)
    of_paper = {dataset for dataset, _ in paper_table2()}
    head = ["network"]
    for name in datasets:
        head += [f"{name} %", "to w/o DCL [95 %]", "drop %", *(["paper %", "paper's"] if name in of_paper else [])]
    head += ["parameters", "runs"]
    lines = []
    for network in known if others else ():
        published = {dataset: paper_table2().get((dataset, network)) for dataset in datasets}
        paper = {dataset: [_number(error, 2), ""] for dataset, error in published.items() if dataset in of_paper}
        lines.append([network, *(cell for d in datasets for cell in ("", "", "", *paper.get(d, []))), "", ""])
    for network in networks:
        line, present = [title(network)], [row for row in rows if row.model == network]
        for dataset in datasets:
            row = cells.get((dataset, network))
            line += [error_cell(row), difference_cell(row), _number(row.gain_percent, 2)] if row else ["", "", ""]
            if dataset not in of_paper:
                continue
            comparable = row is None or row.paper_percent is not None  # the paper has no errors on held-out images
            drop = paper_gain(dataset, network) if comparable and network != baseline_of(network) else None
            line += [_number(paper_table2().get((dataset, network)) if comparable else None, 2), _number(drop, 2)]
        # Parameters depend on the classes and the shape of the images; those of the first dataset are shown.
        line += [_number(present[0].parameters, 0), "/".join(sorted({str(row.runs) for row in present}))]
        lines.append(line)
    return head, lines


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:,.{places}f}"
