"""The manifest that lists a dataset's shards."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import BuildError, InputError
from ..layout.model import LayoutSpec
from ..layout.names import bundled_names
from ..quantities import counted, listed
from .digests import split_digest
from .files import failing
from .schema import (
    BLOCK,
    FORMAT,
    MAX_SHARD,
    SPLITS,
    Compression,
    Origin,
    Promise,
    SampleSchema,
    SplitName,
    shard_name,
    splits_of,
)

MANIFEST = "manifest.json"


def has_manifest(root: Path) -> bool:
    """Whether a folder holds a finished dataset.

    Raises
    ------
    BuildError
        The folder cannot be looked into.
    """
    with failing("read", root):
        return (root / MANIFEST).is_file()


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Entry):
    """A file in the dataset's own folder, with its size and hash."""

    name: str = Field(pattern=rf"^({'|'.join(SPLITS)})(-[0-9]{{5,}}-of-[0-9]{{5,}})?\.h5$")
    bytes: Count
    sha256: Digest


class ShardEntry(FileEntry):
    """A shard: its file, and the samples in it."""

    split: SplitName
    first: Count
    count: Count
    blocks: list[Digest] = Field(description="digest of each 1000 samples")


class SplitEntry(_Entry):
    """A split: its shards in order, and the virtual file that joins them."""

    count: Count
    digest: Digest
    virtual: FileEntry
    shards: list[ShardEntry]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        total = 0
        for shard in self.shards:
            if shard.first != total or len(shard.blocks) != -(-shard.count // BLOCK):
                raise ValueError(f"{shard.name} does not continue at sample {total}")
            total += shard.count
        if total != self.count:
            raise ValueError(f"the shards hold {counted(total, 'sample')}, not {self.count:,}")
        if split_digest(block for shard in self.shards for block in shard.blocks) != self.digest:
            raise ValueError("the split's digest is not that of its blocks")
        return self


@lru_cache(maxsize=4)
def _layout(text: str) -> LayoutSpec:
    return LayoutSpec.model_validate_json(text)


class Manifest(_Entry):
    """What a finished dataset consists of, and what it was made from."""

    format: Literal[1] = 1
    mnistcompose: str = Field(description="version of the program")
    license: str = Field(description="licence of the data")
    spec: dict[str, Any] = Field(description="the layout, defaults left out")
    spec_digest: Digest
    digits_digest: Digest
    classes: int = Field(ge=1, le=255)  # 255 is a digit that is absent; of 256 classes, labels would be wrong
    seed: int = Field(ge=0, le=2**63 - 1)
    shard_size: int = Field(ge=BLOCK, le=MAX_SHARD, multiple_of=BLOCK)
    compression: Compression
    masks: bool = Field(default=False, description="whether the shards hold a mask for every digit")
    splits: dict[SplitName, SplitEntry]

    @field_validator("spec")
    @classmethod
    def _is_a_layout(cls, spec: dict[str, Any]) -> dict[str, Any]:
        try:
            _layout(json.dumps(spec))
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        return spec

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Check what concerns several fields."""
        if self.layout.digest != self.spec_digest:
            raise ValueError("spec_digest is not that of the layout")
        if self.classes**self.form.slots > 2**63:
            raise ValueError(f"{self.form.slots} slots of {self.classes} classes make labels of more than 64 bits")
        if set(self.splits) != set(wanted := splits_of(self.layout)):
            raise ValueError(f"splits should be {listed(wanted)}")
        if not any(entry.count for entry in self.splits.values()):
            raise ValueError("splits: hold no images")
        for split, entry in self.splits.items():
            names = [entry.virtual.name, *(shard.name for shard in entry.shards)]
            total = len(entry.shards)
            if names != [f"{split}.h5", *(shard_name(split, number, total) for number in range(total))]:
                raise ValueError(f"splits.{split}: should list {split}.h5, and its {counted(total, 'shard')} in order")
            for shard in entry.shards:
                if (shard.split, shard.count) != (split, min(self.shard_size, entry.count - shard.first)):
                    raise ValueError(f"{shard.name}: split or count are not those of its place")
        return self

    @property
    def layout(self) -> LayoutSpec:
        """The layout."""
        return _layout(json.dumps(self.spec))

    @property
    def form(self) -> SampleSchema:
        """What the samples look like."""
        layout = self.layout
        return SampleSchema.of(layout, self.masks)

    def promise(self, shard: ShardEntry) -> Promise:
        """What one of the shards must hold."""
        origin = Origin(shard.split, self.seed, shard.first, self.spec_digest, self.digits_digest, self.classes)
        return Promise(shard.count, self.form, origin)


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong, in one line: the field, and what it should be."""
    problem = error.errors(include_url=False)[0]
    message = " ".join(problem["msg"].removeprefix("Value error, ").split())
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), message)))


def _seal(fields: dict[str, Any]) -> str:
    """Digest of a manifest: SHA-256 of its sorted-key JSON without the digest itself."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def manifest_bytes(manifest: Manifest) -> bytes:
    """JSON text of a manifest, sealed with a digest of itself."""
    # the field is left out without masks, so that versions before masks can read the manifest
    fields = manifest.model_dump(mode="json", exclude=None if manifest.masks else {"masks"})
    return json.dumps({**fields, "digest": _seal(fields)}, indent=1).encode() + b"\n"


def _how_to_get(root: Path) -> str:
    """What to do about a dataset that is not there."""
    default = Path("data") / root.name
    if (default / MANIFEST).is_file():
        return f"did you mean {default}?"
    name = root.name if root.name in bundled_names() else "NAME"
    return f"mnistcompose build {name} --out {root} makes one"


def read_manifest(root: Path) -> Manifest:
    """Read a dataset's manifest.

    Raises
    ------
    InputError
        The folder holds no finished dataset.
    BuildError
        The manifest is damaged or inconsistent.
    """
    path = root / MANIFEST
    with failing("read", root):
        is_folder, is_finished = root.is_dir(), path.is_file()
    if not is_folder:
        raise InputError(f"{root}: not a dataset's folder; {_how_to_get(root)}")
    if not is_finished and (
        alone := next((name for split in SPLITS if (root / (name := f"{split}.h5")).exists()), None)
    ):
        raise InputError(
            f"{path}: missing; {alone} alone holds no images, it refers to the shards; copy the dataset's whole folder"
        )
    if not is_finished:
        raise InputError(f"{path}: missing; the folder holds no finished dataset (the same build command finishes it)")
    with failing("read", path):
        content = path.read_bytes()
    try:
        fields = json.loads(content)
        digest, sealed = fields.pop("digest", None), _seal(fields)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BuildError(f"{path}: damaged: not a JSON mapping") from None
    if digest != sealed:
        raise BuildError(f"{path}: damaged or edited: it does not agree with its own digest")
    if fields.get("format") != FORMAT:
        raise BuildError(f"{path}: format {fields.get('format')!r}; this version reads format {FORMAT}")
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        raise BuildError(f"{path}: {first_problem(error)}") from None
