import csv
import io
import shutil
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dcl import lenet
from dcl.experiments.inference import Trained, images_of_test
from dcl.experiments.registry import MODELS
from dcl.experiments.run_file import read_record
from dcl.models.fusion import DCLLinear
from dcl.reporting.figures import Responses, agreeing, branch_filters, draw_curves, loss_curves, mean_responses
from dcl.training.device_data import Normalisation
from mnistcompose import ComposedDigits, InputError, load_spec
from mnistcompose.cli import cli, main
from mnistcompose.digits.bank import load_digits

STORED = Path(__file__).parents[3] / "results" / "first"


def records(dataset):
    return [read_record(path) for path in sorted((STORED / dataset).glob("*.json"))]


def renamed(record, notation):
    return {**record, "determined_by": {**record["determined_by"], "model": notation, "notation": notation}}


def test_filters_are_read_from_the_notation():
    a2, baseline = (
        next(r for r in records("MNIST-III-10") if r["determined_by"]["model"] == m) for m in ("A2", "baseline")
    )
    wide = renamed(a2, "C5@20-MP2S2-C5@50-MP2S2-FC500[2x400]-D0.5-OUT")
    three = renamed(a2, "C5@20-MP2S2-C5@50-MP2S2-FC500[3x25S]-D0.5-OUT")
    oracle = next(r for r in records("MNIST-III-10") if r["determined_by"]["model"] == "oracle")
    others = [
        renamed(baseline, text)
        for text in (
            "C5@20-MP2S2-FC500-OUT",
            "C5@20-MP2S2-C5@50-MP2S2-FC500-D0.5-OUT[2x200]",
            "C5@20-MP2S2-C5@50-MP2S2-FC400-D0.5-OUT",
        )
    ]
    rows = branch_filters([oracle, a2, baseline, wide, three, *others])
    assert [(row[0], row[3]) for row in rows] == [(0, 1), (100, 1), (400, 1)]
    assert rows[0][1] == baseline["error_percent"]
    with pytest.raises(InputError, match="FC500"):
        branch_filters([baseline])
    wide["determined_by"]["fusion"] = {"max_slope": 1.0}
    assert [row[0] for row in branch_filters([baseline, wide])] == [0, 400]
    for both in permutations([a2, wide]):
        with pytest.raises(InputError, match="differ in fusion"):
            branch_filters([baseline, *both])


@pytest.mark.parametrize("number", ["3", "4"])
def test_a_run_that_is_given_twice_is_refused(number, tmp_path):
    shutil.copytree(STORED / "MNIST-III-10", tmp_path / "MNIST-III-10")
    result = CliRunner().invoke(cli, ["figure", number, "--runs", f"{STORED},{tmp_path}"])
    assert isinstance(result.exception, InputError)
    assert "have the same dataset, model and seed" in str(result.exception)
    assert str(tmp_path) in str(result.exception)


def test_curves_hold_every_epoch_of_every_run():
    found = records("MNIST-III-10")
    rows = loss_curves(found)
    assert len(rows) == sum(record["determined_by"]["epochs"] for record in found)
    assert rows[0][4:] == tuple(found[0]["history"][key][0] for key in ("train_loss", "test_loss", "test_error"))


def test_means_are_those_of_each_class():
    torch.manual_seed(0)
    net = lenet(100, "A2").eval()
    images, digits = ComposedDigits(load_spec("MNIST-II-05"), "test", length=300, target="digits").as_tensors()
    found = mean_responses(net, images, digits, 10, lambda batch: batch.float() / 255, batch=64)
    module = next(m for m in net.modules() if isinstance(m, DCLLinear))
    with torch.inference_mode():
        inputs = net[: list(net).index(module)](images.float() / 255)
        z, v = module(inputs), module.responses(inputs)
    number = 10 * digits[:, 0] + digits[:, 1]
    some = int(number[0])
    assert np.allclose(found.fused[some], z[number == some].double().mean(0), atol=1e-6)
    assert np.allclose(found.branches[1, 0, 3], v[1][digits[:, 0] == 3].double().mean(0), atol=1e-6)
    assert found.branches.shape == (2, 2, 10, 500)


def made(numbers, peaks):
    """Responses of filters that peak at these numbers, and whose branches peak at (digit of v1, digit of v2)."""
    fused, branches = np.zeros((100, len(numbers))), np.zeros((2, 2, 10, len(numbers)))
    for k, (number, (one, two)) in enumerate(zip(numbers, peaks, strict=True)):
        fused[number, k] = 1
        branches[0, :, one, k] = 1
        branches[1, :, two, k] = 1
    return Responses(fused, branches)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 99), min_size=2, max_size=30), st.booleans())
