import pytest
import torch

from dcl.networks import NATURAL_NAMES, VARIANTS, lenet, lenet_notation, natural_network, natural_notation
from dcl.notation import plan_network
from dcl.wide_resnet import WideResNet
from mnistcompose.errors import InputError


def weights(text, shape, classes=1000):
    return sum(cost.weights for cost in plan_network(text, shape, classes)[1])


@pytest.mark.parametrize("classes", [100, 1000])
def test_each_branch_has_a_fifth_of_the_replaced_layers_filters(classes):
    head, tail = "C5@20-MP2S2-C5@50-MP2S2-", "-D0.5-OUT"
    expected = {
        "baseline": f"{head}FC500{tail}",
        "A2": f"{head}FC500[2x100]{tail}",
        "A3D": f"{head}FC500[3x100D]{tail}",
        "A3S": f"{head}FC500[3x100S]{tail}",
        "B2": f"{head}FC500{tail}[2x{classes // 5}]",
        "B3D": f"{head}FC500{tail}[3x{classes // 5}D]",
        "B3S": f"{head}FC500{tail}[3x{classes // 5}S]",
    }
    assert {variant: lenet_notation(classes, variant) for variant in VARIANTS} == expected
    for variant in VARIANTS:
        assert lenet(classes, variant).notation == plan_network(expected[variant], (1, 28, 28), classes)[0]


def test_lenets_weights_follow_from_the_formulas():
    convolutions = 5 * 5 * 20 + 5 * 5 * 20 * 50
    for classes in (100, 1000):
        b = classes // 5
        for variant, full in {
            "baseline": 800 * 500 + 500 * classes,
            "A2": 2 * 100 * (800 + 500) + 500 * classes,
            "A3S": 3 * 100 * (800 + 500) + 500 * classes,
            "B2": 800 * 500 + 2 * b * (500 + classes),
            "B3D": 800 * 500 + 3 * b * (500 + classes),
        }.items():
            assert sum(cost.weights for cost in lenet(classes, variant).costs) == convolutions + full


@pytest.mark.parametrize(("name", "hint"), [("A3s", "A3S"), ("baselin", "baseline"), ("Z", "baseline, A2")])
def test_a_misspelt_variant_gets_a_hint(name, hint):
    with pytest.raises(InputError, match=hint):
        lenet(10, name)


def test_too_few_classes_for_branches():
    with pytest.raises(InputError, match="too few"):
        lenet(4, "B2")


# --- natural images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "classes", "plain", "dcl", "percent"),
    [("bignet", 10, 5_742_272, 5_086_912, 11.41), ("alexnet", 1000, 62_367_776, 51_882_016, 16.81)],
)
def test_weights_of_section_4_2(name, classes, plain, dcl, percent):
    """The paper: BigNet 5.74M to 5.09M, 11.41 % fewer; AlexNet 62.35M to 51.86M (its notation gives 0.02M more)."""
    (text, shape), (with_dcl, _) = natural_notation(name), natural_notation(f"{name}-dcl")
    assert (weights(text, shape, classes), weights(with_dcl, shape, classes)) == (plain, dcl)
    assert round(100 * (1 - dcl / plain), 2) == percent


@pytest.mark.parametrize("name", [name for name in NATURAL_NAMES if "alexnet" not in name])
@pytest.mark.parametrize("classes", [10, 100])
def test_a_training_step_changes_the_weights_of_a_network_for_natural_images(name, classes):
    torch.manual_seed(0)
    net = natural_network(name, classes)
    shape = natural_notation(name)[1] if "wrn" not in name else (3, 32, 32)
    images, targets = torch.randn(2, *shape), torch.tensor([1, 7])
    before = [p.clone() for p in net.parameters()]
    outputs = net(images)
    assert outputs.shape == (2, classes)
    torch.nn.functional.cross_entropy(outputs, targets).backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    changed = [not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)]
    assert sum(changed) > 0.9 * len(changed)  # where no ReLU of a small branch fires, the branch rests


def test_layers_and_weights_of_the_wide_resnet():
    net = WideResNet(10, depth=16, width=8)
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) == 1 + 2 * 2 * 3
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 1) == 11.0  # as its authors count WRN-16-8
    assert round(sum(p.numel() for p in WideResNet(10, depth=28, width=10).parameters()) / 1e6, 1) == 36.5


@pytest.mark.parametrize("depth", [4, 15, 17])
def test_depths_that_no_wide_resnet_has(depth):
    with pytest.raises(InputError, match="6 n"):
        WideResNet(10, depth=depth)


def test_a_misspelt_natural_network_gets_a_hint():
    with pytest.raises(InputError, match="bignet"):
        natural_network("bignett", 10)
    with pytest.raises(InputError, match="there are lenet32"):
        natural_notation("wrn16")
