import errno
import hashlib
import json
import os
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from disk import file_limit
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mnistcompose import BuildError, InputError
from mnistcompose.layout.model import LayoutSpec
from mnistcompose.storage import files
from mnistcompose.storage.digests import block_digests, split_digest
from mnistcompose.storage.files import write_file
from mnistcompose.storage.hdf5 import _Sink, decoding, encode, read_promise, read_shard, virtual_bytes
from mnistcompose.storage.manifest import FileEntry, Manifest, ShardEntry, SplitEntry, manifest_bytes, read_manifest
from mnistcompose.storage.schema import (
    BLOCK,
    COLUMN_TYPES,
    COLUMNS,
    Compression,
    Origin,
    Promise,
    SampleSchema,
    Shard,
    column_type,
    shard_name,
)

ZEROS = "0" * 64


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def shard(count: int, slots: int = 3, seed: int = 0, first: int = 0) -> Shard:
    random = np.random.default_rng(seed)
    whole = {"images": (28, 28), "digits": (slots,), "flip": (slots,)}
    real = {"center": (slots, 2), "scale": (slots,), "rotation": (slots,), "box": (slots, 4)}
    return Shard(
        Origin("train", 2**63 - 1, first, ZEROS, "f" * 64, 10),
        labels=random.integers(0, 10**slots, count),
        source_index=random.integers(0, 60_000, (count, slots), np.int32),
        **{name: random.integers(0, 256, (count, *shape), np.uint8) for name, shape in whole.items()},
        **{name: random.random((count, *shape), np.float32) for name, shape in real.items()},
    )


def same(one: Shard, other: Shard) -> bool:
    arrays = ((getattr(one, name), getattr(other, name)) for name in COLUMNS)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays) and one.origin == other.origin


def encoded(part: Shard, compression: Compression = "none") -> bytes:
    return b"".join(encode(part, compression))


def put(folder: Path, part: Shard, index: int = 0, total: int = 1) -> ShardEntry:
    content, name = encoded(part), shard_name("train", index, total)
    write_file(folder / name, content)
    return ShardEntry(
        name=name,
        bytes=len(content),
        sha256=sha256(content),
        split="train",
        first=part.origin.first,
        count=len(part),
        blocks=list(block_digests(part.images, part.labels)),
    )


@settings(deadline=None, max_examples=20)
@given(count=st.integers(1, 2_300), slots=st.integers(1, 9), compression=st.sampled_from(["none", "gzip"]))
def test_a_shard_reads_back_and_has_the_same_bytes_every_time(tmp_path_factory, count, slots, compression):
    part = shard(count, slots)
    content = encoded(part, compression)
    assert encoded(part, compression) == content
    assert part.form == SampleSchema(slots)
    path = tmp_path_factory.mktemp("shard") / "train-00000-of-00001.h5"
    write_file(path, content)
    assert same(read_shard(path, sha256(content)), part)
    if compression == "none":
        assert 0 <= len(content) - count * SampleSchema(slots).sample_bytes < 20_000


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2000, 2300])
def test_every_compressed_chunk_is_whole(tmp_path: Path, count: int):
    """HDF5 does not check it, and would read beyond the end of a short one."""
    part = shard(count, slots=2)
    path = tmp_path / "x.h5"
    path.write_bytes(encoded(part, "gzip"))
    with h5py.File(path) as file:
        for name in COLUMNS:
            column = file[name]
            chunks = [zlib.decompress(column.id.read_direct_chunk(place)[1]) for place in places(column)]
            assert {len(chunk) for chunk in chunks} == {np.prod(column.chunks, dtype=int) * column.dtype.itemsize}
            assert b"".join(chunks).startswith(getattr(part, name).tobytes())
            assert not any(b"".join(chunks)[column.nbytes :])


def places(column: h5py.Dataset) -> list[tuple[int, ...]]:
    return [column.id.get_chunk_info(number).chunk_offset for number in range(column.id.get_num_chunks())]


def test_large_arrays_are_not_copied():
    part = shard(1000)
    pieces = [np.frombuffer(piece, np.uint8) for piece in encode(part)]
    assert any(np.shares_memory(piece, part.images) for piece in pieces)


