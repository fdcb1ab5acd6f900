"""The file of a stored run: its format, reading and writing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mnistcompose.errors import BuildError, InputError
from mnistcompose.quantities import counted
from mnistcompose.storage.files import failing, write_file
from mnistcompose.storage.manifest import MANIFEST

from ..data.image_sets import IMAGES_HASH

RECORD_FORMAT = "mnistcompose-run-1"

Record = dict[str, Any]

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"

_Count = Annotated[int, Field(ge=0, le=10**8)]
_Percent = Annotated[float, Field(ge=0, le=100)]
_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Split(_Part):
    images: Annotated[int, Field(ge=1, le=10**8)]
    sha256: str | None = None


class _DeterminedBy(_Part):
    dataset: str
    model: str
    seed: Annotated[int, Field(ge=0)]
    epochs: Annotated[int, Field(ge=1)]
    measured_on: str
    splits: dict[str, _Split]
    precision: str
    recipe: dict[str, str | int | float]
    notation: str
    data_seed: Annotated[int, Field(ge=0, lt=2**63)]
    spec: str | None = None  # a set of natural images has no layout
    digits: str | None = None
    fusion: dict[str, float | None] = {}  # of networks with DCL; older runs lack it


class _Normalisation(_Part):
    mean: list[float]
    std: list[float]


class _History(_Part):
    normalisation: _Normalisation
    train_loss: list[float]
    test_loss: list[float]
    test_error: list[_Percent]
    seconds: list[_Amount]
    images_per_second: list[_Amount]


class _Stored(_Part):
    """The part of a record that tables and tools rely on."""

    format: Literal["mnistcompose-run-1"]
    determined_by: _DeterminedBy
    environment: dict[str, str | int] = {}
    parameters: Annotated[int, Field(ge=0)]
    seconds: _Amount
    error_percent: _Percent
    top5_error_percent: _Percent | None = None  # which older runs lack
    wrong: list[_Count]
    predicted: list[int]
    history: _History

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        run, history = self.determined_by, self.history
        if run.measured_on not in run.splits:
            raise ValueError(f"measured_on is {run.measured_on!r}, which is not one of its splits")
        images = run.splits[run.measured_on].images
        if any(a >= b for a, b in zip(self.wrong, self.wrong[1:], strict=False)) or self.wrong[-1:] >= [images]:
            raise ValueError(f"wrong should be rising indices below {images}")
        if len(self.predicted) != len(self.wrong) or abs(self.error_percent - 100 * len(self.wrong) / images) > 1e-6:
            raise ValueError("error_percent, wrong and predicted do not agree")
        if (self.top5_error_percent or 0) > self.error_percent:
            raise ValueError(f"top5_error_percent is above error_percent, {self.error_percent}")
        values = (history.train_loss, history.test_loss, history.test_error, history.seconds, history.images_per_second)
        if any(len(each) != run.epochs for each in values):
            raise ValueError(f"history should have {counted(run.epochs, 'value')} of each kind")
        return self


class _Unfinished(_Part):
    """A run without a result."""

    format: Literal["mnistcompose-run-1"]
    determined_by: _DeterminedBy
    environment: dict[str, str | int] = {}
    status: Literal["diverged", "failed"]
    reason: str
    history: _History | None = None  # of the epochs that ended before that


def without_images(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What determined a run, without the hashes of its images."""
    kept = {name: {k: v for k, v in entry.items() if k != IMAGES_HASH} for name, entry in _splits(identity).items()}
    return {**identity, **({"splits": kept} if kept else {})}


def hashes_images(identity: Mapping[str, Any]) -> bool:
    """Whether a run on a set of images is stored with the hashes of its images; runs of old versions are not."""
    return any(IMAGES_HASH in entry for entry in _splits(identity).values())


def _splits(identity: Mapping[str, Any]) -> Mapping[str, Any]:
    splits = identity.get("splits")
    return splits if isinstance(splits, Mapping) else {}


def comparable(one: Mapping[str, Any], two: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What determined two runs; without the hashes of their images if one of them was stored without."""
    return (one, two) if hashes_images(one) and hashes_images(two) else (without_images(one), without_images(two))


def status_of(record: Record) -> str:
    """`FINISHED`, `DIVERGED` or `FAILED`."""
    status: str = record.get("status", FINISHED)
    return status


def read_record(path: Path) -> Record:
    """Read a stored run.

    Raises
    ------
    BuildError
        It is damaged, has another format, or contradicts itself.
    """
    with failing("read", path):
        text = path.read_bytes()
    try:
        record: Record = json.loads(text)
        if isinstance(record, dict) and (found := record.get("format")) != RECORD_FORMAT:
            raise BuildError(f"{path}: format {found!r:.80}; this version reads {RECORD_FORMAT}")
        (_Unfinished if isinstance(record, dict) and "status" in record else _Stored).model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BuildError(
            f"{path}: damaged{f' at {where}' if where else ''}: {first['msg']}; delete it to run it again"
        ) from None
    except (ValueError, RecursionError):
        raise BuildError(f"{path}: damaged, or not a run; delete it to run it again") from None
    return record


def write_record(path: Path, record: Record) -> None:
    """Store a run, atomically."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    write_file(path, f"{{\n{lines}\n}}\n".encode())


def read_records(out: Path, places: Sequence[str] = ("*/*.json",)) -> dict[Path, Record]:
    """All runs stored under a grid's folder, or where `places` say.

    Raises
    ------
    InputError
        The folder holds datasets.
    BuildError
        A run is damaged.
    """
    paths = sorted({path for place in places for path in out.glob(place)})
    if dataset := next((path for path in (out / MANIFEST, *paths) if path.name == MANIFEST and path.exists()), None):
        raise InputError(f"{out}: holds a dataset ({dataset.parent}), not runs; name the folder of the runs")
    return {path: read_record(path) for path in paths}
