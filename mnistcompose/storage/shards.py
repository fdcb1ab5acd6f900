"""One HDF5 shard, the manifest that lists the shards, and the virtual file that joins them.

A shard is made in memory and written in one go: HDF5 holds one lock for the whole process, and a file that appears
under its final name is complete. A shard is hashed before HDF5 opens it, since HDF5 can crash on a damaged file.
"""

import hashlib
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import BuildError, InputError
from ..layout.spec import MAX_SIDE, MAX_SLOTS, SIZE, Output
from .location import cache_folder, is_local, rename

FORMAT = 1
BLOCK = 1000  # samples a digest is made of; a shard holds whole blocks, so that each can be hashed apart
MAX_SHARD = 100_000  # samples; a shard is made and read in memory
MANIFEST = "manifest.json"

Compression = Literal["none", "gzip"]
SplitName = Literal["train", "test"]

_LEVEL = 4  # of gzip

# name: type, shape of one sample, unit; "k" is the number of slots, "image" an image's shape, "area" without colours
_COLUMNS: dict[str, tuple[str, tuple[int | str, ...], str]] = {
    "images": ("|u1", ("image",), "grey level, or red, green and blue"),
    "labels": ("<i8", (), "number"),
    "digits": ("|u1", ("k",), "class, most significant slot first; 255 where the number is shorter"),
    "source_index": ("<i4", ("k",), "index into the source images of the split"),
    "center": ("<f4", ("k", 2), "x, y in slot units, y downwards"),
    "scale": ("<f4", ("k",), "factor"),
    "rotation": ("<f4", ("k",), "degrees, counter-clockwise as seen"),
    "flip": ("|u1", ("k",), "bit 0: left-right, bit 1: upside down"),
    "box": ("<f4", ("k", 4), "x0, y0, x1, y1 in output pixels"),
    "masks": ("|u1", ("k", "area"), "share of the pixel that the digit covers, 0 to 255, before others cover it"),
}
COLUMNS = tuple(name for name in _COLUMNS if name != "masks")  # which only some datasets have
UNITS = {name: unit for name, (_, _, unit) in _COLUMNS.items()}


@dataclass(frozen=True)
class Form:
    """What a dataset's samples look like in its shards.

    Attributes
    ----------
    slots
        Digits of a number, at the most.
    image
        Shape of an image: height, width and, in colour, 3.
    masks
        Whether there is a mask for every digit.
    """

    slots: int
    image: tuple[int, ...] = (SIZE, SIZE)
    masks: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of a shard's arrays."""
        return tuple(_COLUMNS) if self.masks else COLUMNS

    def shape(self, column: str) -> tuple[int, ...]:
        """Of one sample in one of a shard's arrays."""
        sizes = {"k": (self.slots,), "image": self.image, "area": self.image[:2]}
        parts = ((size,) if isinstance(size, int) else sizes[size] for size in _COLUMNS[column][1])
        return tuple(chain.from_iterable(parts))

    @property
    def sample_bytes(self) -> int:
        """Size of one sample in a shard, uncompressed."""
        return sum(np.dtype(_COLUMNS[name][0]).itemsize * math.prod(self.shape(name)) for name in self.columns)


