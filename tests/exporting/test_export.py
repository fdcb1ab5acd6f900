"""Every format, read by the library that it is for, gives the images and labels of the manifest's digest."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

from mnistcompose import BuildError, InputError, build, export, load_spec
from mnistcompose.cli import cli
from mnistcompose.exporting import export as exporter
from mnistcompose.exporting.source import FACTORS
from mnistcompose.storage.digests import block_digests, split_digest
from mnistcompose.storage.hdf5 import read_shard
from mnistcompose.storage.manifest import read_manifest

FORMATS = ("idx", "webdataset", "parquet", "png", "npz", "coco")
Arrays = tuple[np.ndarray, np.ndarray]  # images uint8 (n, 28, 28), labels int64 (n,)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A dataset of two digits and one of three."""
    root = tmp_path_factory.mktemp("built")
    for name, train in (("MNIST-II-02", 2500), ("MNIST-III-10", 1200)):
        build(load_spec(name), root / name, train=train, test=1000, shard_size=1000)
    return {name: root / name for name in ("MNIST-II-02", "MNIST-III-10")}


@pytest.fixture(scope="module")
def exported(folders, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exported")
    for kind in FORMATS:
        report = export(folders["MNIST-II-02"], root / kind, kind, per_tar=700)
        assert report.counts == {"train": 2500, "test": 1000}
        files = [path for path in (root / kind).rglob("*") if path.is_file()]
        assert (report.files, report.bytes) == (len(files), sum(path.stat().st_size for path in files))
    return {kind: root / kind for kind in FORMATS}


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    return split_digest(block_digests(np.ascontiguousarray(images), np.ascontiguousarray(labels, np.int64)))


def grey(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "L"
    return np.asarray(picture)


def read_idx(folder: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    datasets = pytest.importorskip("torchvision.datasets")
    data = datasets.MNIST(folder, train=split == "train")
    return ((grey(picture), number) for picture, number in data)


def read_webdataset(folder: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, folder.glob(f"{split}-*.tar")))
    assert len(tars) == {"train": 4, "test": 2}[split]
    samples = webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("png", "cls", "json")
    return ((grey(picture.convert("L")), number) for picture, number, _ in samples)


def read_parquet(folder: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    datasets = pytest.importorskip("datasets")
    data = datasets.load_dataset(
        "parquet",
        data_files={split: str(folder / "data" / f"{split}-*.parquet")},
        split=split,
        cache_dir=str(folder.parent / "cache"),
    )
    assert isinstance(data.features["image"], datasets.Image)
    return ((grey(row["image"]), row["label"]) for row in data)


def read_png(folder: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    datasets = pytest.importorskip("torchvision.datasets")
    data = datasets.ImageFolder(str(folder / split), allow_empty=True)
    assert data.classes == [f"{number:02d}" for number in range(100)]
    order = sorted(data.samples, key=lambda sample: Path(sample[0]).name)  # they come by class
    return ((grey(Image.open(path)), number) for path, number in order)


def read_npz(folder: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    with np.load(folder / f"{split}.npz", allow_pickle=False) as data:
        assert set(data.files) == {"images", "labels", *FACTORS}
        yield from zip(data["images"], data["labels"], strict=True)


def read_coco(folder: Path, split: str) -> Iterator[tuple[np.ndarray, int]]:
    coco = pytest.importorskip("pycocotools.coco").COCO(str(folder / "annotations" / f"instances_{split}.json"))
    for image in coco.loadImgs(sorted(coco.getImgIds())):
        boxes = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert [box["category_id"] for box in boxes] == list(divmod(image["number"], 10))
        assert all(min(box["bbox"]) >= 0 and box["bbox"][0] + box["bbox"][2] <= 28.001 for box in boxes)
        yield grey(Image.open(folder / split / image["file_name"])), image["number"]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_round_trip_keeps_the_digest(kind, split, folders, exported, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reader = globals()[f"read_{kind}"]
    images, labels = map(np.stack, zip(*reader(exported[kind], split), strict=True))
    assert digest(images, labels) == read_manifest(folders["MNIST-II-02"]).splits[split].digest


def test_numbers_of_three_digits_are_read_as_qmnist(folders, tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    root = folders["MNIST-III-10"]
    export(root, tmp_path / "idx", "idx")
    for split in ("train", "test"):
        data = datasets.QMNIST(tmp_path / "idx", what=split, compat=False)
        table = data.targets.numpy()
        assert digest(data.data.numpy(), table[:, 0]) == read_manifest(root).splits[split].digest
        assert (table[:, 1:] @ [100, 10, 1] == table[:, 0]).all()


def test_every_factor_is_there(folders, exported):
    entry = read_manifest(folders["MNIST-II-02"]).splits["train"].shards[1]
    shard = read_shard(folders["MNIST-II-02"] / entry.name, entry.sha256)
    here = slice(shard.origin.first, shard.origin.first + len(shard))
    with np.load(exported["npz"] / "train.npz") as data:
        for name in FACTORS:
            np.testing.assert_array_equal(data[name][here], getattr(shard, name))
    idx = next((exported["idx"] / "factors").glob("train-box-*")).read_bytes()
    boxes = np.frombuffer(idx[4 + 4 * idx[3] :], ">f4").reshape(-1, 2, 4)
    np.testing.assert_array_equal(boxes[here], shard.box)
    table = pytest.importorskip("pyarrow.parquet").read_table(next((exported["parquet"] / "data").glob("train-*")))
    for name in FACTORS:
        np.testing.assert_array_equal(np.array(table[name].to_pylist())[here], getattr(shard, name))
    with tarfile.open(exported["webdataset"] / "train-000001.tar") as tar:
        member = json.loads(tar.extractfile("0000001000.json").read())
    assert {name: np.float32(member[name]).tolist() for name in FACTORS} == {
        name: getattr(shard, name)[0].astype(np.float32).tolist() for name in FACTORS
    }
    lines = (exported["png"] / "train" / "metadata.csv").read_text().splitlines()
    assert len(lines) == 2501
    head, row = lines[0].split(","), lines[1001].split(",")
    assert {len(line.split(",")) for line in lines} == {len(head)}
    assert float(row[head.index("box_x1_1")]) == pytest.approx(float(shard.box[0, 1, 2]))


@pytest.mark.parametrize("kind", FORMATS)
def test_card_and_croissant(kind, folders, exported):
    _, head, text = (exported[kind] / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["license"] == "cc-by-sa-3.0"
    assert card["size_categories"] == ["1K<n<10K"]
    for entry in read_manifest(folders["MNIST-II-02"]).splits.values():
        assert entry.digest in text
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(str(exported[kind] / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.name == "MNIST-II-02"


def test_croissant_reads_parquet_records(exported):
    mlcroissant = pytest.importorskip("mlcroissant")
    records = iter(mlcroissant.Dataset(str(exported["parquet"] / "croissant.json")).records("train"))
    record = next(records)
    with np.load(exported["npz"] / "train.npz") as data:
        assert record["train/label"] == data["labels"][0]
        picture = record["train/image"]
        picture = picture if isinstance(picture, Image.Image) else Image.open(io.BytesIO(picture))
        np.testing.assert_array_equal(np.asarray(picture), data["images"][0])


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_bytes_every_time(kind, folders, exported, tmp_path):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    export(folders["MNIST-II-02"], tmp_path / "again", kind, per_tar=700)
    for path in sorted(exported[kind].rglob("*")):
        other = tmp_path / "again" / path.relative_to(exported[kind])
        if path.is_file() and path.name != "croissant.json":  # has the date
            assert other.read_bytes() == path.read_bytes(), path.name


def test_what_is_there_is_not_lost(folders, tmp_path):
    root, out = folders["MNIST-II-02"], tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'mine\.txt' and no export"):
        export(root, out, "npz", force=True)
    (out / "mine.txt").unlink()
    export(root, out, "npz", splits=("test",))
    with pytest.raises(InputError, match="holds MNIST-II-02 as npz already; give another folder, or --force"):
        export(root, out, "npz")
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"'mine\.txt', which is no part of the export"):
        export(root, out, "coco", force=True)
    (out / "mine.txt").unlink()
    deep = tmp_path / "png"
    export(root, deep, "png", splits=("test",))
    (next(deep.glob("test/*/")) / "mine.csv").write_text("mine")
    with pytest.raises(InputError, match=r"png: holds [0-9,]+ files, the export there [0-9,]+; move yours away"):
        export(root, deep, "png", splits=("test",), force=True)
    assert list(deep.glob("test/*/mine.csv"))
    next(deep.glob("test/*/mine.csv")).unlink()
    export(root, deep, "png", splits=("test",), force=True)
    shutil.rmtree(deep)
    (tmp_path / "png.export.lock").unlink(missing_ok=True)
    export(root, out, "webdataset", force=True)
    assert not list(out.glob("*.npz"))
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "out.export.lock"}


def test_a_damaged_shard_leaves_nothing(tmp_path):
    build(load_spec("MNIST-II-02"), tmp_path / "x", train=2000, test=0, shard_size=1000)
    shard = tmp_path / "x" / "train-00001-of-00002.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)
    with pytest.raises(BuildError, match=r"train-00001-of-00002\.h5"):
        export(tmp_path / "x", tmp_path / "out", "npz")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.export.tmp").exists()


@pytest.mark.parametrize("removed", range(25))
def test_an_interrupted_clean_up_is_finished_by_the_next(removed, tmp_path, monkeypatch):
    folder = tmp_path / "out.export.old"
    names = [f"{number}.png" for number in range(20)]  # so many that the mark is not the last by chance
    names[10:10] = ["train/00/0.png", "train/01/1.png", exporter.EXPORT, "train/metadata.csv"]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")
    left, unlink = iter(range(removed)), os.unlink

    def interrupted(*arguments, **options):
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(*arguments, **options)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(os, "unlink", interrupted)
        exporter._remove(folder)
    exporter._remove_left(folder)
    assert not folder.exists()


def test_a_killed_export_is_replaced_by_the_next(folders, tmp_path):
    script = (
        "import os, signal, mnistcompose as mc\n"
        f"mc.export({str(folders['MNIST-II-02'])!r}, {str(tmp_path / 'out')!r}, 'png',\n"
        "    progress=lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == -9
    assert not (tmp_path / "out").exists()
    export(folders["MNIST-II-02"], tmp_path / "out", "png")
    assert {"out"} <= {path.name for path in tmp_path.iterdir()} <= {"out", "out.export.lock"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "npz", "--per-tar", "5"), "--per-tar is for --format webdataset"),
        (("--format", "webdataset", "--per-tar", "0"), "per_tar = 0"),
        (("--format", "zip"), "'zip' is not one of"),
    ],
)
def test_bad_options(options, message, folders):
    done = CliRunner().invoke(cli, ["export", str(folders["MNIST-II-02"]), *options])
    assert done.exit_code != 0
    assert message in str(done.output) + str(done.exception)


def test_the_command(folders, tmp_path):
    out = tmp_path / "tars"
    arguments = ["export", str(folders["MNIST-II-02"]), "--format", "webdataset", "--split", "test", "-o", str(out)]
    done = CliRunner().invoke(cli, [*arguments, "--json"], catch_exceptions=False)
    report = json.loads(done.output)
    assert report["counts"] == {"test": 1000}
    assert os.listdir(out)  # noqa: PTH208
    assert not list(out.glob("train*"))