def test_filters_whose_branches_point_at_their_number_agree(numbers, swapped):
    peaks = [divmod(number, 10)[:: -1 if swapped else 1] for number in numbers]
    own, chance = agreeing(made(numbers, peaks))
    assert own == 1
    pairs = [(a, b) for i, a in enumerate(numbers) for j, b in enumerate(numbers) if i != j]
    assert chance == pytest.approx(np.mean([sorted(divmod(a, 10)) == sorted(divmod(b, 10)) for a, b in pairs]))


def test_filters_that_never_fire_do_not_count():
    found = made([68, 12, 34], [(6, 8), (1, 9), (3, 4)])
    found.fused[:, 2] = 0.5
    assert agreeing(found)[0] == 0.5
    found.fused[:, 1] = 0.5
    with pytest.raises(InputError, match="1 fused filters fire; should be at least 2"):
        agreeing(found)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_branches_may_share_the_positions_in_any_order(order):
    fused, branches = np.zeros((1000, 2)), np.zeros((3, 3, 10, 2))
    for k, number in enumerate((123, 457)):
        fused[number, k] = 1
        digits = [int(digit) for digit in str(number)]
        for branch, position in enumerate(order):
            branches[branch, :, digits[position], k] = 1
    assert agreeing(Responses(fused, branches)) == (1, 0)


@pytest.mark.parametrize("number", ["2", "4"])
def test_the_command_writes_picture_and_numbers(number, tmp_path):
    options = ["--runs", str(STORED), "--models", "baseline,A2,A3S"] if number == "4" else []
    for name in ("a", "b"):
        done = CliRunner().invoke(cli, ["figure", number, *options, "-o", str(tmp_path / name)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "a.png") as picture:
        assert np.ptp(np.asarray(picture.convert("L"))) > 100
    assert (tmp_path / "a.svg").read_text().lstrip().startswith("<?xml")
    assert len(list(csv.reader(io.StringIO((tmp_path / "a.csv").read_text())))) > 15
    for kind in ("png", "svg", "csv"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_figure_5_from_trained_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from mnistcompose.layout.names import load_spec
    from mnistcompose.layout.reading import dump_spec

    small = load_spec("MNIST-II-05").model_copy(update={"train": 600, "test": 200})
    (tmp_path / "small.yaml").write_text(dump_spec(small))
    options = ["--models", "A2,B2", "--epochs", "1", "--keep", "--out", "runs", "--json"]
    done = CliRunner().invoke(cli, ["compare", "small.yaml", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(cli, ["figure", "5", "--runs", "runs", "-o", "five"])
    assert done.exit_code == 0, done.output
    assert "by chance" in done.output
    rows = list(csv.DictReader(io.StringIO(Path("five.csv").read_text())))
    assert {row["model"] for row in rows} == {"A2", "B2"}
    assert {row["of"] for row in rows} == {"z", "v(1)", "v(2)"}


def test_images_of_other_digits_or_layouts_are_not_made_again():
    spec, net = load_spec("MNIST-II-05").model_copy(update={"test": 10}), lenet(100, "A2")
    digits = load_digits("test").digest
    fine = {"model": "A2", "dataset": "MNIST-II-05", "spec": spec.digest, "digits": digits, "data_seed": 0}
    for field in ("spec", "digits"):
        trained = Trained(net, Normalisation((0.5,), (0.5,)), {**fine, field: "f" * 64}, 1)
        with pytest.raises(InputError, match={"spec": "another layout", "digits": "other digits"}[field]):
            images_of_test(trained)
    images, _ = images_of_test(Trained(net, Normalisation((0.5,), (0.5,)), fine, 1))
    assert len(images) == load_spec("MNIST-II-05").test


def test_missing_runs_are_told(tmp_path):

    for number in ("3", "4"):
        with pytest.raises(InputError, match="no runs on MNIST-III-10"):
            CliRunner().invoke(cli, ["figure", number, "--runs", str(tmp_path)], catch_exceptions=False)


def test_losses_are_drawn_of_one_run_a_model():
    rows = [("x", model, seed, epoch, 1 / epoch, 1.0, 5.0) for model in "ab" for seed in (1, 0) for epoch in (1, 2, 3)]
    lines = draw_curves(rows).axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[1, 2, 3]] * 4


def test_every_model_is_drawn_in_a_colour_of_its_own(tmp_path):
    rows = [("x", model, place, epoch, 1.0, 1.0, 5.0) for place, model in enumerate(MODELS) for epoch in (1, 2)]
    lines = draw_curves(rows).axes[0].lines  # no two models have a seed in common
    assert len(lines) == 2 * len(MODELS)
    assert len({line.get_color() for line in lines}) == len(MODELS)


@pytest.mark.parametrize(
    ("options", "message"), [(["--filters", "0"], "0 is not in the range"), (["-o", "."], "should end in a name")]
)
def test_a_mistake_in_an_option_is_told(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["figure", "2", *options])
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