def test_a_write_over_an_earlier_one_is_no_file():
    """HDF5 never does that; a new version that did would make shards that nobody can read."""
    sink = _Sink()
    sink.write(memoryview(b"1234"))
    sink.seek(2)
    sink.write(memoryview(b"5678"))
    with pytest.raises(RuntimeError, match="HDF5 wrote 4 bytes at 2, over a part of an earlier write"):
        sink.pieces()


def test_shards_made_at_once_have_the_bytes_of_shards_made_alone():
    parts = [shard(300, seed=seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(encoded, parts)) == [encoded(part) for part in parts]


def test_no_file_says_when_it_was_made(tmp_path: Path):
    part = shard(20)
    entry = put(tmp_path, part)

    def all_forms() -> list[bytes]:
        return [
            encoded(part),
            encoded(part, "gzip"),
            virtual_bytes([entry], SampleSchema(3)),
            virtual_bytes([], SampleSchema(3)),
        ]

    before = all_forms()
    time.sleep(1.1)  # HDF5 counts whole seconds
    assert all_forms() == before


def test_plain_h5py_reads_a_shard(tmp_path: Path):
    part = shard(20)
    entry = put(tmp_path, part)
    with h5py.File(tmp_path / entry.name) as file:
        assert set(file) == set(COLUMNS)
        assert np.array_equal(file["images"][3:7], part.images[3:7])
        assert file.attrs["seed"] == part.origin.seed
        assert file.attrs["format"] == 1
        assert all(file[name].attrs["unit"] for name in file)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, BLOCK - 1))
def test_a_split_digest_does_not_depend_on_how_it_is_cut(sizes: list[int], rest: int):
    part = shard(sum(sizes) * BLOCK + rest, slots=1)
    whole = block_digests(part.images, part.labels)
    borders = np.cumsum([0, *sizes]) * BLOCK
    cuts = [slice(a, b) for a, b in zip(borders, [*borders[1:-1], len(part)], strict=False)]
    pieces = [digest for cut in cuts for digest in block_digests(part.images[cut], part.labels[cut])]
    assert tuple(pieces) == whole
    assert split_digest(pieces) == split_digest(whole)
    first = part.images[:BLOCK].tobytes() + part.labels[:BLOCK].astype("<i8").tobytes()
    assert whole[0] == sha256(first)


def test_digests_notice_a_pixel_a_label_and_the_order():
    part = shard(2 * BLOCK, slots=1)
    digest = split_digest(block_digests(part.images, part.labels))
    changed = [(part.images.copy(), part.labels.copy()) for _ in range(2)]
    changed[0][0][-1, 5, 5] ^= 1
    changed[1][1][0] += 1
    changed.append((np.roll(part.images, BLOCK, 0), np.roll(part.labels, BLOCK)))
    assert digest not in {split_digest(block_digests(*each)) for each in changed}


@pytest.mark.parametrize("position", [0, 5_000, -1])
def test_a_damaged_shard_is_refused_before_hdf5_opens_it(tmp_path: Path, monkeypatch, position: int):
    entry = put(tmp_path, shard(20))
    path = tmp_path / entry.name
    content = bytearray(path.read_bytes())
    content[position] ^= 16
    path.write_bytes(content)
    monkeypatch.setattr(h5py, "File", None)
    with pytest.raises(BuildError, match=f"{entry.name}: damaged"):
        read_shard(path, entry.sha256)