@dataclass(frozen=True, eq=False)
class Shard:
    """Consecutive samples of a split, n of k slots: the images, and the factors they were made with.

    Attributes
    ----------
    split, seed, first
        Where the samples belong; `first` is the index of the first one in its split.
    spec_digest, digits_digest, classes
        What they were made from, and the base of the labels.
    images : uint8 (n, H, W), in colour (n, H, W, 3)
    labels : int64 (n,)
        The number, sum of digit * classes**(length - 1 - slot).
    digits : uint8 (n, k)
        255 where the number is shorter; all factors are zero there.
    source_index : int32 (n, k)
        Index into the source images of the split; -1 without a digit.
    center : float32 (n, k, 2)
        x and y in slot units (20 pixels), y downwards.
    scale : float32 (n, k)
    rotation : float32 (n, k)
        Degrees, counter-clockwise as seen.
    flip : uint8 (n, k)
        Bit 0: left-right, bit 1: upside down.
    box : float32 (n, k, 4)
        x0, y0, x1, y1 of the slot's ink in the image, pixels.
    masks : uint8 (n, k, H, W), or None
        How much each digit covers each pixel, 0 to 255, before any other digit covers it.
    """

    split: SplitName
    seed: int
    first: int
    spec_digest: str
    digits_digest: str
    classes: int
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digits: NDArray[np.uint8]
    source_index: NDArray[np.int32]
    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    rotation: NDArray[np.float32]
    flip: NDArray[np.uint8]
    box: NDArray[np.float32]
    masks: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Give the number of samples."""
        return len(self.labels)

    @property
    def form(self) -> Form:
        """What the samples look like."""
        return Form(self.digits.shape[1], self.images.shape[1:], self.masks is not None)


_ATTRIBUTES = ("split", "seed", "first", "spec_digest", "digits_digest", "classes")


# --- digests --------------------------------------------------------------------------------------------------------


def block_digests(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[str, ...]:
    """SHA-256 of each block of 1000 samples: the images' bytes, then the labels as little-endian 64-bit integers.

    Parameters
    ----------
    images : uint8 (n, H, W), in colour (n, H, W, 3)
        Starting at a multiple of 1000 samples.
    labels : int64 (n,)
    """
    digests = []
    for start in range(0, len(labels), BLOCK):
        state = hashlib.sha256(np.ascontiguousarray(images[start : start + BLOCK]).data)
        state.update(labels[start : start + BLOCK].astype("<i8").data)
        digests.append(state.hexdigest())
    return tuple(digests)


def split_digest(blocks: Iterable[str]) -> str:
    """Digest of a split: SHA-256 of its blocks' digests (32 bytes each), in order."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, blocks))).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises
    ------
    BuildError
        It cannot be read.
    """
    with failing("read", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: Path, found: str, expected: str) -> None:
    """Refuse a file whose SHA-256 is not the one that the manifest says.

    Raises
    ------
    BuildError
        It is another.
    """
    if found != expected:
        raise BuildError(f"{path}: damaged: its SHA-256 is {found[:12]}..., in the manifest {expected[:12]}...")


# --- one shard ------------------------------------------------------------------------------------------------------


def shard_name(split: SplitName, index: int, total: int) -> str:
    """Name of one of a split's shards, as in `train-00000-of-00006.h5`."""
    return f"{split}-{index:05d}-of-{total:05d}.h5"


def column_type(column: str, form: Form) -> tuple[str, tuple[int, ...]]:
    """Type of one of a shard's arrays, and the shape of one sample in it."""
    return _COLUMNS[column][0], form.shape(column)


Pieces = list[memoryview]


class _Sink:
    """A file for HDF5 to write to that copies no large array, but remembers where it goes.

    HDF5's own files in memory are copied twice on their way to the disk, which takes longer than drawing the digits.
    """

    def __init__(self, *arrays: NDArray[Any]) -> None:
        self._arrays = {array.ctypes.data: array for array in arrays}  # by address: those that need no copy
        self._written: dict[int, memoryview] = {}  # by place in the file
        self._place = self._size = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset if whence == os.SEEK_SET else self._size + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, data: memoryview) -> int:
        view = np.frombuffer(data, np.uint8)
        array: NDArray[Any] = self._arrays.get(view.ctypes.data, view)
        kept = view.copy() if array is view or array.nbytes != view.size else array
        self._written[self._place] = kept.reshape(-1).view(np.uint8).data
        self._size = max(self._size, self._place + view.size)
        return view.size

    def truncate(self, size: int) -> int:
        self._size = size
        return size

    def flush(self) -> None:
        pass

    def pieces(self) -> Pieces:
        """All of the file, in order; what was never written is zero."""
        pieces: Pieces = []
        end = 0
        for place, piece in sorted(self._written.items()):
            if place < end:
                raise RuntimeError(f"HDF5 wrote {len(piece)} bytes at {place}, over a part of an earlier write")
            pieces += [memoryview(bytes(place - end)), piece]
            end = place + len(piece)
        return [*pieces, memoryview(bytes(self._size - end))]


