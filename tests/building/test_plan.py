import json
from time import perf_counter

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mnistcompose import InputError, build, load_spec
from mnistcompose.building.config import make_config
from mnistcompose.building.plan import plan_build
from mnistcompose.cli import cli

SPEC = load_spec("MNIST-II-03")


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_plan_is_what_the_build_makes(tmp_path, compression):
    size = {"train": 25_000, "test": 3000, "shard_size": 5000, "compression": compression}
    begun = perf_counter()
    plan = plan_build(make_config(SPEC, **size))
    assert 0 < plan.seconds_per_image * 2000 < perf_counter() - begun  # it made as many images, and more
    report = build(SPEC, tmp_path / "x", **size)
    assert plan.counts == report.counts
    assert sum(plan.shards.values()) == report.made == 6
    assert plan.bytes == pytest.approx(report.bytes, rel=0.001 if compression == "none" else 0.02)
    assert plan.manifest_bytes == pytest.approx((tmp_path / "x" / "manifest.json").stat().st_size, abs=4000)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_every_image_is_in_a_shard(train, test):
    plan = plan_build(make_config(SPEC, train=train, test=test))
    assert plan.counts == {"train": train, "test": test}
    for split, count in plan.counts.items():
        assert 0 <= plan.shards[split] * 10_000 - count < 10_000
    assert plan.seconds_per_image > 0


def test_a_dry_run_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["build", "MNIST-II-03", "--train", "1000000000000", "--dry-run", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)["shards"] == {"train": 10**8, "test": 1}
    said = CliRunner().invoke(cli, ["build", "MNIST-II-03", "--dry-run"]).output
    assert "60,000 train and 10,000 test images in 7 shards, 60.8 MB" in said
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_built_cannot_be_planned():
    with pytest.raises(InputError, match="shard_size = 1500"):
        make_config(SPEC, shard_size=1500)