def reach_out(kind: str, folder: Path) -> bytes:
    """A shard whose images lie elsewhere."""
    secret = folder / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["images"] = np.zeros((20, 28, 28), np.uint8)
    path = folder / "bad.h5"
    path.write_bytes(encoded(shard(20)))
    with h5py.File(path, "a", libver="v110") as file:
        del file["images"]
        match kind:
            case "external link":
                file["images"] = h5py.ExternalLink(str(secret), "images")
            case "soft link":
                file["images"] = h5py.SoftLink("/other")
                file["other"] = np.zeros((20, 28, 28), np.uint8)
            case "virtual":
                layout = h5py.VirtualLayout((20, 28, 28), "u1")
                layout[:] = h5py.VirtualSource(secret, "images", (20, 28, 28), "u1")
                file.create_virtual_dataset("images", layout)
            case "external storage":
                external = [(str(folder / "raw"), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("images", (20, 28, 28), "u1", external=external)
            case "group":
                file.create_group("images")
            case "shape":
                file["images"] = np.zeros((19, 28, 28), np.uint8)
            case "type":
                file["images"] = np.zeros((20, 28, 28), np.int16)
            case "filter":
                file.create_dataset("images", data=np.zeros((20, 28, 28), np.uint8), compression="lzf")
            case "other filter":
                file.create_dataset("images", data=np.zeros((20, 28, 28), np.uint8), chunks=(20, 28, 28), shuffle=True)
            case "bomb of samples":
                for name in ("images", "labels"):
                    shape = (10**12, 28, 28) if name == "images" else (10**12,)
                    file.pop(name, None)
                    file.create_dataset(name, shape, "u1" if name == "images" else "i8", chunks=(1000, *shape[1:]))
            case "bomb of a product":  # each number is allowed, and no chunk is stored
                for name, shape in {"images": (256, 256, 3), "labels": ()}.items():
                    file.pop(name, None)
                    kind = "u1" if name == "images" else "i8"
                    file.create_dataset(name, (100_000, *shape), kind, chunks=(1000, *shape), compression="gzip")
            case "chunks that are not stored":
                file.create_dataset("images", (20, 28, 28), "u1", chunks=(10, 28, 28), compression="gzip")
                file["images"][:10] = 1
            case "nothing stored":
                file.create_dataset("images", (20, 28, 28), "u1")
            case "bomb of a chunk":
                file.create_dataset(
                    "images",
                    (20, 28, 28),
                    "u1",
                    maxshape=(None, 28, None),
                    chunks=(1000, 28, 10**5),
                    compression="gzip",
                )
            case "chunk of many rows":
                options = {"maxshape": (None, 28, 28), "chunks": (1001, 28, 28), "compression": "gzip"}
                file.create_dataset("images", data=np.ones((20, 28, 28), np.uint8), **options)
            case "chunk of wide rows":
                options = {"maxshape": (20, 28, None), "chunks": (20, 28, 280), "compression": "gzip"}
                file.create_dataset("images", data=np.ones((20, 28, 28), np.uint8), **options)
            case "chunk of another filter":
                options = {"chunks": (20, 28, 28), "compression": "gzip", "fletcher32": True}
                file.create_dataset("images", data=np.ones((20, 28, 28), np.uint8), **options)
            case "attribute":
                file["images"] = np.zeros((20, 28, 28), np.uint8)
                del file.attrs["seed"]
            case "format":
                file["images"] = np.zeros((20, 28, 28), np.uint8)
                file.attrs["format"] = 2
    return path.read_bytes()


ELSEWHERE, WAY = "images is missing, or stored elsewhere", "images is not stored in the file, or in a way that is not"
KINDS = dict.fromkeys(["missing", "external link", "soft link", "group"], ELSEWHERE)
KINDS |= dict.fromkeys(["virtual", "external storage", "filter", "other filter", "bomb of a chunk"], WAY)
KINDS |= dict.fromkeys(["chunk of many rows", "chunk of wide rows", "chunk of another filter"], WAY)
KINDS |= {"shape": r"images is uint8 \(19, 28, 28\), should be", "type": r"images is int16 \(20, 28, 28\), should be"}
KINDS |= dict.fromkeys(["chunks that are not stored", "nothing stored"], "images is not wholly in the file")
KINDS |= {"bomb of samples": "promises 1,000,000,000,000 samples", "bomb of a product": "promises [^;]+; at most"}
KINDS |= {
    "attribute": "not a shard: .*seed",
    "format": "not a shard of format 1",
    "not HDF5": "not a shard: ",
}


@pytest.mark.parametrize(("kind", "message"), KINDS.items(), ids=KINDS)
def test_what_is_no_shard_is_refused_in_one_line(tmp_path: Path, kind: str, message: str):
    content = b"no HDF5" * 99 if kind == "not HDF5" else reach_out(kind, tmp_path)
    path = tmp_path / "train-00000-of-00001.h5"
    path.write_bytes(content)
    with pytest.raises(BuildError, match=rf"train-00000-of-00001.h5: {message}[^\n]*\Z"):
        read_shard(path, sha256(content))


@pytest.mark.parametrize("name", ["images", "labels", "digits", "center"])
@pytest.mark.parametrize("shape", [(), (20,), (20, 3), (20, 3, 2, 1), (0,)])
def test_an_array_of_any_shape_is_read_or_refused_in_one_line(tmp_path: Path, name: str, shape: tuple[int, ...]):
    path = tmp_path / "x.h5"
    path.write_bytes(encoded(shard(20)))
    with h5py.File(path, "a") as file:
        kind, right = file[name].dtype, file[name].shape == shape
        del file[name]
        file[name] = np.zeros(shape, kind)
    if right:
        assert read_promise(path).count == 20
    else:
        with pytest.raises(BuildError, match=r"x\.h5: [^\n]+\Z"):
            read_promise(path)


@pytest.mark.parametrize("error", [OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError])
def test_whatever_hdf5_says_of_a_file_is_told_in_one_line(error: type[Exception]):
    with pytest.raises(BuildError, match=r"x\.h5: not a shard: [^\n]+\Z"), decoding(Path("x.h5")):
        raise error("two\nlines")


def test_a_shard_that_is_not_there_is_told_in_one_line(tmp_path: Path):
    for read in (lambda path: read_shard(path, ZEROS), read_promise):
        with pytest.raises(BuildError, match=r"x\.h5: cannot read: No such file or directory\Z"):
            read(tmp_path / "x.h5")


def test_a_shard_that_is_not_as_promised_is_refused_before_it_is_read(tmp_path: Path, monkeypatch):
    part = shard(20)
    entry = put(tmp_path, part)
    promise = Promise(20, SampleSchema(3), part.origin)
    assert same(read_shard(tmp_path / entry.name, entry.sha256, promise), part)
    assert read_promise(tmp_path / entry.name) == promise
    monkeypatch.setattr(h5py.Dataset, "__getitem__", None)
    wrong = {
        "samples": replace(promise, count=21),
        "slots": replace(promise, form=SampleSchema(2)),
        "image": replace(promise, form=SampleSchema(3, (28, 29))),
        "masks": replace(promise, form=SampleSchema(3, masks=True)),
        "split": replace(promise, origin=replace(part.origin, split="test")),
        "seed": replace(promise, origin=replace(part.origin, seed=0)),
        "first": replace(promise, origin=replace(part.origin, first=1000)),
        "spec_digest": replace(promise, origin=replace(part.origin, spec_digest="1" * 64)),
        "digits_digest": replace(promise, origin=replace(part.origin, digits_digest="1" * 64)),
        "classes": replace(promise, origin=replace(part.origin, classes=11)),
    }
    for field, other in wrong.items():
        with pytest.raises(BuildError, match=rf"{entry.name}: {field} is [^\n]+, in the manifest [^\n]+\Z"):
            read_shard(tmp_path / entry.name, entry.sha256, other)


def test_what_is_too_large_is_refused_before_memory_is_taken(tmp_path: Path):
    """Nine kilobytes that promise 20 GB."""
    content = reach_out("bomb of a product", tmp_path)
    assert len(content) < 50_000
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(BuildError, match=r"bad\.h5: promises [\d.]+ GB; at most 4\.29 GB"):
        read_shard(tmp_path / "bad.h5", sha256(content))


def said(path: Path, count: int, slots: int, image: tuple[int, ...]) -> str:
    """What is said of a file that promises so much, and holds none of it."""
    form = SampleSchema(slots, image)
    with h5py.File(path, "w") as file:
        file.attrs["format"] = 1
        file.attrs.update(vars(shard(1).origin))
        for name in form.columns:
            kind, shape = column_type(name, form)
            file.create_dataset(name, (count, *shape), kind, chunks=(1, *(max(size, 1) for size in shape)))
    with pytest.raises(BuildError) as caught:
        read_promise(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("count", "slots", "image", "message"),
    [
        (100_000, 1, (28, 28), "not wholly in the file"),
        (100_001, 1, (28, 28), "promises 100,001 samples"),
        (1, 9, (28, 28), "not wholly in the file"),
        (1, 10, (28, 28), "promises 1 sample of 10 digits"),
        (1, 1, (256, 256), "not wholly in the file"),
        (1, 1, (257, 28), "images of 257 x 28;"),
        (1, 1, (28, 257), "images of 28 x 257;"),
        (1, 1, (28, 28, 3), "not wholly in the file"),
        (1, 1, (28, 28, 4), "images of 28 x 28 x 4;"),
        (1, 1, (28,), "images of 28;"),
        (1, 1, (28, 28, 3, 3), "images of 28 x 28 x 3 x 3;"),
        (21_700, 1, (256, 256, 3), "not wholly in the file"),
        (21_900, 1, (256, 256, 3), "promises 4.31 GB; at most 4.29 GB"),
    ],
)
def test_a_shard_may_promise_so_much_and_no_more(tmp_path: Path, count, slots, image, message):
    assert message in said(tmp_path / "x.h5", count, slots, image)


def test_a_virtual_file_joins_the_shards_from_any_folder(tmp_path: Path, monkeypatch):
    parts = [shard(1000), shard(500, seed=1, first=1000)]
    entries = [put(tmp_path / ".", part, index, 2) for index, part in enumerate(parts)]
    content = virtual_bytes(entries, SampleSchema(3))
    (tmp_path / "train.h5").write_bytes(content)
    monkeypatch.chdir("/")
    with h5py.File(tmp_path / "train.h5") as file:
        assert {name: file[name].attrs["unit"] for name in file} == {name: COLUMN_TYPES[name][2] for name in COLUMNS}
        for name in COLUMNS:
            assert np.array_equal(file[name][...], np.concatenate([getattr(part, name) for part in parts]))
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    (moved / entries[1].name).unlink()
    with h5py.File(moved / "train.h5") as file:
        assert np.array_equal(file["labels"][:1000], parts[0].labels)
        assert (file["labels"][1000:] == -1).all()


def test_a_virtual_file_says_what_it_is_without_its_shards(tmp_path: Path):
    (tmp_path / "train.h5").write_bytes(virtual_bytes([put(tmp_path, shard(20))], SampleSchema(3)))
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / "train.h5").rename(alone / "train.h5")
    with h5py.File(alone / "train.h5") as file:
        assert not file["images"][...].any()
        assert "holds no images" in file.attrs["note"]
        assert "labels as -1" in file.attrs["note"]
    with pytest.raises(InputError, match=r"manifest\.json: missing; train\.h5 alone holds no images[^\n]+\Z"):
        read_manifest(alone)


def test_a_file_is_whole_or_not_there(tmp_path: Path):
    path = tmp_path / "train.h5"
    write_file(path, b"old")
    with file_limit(1000), pytest.raises(BuildError, match=r"train\.h5: cannot write: File too large"):
        write_file(path, b"new" * 1000)
    assert path.read_bytes() == b"old"
    with pytest.raises(BuildError, match=r"missing.train\.h5: cannot write: No such file"):
        write_file(tmp_path / "missing" / "train.h5", b"new")
    write_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"new"


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch):
    """Otherwise a power cut could leave the name without the content."""
    synced, named = {}, []
    fsync, rename = os.fsync, files.rename

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        synced[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size

    def name(source: Path, target: Path) -> None:
        assert synced[source.stat().st_ino] == 3000
        named.append(target)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(files, "rename", name)
    write_file(tmp_path / "train.h5", [memoryview(b"new" * 500)] * 2)
    assert named == [tmp_path / "train.h5"]


def manifest(**changes) -> Manifest:
    blocks = [sha256(bytes([index])) for index in range(3)]
    names = [shard_name("train", index, 2) for index in range(2)]
    first = ShardEntry(name=names[0], bytes=9, sha256=ZEROS, split="train", first=0, count=2000, blocks=blocks[:2])
    second = ShardEntry(name=names[1], bytes=9, sha256=ZEROS, split="train", first=2000, count=7, blocks=blocks[2:])
    virtual = FileEntry(name="train.h5", bytes=9, sha256=ZEROS)
    split = SplitEntry(count=2007, digest=split_digest(blocks), virtual=virtual, shards=[first, second])
    none = FileEntry(name="test.h5", bytes=9, sha256=ZEROS)
    empty = SplitEntry(count=0, digest=split_digest([]), virtual=none, shards=[])
    layout = {"name": "x", "slots": [{"center": [0.0, 0.1]}, {"center": [1.5, 0.0]}]}
    fields = {"mnistcompose": "0", "license": "", "spec": layout}
    fields |= {"spec_digest": LayoutSpec.model_validate(layout).digest}
    fields |= {"digits_digest": ZEROS, "classes": 10, "seed": 0, "shard_size": 2000, "compression": "none"}
    return Manifest(**fields | {"splits": {"train": split, "test": empty}} | changes)


def test_a_manifest_reads_back(tmp_path: Path):
    write_file(tmp_path / "manifest.json", manifest_bytes(manifest()))
    assert read_manifest(tmp_path) == manifest()


def test_a_manifest_whose_fields_are_in_another_order_is_the_same(tmp_path: Path):
    def turned(value):
        return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    (tmp_path / "manifest.json").write_text(json.dumps(turned(json.loads(manifest_bytes(manifest())))))
    assert read_manifest(tmp_path) == manifest()


def test_a_manifest_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, monkeypatch):
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write_file(tmp_path / "manifest.json", manifest_bytes(manifest()))
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(BuildError, match=r"manifest\.json: cannot read: Input/output error\Z"):
        read_manifest(tmp_path)
    monkeypatch.setattr(Path, "is_dir", fail)
    with pytest.raises(BuildError, match=r"[^.]: cannot read: Input/output error\Z"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(("field", "first", "last"), [("classes", 1, 255), ("seed", 0, 2**63 - 1)])
def test_the_bounds_of_a_manifests_numbers(field: str, first: int, last: int):
    for value in (first, last):
        assert getattr(manifest(**{field: value}), field) == value
    for value in (first - 1, last + 1):
        with pytest.raises(ValidationError, match=field):
            manifest(**{field: value})


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_an_edited_manifest_is_refused(tmp_path_factory, data: st.DataObject):
    content = bytearray(manifest_bytes(manifest()))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    root = tmp_path_factory.mktemp("root")
    (root / "manifest.json").write_bytes(content)
    try:
        meaning = json.loads(content)
    except ValueError:
        meaning = None
    if meaning == json.loads(manifest_bytes(manifest())):
        assert read_manifest(root) == manifest()
    else:
        with pytest.raises(BuildError, match=r"manifest.json: [^\n]+\Z"):
            read_manifest(root)


def sealed(fields: dict) -> bytes:
    """A manifest edited by someone who knows how to seal it."""
    fields.pop("digest", None)
    digest = sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())
    return json.dumps({**fields, "digest": digest}).encode()


