import pytest

from dcl.networks import VARIANTS, lenet, lenet_notation
from dcl.notation import plan_network
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


ALEXNET = (
    "C11(S4)@96-MP3(S2)-C5(S1P2)@256-MP3(S2)-C3(S1P1)@384-C3(S1P1)@384-C3(S1P1)@256-MP3(S2)-"
    "FC4096{}-D0.5-FC4096-D0.5-FC1000"
)


def test_the_papers_alexnet_has_its_weights():
    """Section 4.2.2 says 62.35M and 51.86M; its notation gives 0.02M more, with and without DCL."""
    assert weights(ALEXNET.format(""), (3, 227, 227)) == 62_367_776
    assert weights(ALEXNET.format("[2x1024]"), (3, 227, 227)) == 51_882_016


@pytest.mark.parametrize(("name", "hint"), [("A3s", "A3S"), ("baselin", "baseline"), ("Z", "baseline, A2")])
def test_a_misspelt_variant_gets_a_hint(name, hint):
    with pytest.raises(InputError, match=hint):
        lenet(10, name)


def test_too_few_classes_for_branches():
    with pytest.raises(InputError, match="too few"):
        lenet(4, "B2")