def _file(sink: _Sink, version: str) -> h5py.File:
    """Open an HDF5 file without a disk; its bytes depend on nothing but what is put into it."""
    name = uuid4().hex  # not stored; HDF5 refuses two open files of one name
    return h5py.File(name, "w", driver="fileobj", fileobj=sink, libver=(version, version))


def encode(shard: Shard, compression: Compression = "none") -> Pieces:
    """Make a shard's HDF5 file, the same bytes every time: pieces that follow each other.

    Without compression the large ones are the shard's own arrays.
    """
    arrays = {name: np.ascontiguousarray(getattr(shard, name), _COLUMNS[name][0]) for name in shard.form.columns}
    chunks = {name: _deflate(array) for name, array in arrays.items()} if compression == "gzip" else {}
    sink = _Sink(*arrays.values())
    with _file(sink, "v108") as file:
        file.attrs["format"] = FORMAT
        for attribute in _ATTRIBUTES:
            file.attrs[attribute] = getattr(shard, attribute)
        for name, array in arrays.items():
            if chunks:
                options = {
                    "chunks": (min(BLOCK, len(array)), *array.shape[1:]),
                    "compression": "gzip",
                    "compression_opts": _LEVEL,
                }
                dataset = file.create_dataset(name, array.shape, array.dtype, **options)
                for index, chunk in enumerate(chunks[name]):
                    dataset.id.write_direct_chunk((index * BLOCK, *[0] * (array.ndim - 1)), chunk)
            else:
                dataset = file.create_dataset(name, data=array)
            dataset.attrs["unit"] = _COLUMNS[name][2]
    return sink.pieces()


def _deflate(array: NDArray[Any]) -> list[bytes]:
    """Compress block by block, outside HDF5's lock; HDF5 wants the last of several chunks filled up."""
    rest = -len(array) % BLOCK if len(array) > BLOCK else 0
    full = np.concatenate([array, np.zeros((rest, *array.shape[1:]), array.dtype)]) if rest else array
    return [zlib.compress(full[start : start + BLOCK].data, _LEVEL) for start in range(0, len(full), BLOCK)]