def many_labels(fields: dict) -> None:
    spec = {**fields["spec"], "slots": [{"center": [float(place), 0.0]} for place in range(9)]}
    fields.update(classes=129, spec=spec, spec_digest=LayoutSpec.model_validate(spec).digest)


def one_uneven_shard(fields: dict) -> None:
    train = fields["splits"]["train"]
    (first, _) = train["shards"]
    first["name"] = shard_name("train", 0, 1)
    train.update(shards=[first], count=2000, digest=split_digest(first["blocks"]))
    fields["shard_size"] = 2500


def edits() -> dict:
    def at(fields: dict) -> dict:
        return fields["splits"]["train"]

    return {
        "outside": lambda f: at(f)["shards"][0].update(name="../train-00000-of-00002.h5"),
        "absolute": lambda f: at(f)["virtual"].update(name="/tmp/train.h5"),
        "count": lambda f: at(f).update(count=2008),
        "gap": lambda f: at(f)["shards"][1].update(first=2001),
        "digest": lambda f: at(f).update(digest=ZEROS),
        "blocks": lambda f: at(f)["shards"][0]["blocks"].pop(),
        "format": lambda f: f.update(format=2),
        "split": lambda f: f["splits"].update(other=f["splits"].pop("train")),
        "key": lambda f: f.update(more=1),
        "missing": lambda f: f.pop("seed"),
        "type": lambda f: f.update(seed="0"),
        "no layout": lambda f: f.update(spec={}),
        "no slots": lambda f: f["spec"].update(slots=5),
        "output": lambda f: f["spec"].update(output={"width": "wide"}),
        "other layout": lambda f: f["spec"].update(composite="add"),
        "no shard size": lambda f: f.update(shard_size=0),
        "other shard size": lambda f: f.update(shard_size=3000),
        "one split": lambda f: f["splits"].pop("test"),
        "names": lambda f: at(f)["shards"][0].update(name="train-00000-of-00003.h5"),
        "place": lambda f: at(f)["shards"][0].update(split="test"),
        "virtual": lambda f: at(f)["virtual"].update(name="test.h5"),
        "labels": many_labels,
        "no images": lambda f: at(f).update(shards=[], count=0, digest=split_digest([])),
        "uneven shard size": one_uneven_shard,
    }


