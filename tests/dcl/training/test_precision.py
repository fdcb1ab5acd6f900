"""Each precision is that of the run, whatever the caller's settings are."""

import pytest
import torch
from torch import nn

from dcl.training.loop import fit
from dcl.training.precision import autocast, check_precision
from mnistcompose.errors import InputError

CPU = torch.device("cpu")


def trained(context) -> torch.Tensor:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    images = torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = images, torch.arange(64) % 10
    with context:
        fit(net, data, data, epochs=1, device="cpu")
    return net[1].weight.detach()


def test_a_caller_s_autocast_does_not_reach_a_float32_run():
    plain, inside = trained(torch.enable_grad()), trained(torch.autocast("cpu", torch.bfloat16))
    assert torch.equal(plain, inside)


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize(("precision", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_are_of_the_precision_that_was_asked_for(outside, precision, kind):
    ones = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=outside), autocast(precision, CPU):
        assert (ones @ ones).dtype == kind


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="float16"):
        check_precision("float16", CPU)
