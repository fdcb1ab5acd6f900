"""What an export says about itself: its README's code, its card in `datasets`, and its Croissant metadata."""

import json
import logging
import re
import shlex
import warnings
from pathlib import Path

import pytest
import yaml

import mnistcompose as mc
from mnistcompose.cli import main
from mnistcompose.exporting.dataset_card import size_category
from mnistcompose.storage.manifest import read_manifest

KINDS = ("idx", "webdataset", "parquet", "png", "npz", "coco")
READ_BY_DATASETS = ("webdataset", "parquet", "png", "coco")
NAMES = ("MNIST-II-02", "MNIST-lengths")  # 100 numbers of two digits; 100,000 numbers of one to five digits
CHOICES = (("train",), ("test",), ("train", "test"))
NEEDED = {"idx": ["torchvision"], "webdataset": ["webdataset"], "png": ["torchvision"], "coco": ["pycocotools"]}
CODE = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("built")
    for name in NAMES:
        mc.build(name, root / name, train=120, test=80)
    return root


@pytest.fixture(scope="module")
def exported(built, tmp_path_factory):
    """Make an export once."""
    root = tmp_path_factory.mktemp("exported")

    def made(name: str, kind: str, splits: tuple[str, ...] = ("train", "test")) -> Path:
        if kind == "parquet":
            pytest.importorskip("pyarrow")
        out = root / f"{name}-{kind}-{'-'.join(splits)}"
        if not out.exists():
            mc.export(built / name, out, kind, splits=splits)
        return out

    return made


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The package `datasets`, without network and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return datasets


def labels_in(built: Path, name: str, split: str) -> list[int]:
    return mc.ShardedDigits(built / name, split).as_tensors()[1].tolist()


@pytest.mark.parametrize("splits", CHOICES, ids="-".join)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_every_readme_runs(kind, name, splits, built, exported, hub, tmp_path, monkeypatch):
    for package in NEEDED.get(kind, ()):
        pytest.importorskip(package)
    folder = exported(name, kind, splits)
    (_, code), (_, commands) = CODE.findall((folder / "README.md").read_text())
    names: dict = {"folder": str(folder)}
    exec(code, names)
    monkeypatch.chdir(tmp_path)
    Path("layout.yaml").write_text((folder / "layout.yaml").read_text())
    for line in commands.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "mnistcompose"
        main(arguments)
    assert (tmp_path / "again" / "export.json").read_text() == (folder / "export.json").read_text()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", READ_BY_DATASETS)
def test_datasets_loads_every_number_without_a_warning(kind, name, built, exported, hub, caplog):
    folder = exported(name, kind)
    hub.logging.enable_propagation()
    logging.getLogger("huggingface_hub").propagate = True
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = hub.load_dataset(str(folder))
    hub.logging.disable_propagation()
    assert [record.getMessage() for record in caplog.records] == []
    assert list(loaded) == ["train", "test"]
    for split, data in loaded.items():
        assert list(data["cls" if kind == "webdataset" else "label"]) == labels_in(built, name, split)
        picture = data[0]["png" if kind == "webdataset" else "image"]
        assert picture.size == {"MNIST-II-02": (28, 28), "MNIST-lengths": (96, 32)}[name]
    if kind == "coco":
        objects, digits = loaded["train"]["objects"], [str(number) for number in loaded["train"]["label"]]
        if name == "MNIST-II-02":
            assert ["".join(map(str, each["categories"])) for each in objects] == [f"{int(each):02}" for each in digits]
        assert all(len(each["bbox"]) == len(each["categories"]) for each in objects)


@pytest.mark.parametrize("kind", ["idx", "npz"])
def test_a_card_promises_no_files_that_datasets_cannot_read(kind, exported):
    _, head, _ = (exported("MNIST-II-02", kind) / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["viewer"] is False
    assert not {"configs", "dataset_info"} & set(card)


@pytest.mark.parametrize("kind", READ_BY_DATASETS)
def test_a_cards_sizes_are_those_of_the_files(kind, exported):
    folder = exported("MNIST-II-02", kind)
    card = yaml.safe_load((folder / "README.md").read_text().split("---\n", 2)[1])
    for split in card["dataset_info"]["splits"]:
        files = [
            path for path in folder.rglob(f"{split['name']}*") if path.is_file() and "annotations" not in path.parts
        ]
        files += [path for path in (folder / split["name"]).rglob("*") if path.is_file()]
        assert split["num_bytes"] == sum(path.stat().st_size for path in files) > 0


@pytest.mark.parametrize("name", NAMES)
def test_png_makes_no_more_folders_than_numbers_or_images(name, exported):
    folder = exported(name, "png")
    folders = [path for path in folder.rglob("*") if path.is_dir()]
    assert len(folders) == 2 + (2 * 100 if name == "MNIST-II-02" else 0)


@pytest.mark.parametrize("workers", [2, 5, 16])
def test_several_workers_share_the_tars_of_each_split(workers, built, exported):
    webdataset = pytest.importorskip("webdataset")
    data = pytest.importorskip("torch.utils.data")
    folder = exported("MNIST-II-02", "webdataset")
    for split in ("train", "test"):
        tars = sorted(map(str, folder.glob(f"{split}-*.tar")))
        samples = webdataset.WebDataset(tars, shardshuffle=False).to_tuple("__key__", "cls")
        read = {int(key): int(number) for key, number in data.DataLoader(samples, batch_size=None, num_workers=workers)}
        assert [read[index] for index in range(len(read))] == labels_in(built, "MNIST-II-02", split)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_croissant_1_1_with_its_provenance(kind, name, built, exported):
    folder, manifest = exported(name, kind), read_manifest(built / name)
    text = json.loads((folder / "croissant.json").read_text())
    assert text["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    made = text["prov:wasGeneratedBy"]
    values = {each["@id"]: each["prov:value"] for each in made["prov:used"]}
    assert values == {
        "provenance/layout": manifest.spec_digest,
        "provenance/digits": manifest.digits_digest,
        "provenance/seed": manifest.seed,
    }
    assert made["prov:wasAssociatedWith"]["prov:value"] == manifest.mnistcompose
    assert {each["@id"] for each in text["prov:wasDerivedFrom"]} < set(values)
    assert ("numbers of 1, 2, 3, 4 or 5 digits" in text["description"]) == (name == "MNIST-lengths")
    mlcroissant = pytest.importorskip("mlcroissant")
    dataset = mlcroissant.Dataset(str(folder / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    assert dataset.metadata.to_json()["prov:wasGeneratedBy"]["prov:used"]
    for record_set in text["recordSet"]:
        split = record_set["@id"]
        records = [record[f"{split}/label"] for record in dataset.records(split)]
        assert sorted(map(int, records)) == sorted(labels_in(built, name, split))


@pytest.mark.parametrize(("count", "name"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**12, "n>1T")])
def test_size_categories(count, name):
    assert size_category(count) == name


@pytest.mark.parametrize("date", ["soon", "9" * 18, "1.5"])
def test_a_date_that_is_none_is_named(date: str, built: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", date)
    with pytest.raises(mc.InputError, match=f"SOURCE_DATE_EPOCH = '{date}': should be a number of seconds"):
        mc.export(built / NAMES[0], tmp_path / "x", "npz", progress=lambda _: pytest.fail("a shard has been written"))
    assert list(tmp_path.iterdir()) == []
