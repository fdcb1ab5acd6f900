import json

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dcl.costs import BilinearFusion, measure
from dcl.fusion import DCLLinear
from mnistcompose.cli import cli


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_weights_an_output_needs(inputs, outputs, m):
    """Section 3.3: M(1) M(2) of bilinear fusion, M(1) + M(2) of DCL."""
    bilinear, dcl = BilinearFusion(inputs, outputs, m), DCLLinear(inputs, outputs, m, 2)
    assert bilinear.mix.weight.numel() == outputs * m * m
    assert sum(p.numel() for p in dcl.mix) == outputs * 2 * m


def test_bilinear_fusion_is_a_form_of_both_branches():
    torch.manual_seed(0)
    fusion, x = BilinearFusion(5, 3, 4), torch.randn(2, 5)
    one, two = (branch(x).relu() for branch in fusion.theta)
    expected = torch.einsum("ni,kij,nj->nk", one, fusion.mix.weight, two) + fusion.mix.bias
    assert torch.allclose(fusion(x), expected, atol=1e-6)


def test_every_module_is_timed():
    found = measure([torch.nn.Linear(4, 3), DCLLinear(4, 3, 2, 2)], (8, 4), torch.device("cpu"), rounds=2, repeats=1)
    assert len(found) == 2
    assert all(times.forward > 0 and times.training > 0 for times in found)


def test_the_command_compares_two_networks():
    result = CliRunner().invoke(cli, ["network", "A2", "--against", "baseline", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["networks"][0]["weights"] < found["networks"][1]["weights"]
    assert found["networks"][0]["weights"] == 2 * 100 * 1300 + 500 * 1000 + 25 * 20 + 25 * 20 * 50
    assert all(network["training_ms"] > 0 for network in found["networks"])
    text = CliRunner().invoke(cli, ["network", "bignet-dcl", "--against", "bignet", "--classes", "10", "--batch", "2"])
    assert text.exit_code == 0, text.output
    assert "5,086,912" in text.output
    assert "0.886" in text.output


@pytest.mark.parametrize("other", ["nonsense", "C99@1-OUT"])
def test_what_cannot_be_compared(other):
    result = CliRunner().invoke(cli, ["network", "A2", "--against", other])
    assert result.exit_code != 0