def read_shard(path: Path, sha256: str) -> Shard:
    """Read a shard whose bytes are known.

    Parameters
    ----------
    sha256
        What the manifest says of the file; HDF5 opens nothing else.

    Raises
    ------
    BuildError
        The file is missing, damaged, or no shard of this format.
    """
    with failing("read", path):
        content = path.read_bytes()
    check_digest(path, hashlib.sha256(content).hexdigest(), sha256)
    with decoding(path), h5py.File(h5py.h5f.open_file_image(content), "r") as file:
        return _decode(file, path)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn what HDF5 says of a damaged file into one line that names it."""
    try:
        yield
    except BuildError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BuildError(f"{path}: not a shard: {' '.join(str(error).split())}") from None


def _decode(file: h5py.File, path: Path) -> Shard:
    attributes = dict(file.attrs)
    if attributes.pop("format", None) != FORMAT:
        raise BuildError(f"{path}: not a shard of format {FORMAT}")
    image = column_of(file, "images", path).shape[1:]
    form = Form(column_of(file, "digits", path).shape[-1], image, "masks" in file)
    count = len(column_of(file, "labels", path))
    if count > MAX_SHARD or not 1 <= form.slots <= MAX_SLOTS:
        raise BuildError(
            f"{path}: promises {count:,} samples of {form.slots} digits; {MAX_SHARD:,} of {MAX_SLOTS} are the most"
        )
    if max(image[:2], default=0) > MAX_SIDE or len(image) not in (2, 3) or image[2:] not in ((), (3,)):
        raise BuildError(f"{path}: images of {' x '.join(map(str, image))}; at most {MAX_SIDE} x {MAX_SIDE} x 3")
    arrays: dict[str, NDArray[Any]] = {}
    for name in form.columns:
        kind, shape = column_type(name, form)
        dataset = column_of(file, name, path)
        expected = (count, *shape)
        if dataset.shape != expected or dataset.dtype != np.dtype(kind):
            raise BuildError(
                f"{path}: {name} is {dataset.dtype} {dataset.shape}, should be {np.dtype(kind)} {expected}"
            )
        arrays[name] = dataset[...]
    whole = {name: int(attributes[name]) for name in ("seed", "first", "classes")}
    words = {name: str(attributes[name]) for name in ("split", "spec_digest", "digits_digest")}
    return Shard(**whole, **words, **arrays)  # type: ignore[arg-type]


def column_of(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """One of the shard's arrays, which must lie in the file itself.

    Raises
    ------
    BuildError
        It is missing, or stored elsewhere.
    """
    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise BuildError(f"{path}: {name} is missing, or elsewhere")
    dataset = file[name]
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())}
    # a chunk is decompressed whole, and may be larger than what it holds
    bounded = dataset.chunks is None or (dataset.chunks[0] <= BLOCK and dataset.chunks[1:] == dataset.shape[1:])
    if dataset.is_virtual or dataset.external or filters - {h5py.h5z.FILTER_DEFLATE} or not bounded:
        raise BuildError(f"{path}: {name} is not stored in the file, or in a way that is not allowed")
    return dataset


# --- files ----------------------------------------------------------------------------------------------------------


@contextmanager
def failing(verb: str, path: Path) -> Iterator[None]:
    """Turn the operating system's refusal, or an object store's, into one line that names the path."""
    try:
        yield
    except OSError as error:
        raise BuildError(f"{path}: cannot {verb}: {error.strerror or ' '.join(str(error).split())}") from None
    except Exception as error:
        if is_local(path) or type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise BuildError(f"{path}: cannot {verb}: {' '.join(str(error).split())}") from None


_CLIENTS = {"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure"}  # whose errors are no OSError


def pieces_digest(pieces: Pieces) -> str:
    """SHA-256 of the file that the pieces make."""
    state = hashlib.sha256()
    for piece in pieces:
        state.update(piece)
    return state.hexdigest()


def write_file(path: Path, content: bytes | Pieces) -> None:
    """Write a file whose content is complete, and on the disk or in the store, when it appears under its name.

    Raises
    ------
    BuildError
        It cannot be written; nothing of it is left.
    """
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    pieces = [content] if isinstance(content, bytes) else content
    with failing("write", path):
        try:
            if is_local(path):
                with temporary.open("xb") as file:
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
            else:
                temporary.write_bytes(b"".join(pieces))
            rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def local_copy(root: Path, entry: "FileEntry") -> Path:
    """A dataset's file on this machine: itself, or a copy that is fetched once and kept under its hash.

    Raises
    ------
    BuildError
        It cannot be fetched, or is not what the manifest says.
    """
    path = root / entry.name
    if is_local(root):
        return path
    copy = cache_folder() / f"{entry.sha256}.h5"
    if not copy.is_file() or copy.stat().st_size != entry.bytes:
        with failing("read", path):
            content = path.read_bytes()
        check_digest(path, hashlib.sha256(content).hexdigest(), entry.sha256)
        with failing("write", copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
        write_file(copy, content)
    return copy


def sync_folder(folder: Path) -> None:
    """Put a local folder's entries on the disk."""
    if not is_local(folder):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- manifest -------------------------------------------------------------------------------------------------------

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Entry):
    """A file of the dataset's own folder, and its content."""

    name: str = Field(pattern=r"^(train|test)(-[0-9]{5,}-of-[0-9]{5,})?\.h5$")
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
            raise ValueError(f"the shards hold {total} samples, not {self.count}")
        if split_digest(block for shard in self.shards for block in shard.blocks) != self.digest:
            raise ValueError("the split's digest is not that of its blocks")
        return self


