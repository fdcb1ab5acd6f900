"""Calibrating a layout by one knob."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcl.experiments.calibration import in_memory, interpolate, scaled, settled
from mnistcompose.cli import main
from mnistcompose.datasets.composed import ComposedDigits
from mnistcompose.errors import InputError
from mnistcompose.layout.names import load_spec
from mnistcompose.layout.reading import parse_spec
from mnistcompose.layout.varying import Normal, Uniform

TEXT = """
name: x
digit:
  rotation: {normal: [5, 4]}
  scale: {uniform: [0.8, 1.2]}
slots:
  - center: [0, 0]
  - center: [0.9, 0.4]
    flip: {choice: [none, both]}
noise: {gaussian: 10}
"""


def test_the_spread_is_multiplied_and_nothing_else():
    spec = parse_spec(TEXT)
    fields = ["digit.rotation", "digit.scale", "slots.1.center", "noise.gaussian"]
    half = scaled(spec, fields, 0.5)
    assert half.digit.rotation == Normal(normal=(5, 2))
    assert half.digit.scale == Uniform(uniform=(0.9, 1.1))
    assert half.slots[1].center == (0.45, 0.2)
    assert half.noise.gaussian == 5
    assert half.slots[1].flip == spec.slots[1].flip
    assert half.name == "x-x0.5"
    assert scaled(spec, fields * 2, 0.5) == half
    assert scaled(spec, fields, 1).digest == spec.digest
    assert parse_spec(settled(spec, fields, 0.5)).digest == half.digest


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("digit.dx", "x: sets no digit.dx"),
        ("slots.7.center", "x: sets no slots.7.center"),
        ("slots.1.flip", "has no spread"),
        ("digit.scale", "scale"),
    ],
)
def test_a_knob_that_is_none_is_named(field, message):
    with pytest.raises(InputError, match=message):
        scaled(parse_spec(TEXT), [field], 100.0)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(1, 20)), min_size=2, max_size=6, unique_by=lambda p: p[0]),
    st.floats(1, 20),
)
def test_the_interpolated_factor_lies_between_neighbours_that_enclose_the_target(points, target):
    factors, errors = zip(*points, strict=True)
    found = interpolate(factors, errors, target)
    ordered = sorted(points)
    pairs = [(a, b) for a, b in itertools.pairwise(ordered) if min(a[1], b[1]) <= target <= max(a[1], b[1])]
    if found is None:
        assert not pairs
    else:
        (low, _), (high, _) = pairs[0]
        assert low <= found <= high


def test_interpolation_is_linear():
    assert interpolate([2, 1], [10, 5], 6) == pytest.approx(1.2)


def test_calibration_data_are_the_splits_that_a_build_writes():
    spec = load_spec("MNIST-II-01").model_copy(update={"train": 30, "test": 20})
    images, numbers = in_memory(spec, 7).load("test", "number", "cpu")
    wanted, labels = ComposedDigits(spec, "test", 7)[:]
    assert (images == wanted).all()
    assert (numbers == labels).all()


def test_the_command_trains_at_every_factor_and_interpolates(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_text(TEXT + "train: 300\ntest: 200\n")
    arguments = ["--knob", "digit.rotation", "--epochs", "1", "--out", str(tmp_path / "out"), "--target", "99"]
    main(["calibrate", str(path), *arguments, "--factors", "1,2", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["factors"] == [1, 2]
    assert len(list((tmp_path / "out").glob("*/*.json"))) == 2
    main(["calibrate", str(path), *arguments, "--factors", "1,2", "--target", str(result["errors"][0])])
    assert "name: x\n" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(path), *arguments, "--factors", "much"])
    assert ended.value.code == 2
