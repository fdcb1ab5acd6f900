"""What runs misread: by position, by number, by digit, and the images that most of them miss."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.digits.bank import load_digits
from mnistcompose.digits.source import Digits
from mnistcompose.errors import BuildError, InputError
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.preview import compose_samples, sheet
from mnistcompose.rendering.draws import draw
from mnistcompose.rendering.render import labels

from ..data.numbers import to_digits
from ..experiments.inference import Trained, error_by_position, load_trained, weigh, written
from ..experiments.run import has_weights
from ..experiments.run_file import Record
from .table import Row

NUMBERS, IMAGES = 8, 12  # how many of the numbers and images that are misread most are shown
MOST_CLASSES = 16  # of a digit; with more, no table of confusions is made
_CHUNK = 100_000  # labels that are drawn at once
_SHEET = 45, 9  # images on a contact sheet, and in a row
_COLORS = 256  # of a contact sheet's palette


class Misread(NamedTuple):
    """A number that is misread often."""

    number: str
    images: int
    errors: list[float]  # percent, by model with a result
    read_as: list[tuple[str, int]]  # the most frequent wrong answers, and how often they were given


class Picture(NamedTuple):
    """A misread image."""

    png: bytes
    place: int  # index in the split
    number: str
    notes: list[str]  # the numbers that were read


class Sure(NamedTuple):
    """A run whose weights are kept, and the misread images whose true number it finds least likely."""

    name: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Reading:
    """The measured images, and what the runs read in them."""

    sheet: bytes  # PNG
    positions: list[tuple[str, list[float]]]  # by model, share of wrong digits at each position, percent
    numbers: list[Misread]
    digits: list[list[float]] | None  # percent of the digit (row) that was read as another (column)
    missed: list[Picture]  # images that most runs misread
    sure: list[Sure]


@dataclass(frozen=True, eq=False)
class Truth:
    """The images that a dataset's runs were measured on, composed again from the layout.

    Attributes
    ----------
    numbers : int64 (N,)
        True numbers of the images.
    """

    layout: LayoutSpec
    digits: Digits
    data: ComposedDigits
    numbers: NDArray[np.int64]

    @property
    def base(self) -> tuple[int, int]:
        """Classes of a digit, and digits of a number."""
        return self.data.classes, self.data.slots

    def images(self, indices: Sequence[int] | NDArray[np.int64]) -> torch.Tensor:
        """Images uint8 (n, C, H, W)."""
        images: torch.Tensor = self.data[np.asarray(indices, np.int64)][0]
        return images


def find_truth(run: Mapping[str, Any], layouts: Mapping[str, LayoutSpec], digits: Digits) -> Truth:
    """Compose a run's images again; `run` is what determined it.

    Raises
    ------
    InputError
        The layout or the digits are not available.
    """
    if not run.get("spec"):
        raise InputError("natural images; this report has neither their pictures nor their labels")
    layout = layouts.get(run["spec"])
    if layout is None:
        raise InputError(f"no known layout has the digest {run['spec']:.12}; give it as --layout FILE")
    split, count = run["measured_on"], run["splits"][run["measured_on"]]["images"]
    bank = load_digits(split, digits)
    if bank.digest != run.get("digits"):
        raise InputError(f"made of other digits (digest {run.get('digits')!s:.12}); give them as --digits DIR")
    data = ComposedDigits(layout, split, run.get("data_seed", 0), length=count, digits=digits)
    pieces = [
        labels(bank, draw(layout, split, start, min(start + _CHUNK, count), data.seed, bank))[0]
        for start in range(0, count, _CHUNK)
    ]
    counts = {name: entry["images"] for name, entry in run["splits"].items() if name in ("train", "test")}
    return Truth(layout.model_copy(update=counts), digits, data, np.concatenate(pieces))  # counts as built


def reading_of(runs: Mapping[Path, Record], rows: Sequence[Row], truth: Truth) -> Reading:
    """Collect what the runs on one dataset misread.

    Raises
    ------
    BuildError
        A run counts a correct answer as wrong, or kept weights are damaged.
    """
    for path, record in runs.items():
        wrong, predicted = _answers(record)
        agreed = np.flatnonzero(truth.numbers[wrong] == predicted)
        if len(agreed):
            raise BuildError(
                f"{path}: calls the answer to image {wrong[agreed[0]]} wrong, which is right; delete it to run it again"
            )
    by_model = {
        model: list(group) for model, group in groupby(runs.values(), lambda record: record["determined_by"]["model"])
    }
    models = [row.model for row in rows if row.runs]
    return Reading(
        _sheet(truth),
        [(model, position_errors(by_model[model], truth)) for model in models],
        worst_numbers([by_model[model] for model in models], truth),
        digit_confusions(list(runs.values()), truth),
        _missed(list(runs.values()), truth),
        [_sure(trained, runs[path], truth) for path, trained in _kept(runs)],
    )


def _answers(record: Record) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the images that were misread, and the numbers that were read."""
    return np.array(record["wrong"], np.int64), np.array(record["predicted"], np.int64)


def position_errors(records: Sequence[Record], truth: Truth) -> list[float]:
    """Share of wrong digits at each position, in percent; mean over the runs."""
    shares = np.zeros((len(records), truth.base[1]))
    for row, record in zip(shares, records, strict=True):
        wrong, predicted = _answers(record)
        if len(wrong):
            row[:] = error_by_position(predicted, truth.numbers[wrong], *truth.base)
            row *= len(wrong) / len(truth.numbers)
    return [float(share) for share in shares.mean(0)]