class Manifest(_Entry):
    """What a finished dataset consists of, and what it was made from."""

    format: Literal[1] = 1
    mnistcompose: str = Field(description="version of the program")
    license: str = Field(description="licence of the data")
    spec: dict[str, Any] = Field(description="the layout, defaults left out")
    spec_digest: Digest
    digits_digest: Digest
    classes: int = Field(ge=1, le=256)
    seed: Count
    shard_size: Count
    compression: Compression
    masks: bool = Field(default=False, description="whether the shards hold a mask for every digit")
    splits: dict[SplitName, SplitEntry]

    @property
    def form(self) -> Form:
        """What the samples look like."""
        return Form(len(self.spec["slots"]), Output.model_validate(self.spec.get("output", {})).shape, self.masks)


def _seal(fields: dict[str, Any]) -> str:
    """Digest of a manifest: SHA-256 of its sorted-key JSON without the digest itself."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def manifest_bytes(manifest: Manifest) -> bytes:
    """JSON text of a manifest, sealed with a digest of itself."""
    # without masks as it was before there were any, so that earlier versions read it
    fields = manifest.model_dump(mode="json", exclude=None if manifest.masks else {"masks"})
    return json.dumps({**fields, "digest": _seal(fields)}, indent=1).encode() + b"\n"


def read_manifest(root: Path) -> Manifest:
    """Read a dataset's manifest.

    Raises
    ------
    InputError
        The folder holds no finished dataset.
    BuildError
        The manifest is damaged, or does not agree with itself.
    """
    path = root / MANIFEST
    with failing("read", root):
        is_folder, is_finished = root.is_dir(), path.is_file()
    if not is_folder:
        raise InputError(f"{root}: not a dataset's folder")
    if not is_finished:
        raise InputError(f"{path}: missing; the folder holds no finished dataset (the same build command finishes it)")
    with failing("read", path):
        content = path.read_bytes()
    try:
        fields = json.loads(content)
        digest = fields.pop("digest", None)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BuildError(f"{path}: damaged: not a JSON mapping") from None
    if digest != _seal(fields):
        raise BuildError(f"{path}: damaged or edited: it does not agree with its own digest")
    if fields.get("format") != FORMAT:
        raise BuildError(f"{path}: format {fields.get('format')!r}; this version reads format {FORMAT}")
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BuildError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def virtual_bytes(shards: Sequence[ShardEntry], form: Form) -> bytes:
    """Make the HDF5 file through which all of a split's shards read as one; they lie beside it.

    A shard that is missing reads as fill values: -1 in `labels`, 0 elsewhere.
    """
    total = sum(shard.count for shard in shards)
    sink = _Sink()
    with _file(sink, "v110") as file:
        for name in form.columns:
            kind, _, unit = _COLUMNS[name]
            shape = form.shape(name)
            whole = h5py.h5s.create_simple((total, *shape))
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_obj_track_times(False)  # which h5py's own virtual datasets leave on
            plan.set_fill_value(np.array(-1 if name == "labels" else 0, kind))
            for shard in shards:
                whole.select_hyperslab((shard.first, *[0] * len(shape)), (shard.count, *shape))
                part = h5py.h5s.create_simple((shard.count, *shape))
                plan.set_virtual(whole, shard.name.encode(), name.encode(), part)
            whole.select_all()
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(kind)), whole, plan)
            file[name].attrs["unit"] = unit
    return b"".join(sink.pieces())