SAID = {
    "outside": r"splits\.train\.shards\.0\.name: [^\n]+ match",
    "absolute": r"splits\.train\.virtual\.name: [^\n]+ match",
    "count": r"splits\.train: the shards hold 2,007 samples, not 2,008",
    "gap": r"splits\.train: train-00001-of-00002\.h5 does not continue at sample 2000",
    "digest": r"splits\.train: the split's digest is not that of its blocks",
    "blocks": r"splits\.train: train-00000-of-00002\.h5 does not continue at sample 0",
    "format": "format 2; this version reads format 1",
    "split": "splits: other|splits.other",
    "key": "more: ",
    "missing": "seed: Field required",
    "type": "seed: ",
    "no layout": "spec: name: ",
    "no slots": "spec: slots: ",
    "output": r"spec: output\.width: ",
    "other layout": "spec_digest is not that of the layout",
    "no shard size": "shard_size: ",
    "other shard size": r"train-00000-of-00002\.h5: split or count are not those of its place",
    "one split": "splits should be train and test",
    "names": r"splits\.train: should list train\.h5, and its 2 shards in order",
    "virtual": r"splits\.train: should list train\.h5, and its 2 shards in order",
    "place": r"train-00000-of-00002\.h5: split or count are not those of its place",
    "labels": "9 slots of 129 classes make labels of more than 64 bits",
    "uneven shard size": "shard_size: ",
    "no images": "splits: hold no images",
}


