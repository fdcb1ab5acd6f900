import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcl.models.builder import parse_network, plan_network
from dcl.models.costs import bilinear_counterpart, break_even, measure, total
from mnistcompose.cli import main


@given(
    fan_in=st.integers(1, 500),
    outputs=st.integers(1, 500),
    filters=st.lists(st.integers(1, 200), min_size=2, max_size=4),
)
def test_dcl_pays_below_the_bound_of_section_3_4(fan_in: int, outputs: int, filters: list[int]) -> None:
    text, shape = f"FC{outputs}{{}}", (fan_in, 1, 1)
    plain = total(plan_network(text.format(""), shape, 10)[1])
    dcl = total(plan_network(text.format(f"[{'+'.join(map(str, filters))}]"), shape, 10)[1])
    bound = break_even(fan_in, outputs)
    if not math.isclose(sum(filters), bound):
        assert (dcl.weights < plain.weights) == (sum(filters) < bound)
        assert (dcl.multiply_adds < plain.multiply_adds) == (sum(filters) < bound)


def test_with_equal_sides_half_the_filters_are_the_bound() -> None:
    """Section 3.4: 2 sum M <= K1 = K2."""
    assert break_even(400, 400) == 200


def test_the_bilinear_counterpart_has_the_same_branches_and_outputs() -> None:
    text = bilinear_counterpart("C5@8[2x3]-FC50[7+9S]-OUT")
    assert text == "C5@8[2x3B]-FC50[7+9B]-OUT"
    net = parse_network(text, (1, 9, 9), 4)
    assert net(torch.randn(2, 1, 9, 9)).shape == (2, 4)
    for other in ("FC50-OUT", "FC50[3x4S]-OUT", text):
        assert bilinear_counterpart(other) is None


def test_every_network_is_measured_in_every_round() -> None:
    nets = {name: parse_network(name, (1, 6, 6), 3) for name in ("FC5-OUT", "C3@2-R@2-FC5[2x2]-OUT")}
    before = [p.detach().clone() for p in nets["FC5-OUT"].parameters()]
    timings = measure(nets, (1, 6, 6), 3, batch=4, rounds=3)
    assert list(timings) == list(nets)
    for timing in timings.values():
        assert len(timing.forward) == len(timing.step) == 3
        assert min(*timing.forward, *timing.step) > 0
        assert timing.medians == (sorted(timing.forward)[1], sorted(timing.step)[1])
    assert any(not torch.equal(a, b) for a, b in zip(before, nets["FC5-OUT"].parameters(), strict=True))


def test_network_against(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["network", "C5@4-FC20-OUT", "--against", "C5@4-FC20[2x3]-OUT", "--input", "1x9x9", "--classes", "5"]
    main([*arguments, "--batch", "4", "--rounds", "2", "--device", "cpu", "--json"])
    result = json.loads(capsys.readouterr().out)
    plain, dcl, bilinear = result["networks"]
    common = 100 + 4 + 20 * 5 + 5
    assert plain["parameters"] == common + 100 * 20 + 20
    assert dcl["parameters"] == common + 6 * (100 + 20) + 6 + 2 * 20
    assert bilinear["parameters"] == common + 6 * 100 + 3 * 3 * 20 + 6
    assert bilinear["notation"] == "C5@4-FC20[2x3B]-OUT"
    assert all(row["forward_ms"] > 0 and row["step_ms"] > 0 for row in result["networks"])
    main([*arguments, "--batch", "4", "--rounds", "1", "--device", "cpu"])
    assert "medians of 1 rounds" in capsys.readouterr().out


def test_what_is_too_large_to_be_made_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    main(["network", "FC9-OUT", "--against", "FC9000[2x500]-OUT", "--input", "1x2x2", "--batch", "2", "--rounds", "1",
          "--device", "cpu", "--json"])  # fmt: skip
    *_, bilinear = json.loads(capsys.readouterr().out)["networks"]
    assert bilinear["parameters"] > 2_000_000_000
    assert bilinear["forward_ms"] is bilinear["step_ms"] is None


@pytest.mark.parametrize("name", ["lenet", "bignet+dcl", "wrn", "alexnet+dcl", "A2"])
def test_network_knows_the_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["network", name, "--json"])
    assert json.loads(capsys.readouterr().out)["total"]["shape"] == [1000 if name[0] in "aA" else 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["BigNet"], "did you mean bignet?"),
        (["oracle"], "ask for baseline"),
        (["A2", "--against", "A2S"], "did you mean A"),
        (["FC3", "--against", "FC4"], "3 and 4 outputs"),
        (["C3@4-MP2", "--against", "FC4"], "no vector"),
        (["A2", "--against", "baseline", "--device", "tpu"], "'tpu' is not available"),
    ],
)
def test_the_command_explains_itself(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["network", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
