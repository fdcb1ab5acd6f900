"""The contract that the project stands for: everybody who builds a bundled dataset holds the published bytes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnistcompose import InputError, build, verify
from mnistcompose.building.digests import make_digests, published_digests
from mnistcompose.cli import cli
from mnistcompose.layout.names import bundled_names, load_spec, spec_names


def test_every_bundled_dataset_has_a_published_digest():
    names = list(published_digests())
    assert names[: len(spec_names())] == spec_names()
    assert set(names) <= set(bundled_names())
    digests = [digest for splits in published_digests().values() for digest in splits.values()]
    assert len(set(digests)) == len(digests) == 30 + 5 * 3 + 2 + 2


@pytest.mark.parametrize("name", published_digests())
def test_a_dataset_has_its_published_digest(name):
    assert make_digests(load_spec(name)) == published_digests()[name]


def test_two_datasets_are_compared_by_the_digests_that_a_check_and_a_layout_give(tmp_path):
    sizes = {"train": 1500, "test": 700}
    build("MNIST-II-01", tmp_path / "one", seed=3, **sizes)
    build("MNIST-II-01", tmp_path / "two", seed=3, shard_size=1000, compression="gzip", **sizes)
    build("MNIST-II-01", tmp_path / "other", seed=4, **sizes)
    one, two, other = (verify(tmp_path / name).digests for name in ("one", "two", "other"))
    assert one == two == make_digests("MNIST-II-01", seed=3, **sizes)
    assert set(one.values()).isdisjoint(other.values())
    asked = ["MNIST-II-01", "--seed", "3", "--train", "1500", "--test", "700"]
    assert json.loads(CliRunner().invoke(cli, ["spec", "digest", *asked]).stdout)["digests"] == {"MNIST-II-01": one}
    told = CliRunner().invoke(cli, ["verify", str(tmp_path / "one"), "--json"]).stdout
    assert json.loads(told)["digests"] == one


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"seed": -1}, "seed = -1"), ({"train": -1}, "train = -1"), ({"train": 0, "test": 0}, "nothing")],
)
def test_what_cannot_be_built_has_no_digest(wrong, message):
    with pytest.raises(InputError, match=message):
        make_digests("MNIST-II-01", **wrong)


@pytest.mark.parametrize("command", ["build", "spec digest"])
def test_two_layouts_of_one_name_are_refused(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, x in (("a", 0.8), ("b", 0.9)):
        Path(place).mkdir()
        Path(place, "x.yaml").write_text(
            f"name: same\ntrain: 10\ntest: 0\nslots: [{{center: [0, 0]}}, {{center: [{x}, 0]}}]\n"
        )
    refused = CliRunner().invoke(cli, [*command.split(), "a/x.yaml", "b/x.yaml"])
    assert isinstance(refused.exception, InputError)
    assert "same: two layouts of this name" in str(refused.exception)