@pytest.mark.parametrize("edit", SAID)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, edit: str):
    fields = json.loads(manifest_bytes(manifest()))
    edits()[edit](fields)
    (tmp_path / "manifest.json").write_bytes(sealed(fields))
    with pytest.raises(BuildError, match=rf"manifest\.json: ({SAID[edit]})[^\n]*\Z"):
        read_manifest(tmp_path)


def test_labels_may_fill_63_bits(tmp_path: Path):
    fields = json.loads(manifest_bytes(manifest()))
    many_labels(fields)
    fields["classes"] = 128
    (tmp_path / "manifest.json").write_bytes(sealed(fields))
    assert read_manifest(tmp_path).classes == 128


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b'{"digest": 1}'])
def test_garbage_is_no_manifest(tmp_path: Path, content: bytes):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BuildError, match=r"manifest.json: [^\n]+\Z"):
        read_manifest(tmp_path)


def test_folders_without_a_manifest(tmp_path: Path):
    with pytest.raises(InputError, match="no finished dataset"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match="not a dataset's folder"):
        read_manifest(tmp_path / "nowhere")


def test_a_dataset_that_is_not_built_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"MNIST-III-10: not a .*; mnistcompose build MNIST-III-10 --out MNIST-III-10"):
        read_manifest(Path("MNIST-III-10"))
    with pytest.raises(InputError, match=r"mine: not a .*; mnistcompose build NAME --out mine makes one"):
        read_manifest(Path("mine"))
    (tmp_path / "data/MNIST-III-10").mkdir(parents=True)
    (tmp_path / "data/MNIST-III-10/manifest.json").touch()
    with pytest.raises(InputError, match=r"did you mean data.MNIST-III-10\?"):
        read_manifest(Path("MNIST-III-10"))