def worst_numbers(by_model: Sequence[Sequence[Record]], truth: Truth, most: int = NUMBERS) -> list[Misread]:
    """Find the numbers of which all runs together misread the largest share.

    Numbers with fewer images than the average are left out, because their shares are less reliable.
    """
    values, place, counts = np.unique(truth.numbers, return_inverse=True, return_counts=True)
    errors = np.stack([_misread(records, place, len(values)) for records in by_model])  # (models, numbers)
    runs = np.array([len(records) for records in by_model])
    shares = errors.sum(0) / (counts * runs.sum())
    fair = counts >= counts.mean()
    worst = [i for i in np.lexsort((values, -shares)) if fair[i] and shares[i]][:most]
    answers: dict[int, Counter[int]] = {int(i): Counter() for i in worst}
    for record in (record for records in by_model for record in records):
        wrong, predicted = _answers(record)
        for i, answer in zip(place[wrong].tolist(), predicted.tolist(), strict=True):
            if i in answers:
                answers[i][answer] += 1
    return [
        Misread(
            written(int(values[i]), *truth.base),
            int(counts[i]),
            [100 * float(share) for share in errors[:, i] / (counts[i] * runs)],
            [(written(answer, *truth.base), times) for answer, times in _most_common(answers[int(i)], 3)],
        )
        for i in worst
    ]


def _misread(records: Sequence[Record], place: NDArray[np.intp], length: int) -> NDArray[np.int64]:
    """How often each number was misread."""
    sums = [np.bincount(place[_answers(record)[0]], minlength=length) for record in records]
    total: NDArray[np.int64] = np.sum(sums, axis=0, dtype=np.int64)
    return total


def _most_common(answers: Counter[int], most: int) -> list[tuple[int, int]]:
    """Like `Counter.most_common`, but of two equally common answers the smaller comes first."""
    return sorted(answers.items(), key=lambda item: (-item[1], item[0]))[:most]


def digit_confusions(records: Sequence[Record], truth: Truth) -> list[list[float]] | None:
    """Percent of the appearances of a digit (row), anywhere in a number, that were read as another (column).

    None if a digit has too many classes for a table.
    """
    classes, _ = truth.base
    if classes > MOST_CLASSES:
        return None
    shown = np.bincount(to_digits(truth.numbers, *truth.base).ravel(), minlength=classes)
    read = np.zeros((classes, classes))
    for record in records:
        wrong, predicted = _answers(record)
        np.add.at(read, tuple(to_digits(each, *truth.base) for each in (truth.numbers[wrong], predicted)), 1)
    np.fill_diagonal(read, 0)
    shares: list[list[float]] = (100 * read / (np.maximum(shown, 1) * len(records))[:, None]).tolist()
    return shares


def _missed(records: Sequence[Record], truth: Truth, most: int = IMAGES) -> list[Picture]:
    """Find the images that most runs misread; among these, those on which the runs agree come first."""
    answers: dict[int, Counter[int]] = {}
    for record in records:
        for index, answer in zip(record["wrong"], record["predicted"], strict=True):
            answers.setdefault(index, Counter())[answer] += 1
    worst = sorted(answers, key=lambda i: (-answers[i].total(), -max(answers[i].values()), i))[:most]
    notes = [
        [f"{written(a, *truth.base)}{f' ×{times}' if times > 1 else ''}" for a, times in _most_common(answers[i], 3)]
        for i in worst
    ]
    return _pictures(worst, notes, truth)


def _pictures(indices: Sequence[int], notes: Sequence[list[str]], truth: Truth) -> list[Picture]:
    return [
        Picture(_png(_drawn(image)), index, written(int(truth.numbers[index]), *truth.base), said)
        for image, index, said in zip(truth.images(indices), indices, notes, strict=True)
    ]


def _drawn(image: torch.Tensor) -> Image.Image:
    """Picture of an image, uint8 (C, H, W), grey or in colour."""
    return Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())


def _kept(runs: Mapping[Path, Record]) -> list[tuple[Path, Trained]]:
    """Find each model's first run whose weights are kept; those of an unfinished repetition do not count."""
    found: dict[str, tuple[Path, Trained]] = {}
    for path, record in runs.items():
        run = record["determined_by"]
        if run["model"] not in found and has_weights(path.with_suffix(".pt"), run["epochs"]):
            found[run["model"]] = path, load_trained(path)
    return list(found.values())


def _sure(trained: Trained, record: Record, truth: Truth, most: int = IMAGES) -> Sure:
    """Find the misread images to whose true numbers the network gives the least probability."""
    run = record["determined_by"]
    wrong, _ = _answers(record)
    guesses, of_guess, of_truth = weigh(trained, truth.images(wrong), truth.numbers[wrong], torch.device("cpu"))
    worst = np.lexsort((wrong, of_truth))[:most]
    notes = [[f"{written(int(guesses[i]), *truth.base)}, {100 * of_guess[i]:.0f} %"] for i in worst]
    return Sure(f"{run['model']}, seed {run['seed']}", _pictures([int(wrong[i]) for i in worst], notes, truth))


def _sheet(truth: Truth) -> bytes:
    count, columns = _SHEET
    samples = compose_samples(truth.layout, count, truth.data.seed, truth.digits)
    brief = replace(samples, spec=truth.layout.model_copy(update={"description": ""}))  # the page has it as text
    return _png(sheet(brief, columns).quantize(_COLORS))


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()
