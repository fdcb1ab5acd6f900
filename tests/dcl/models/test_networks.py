from dataclasses import replace

import pytest
import torch

from dcl.experiments.registry import make_network, printed_notation
from dcl.models.builder import plan_network
from dcl.models.grammar import parse_layers
from dcl.models.networks import (
    IMAGE_NETWORKS,
    VARIANTS,
    image_network,
    image_network_notation,
    image_network_shape,
    lenet,
    lenet_notation,
)
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


WEIGHTS = {
    "lenet": (1_312_096, 918_880),
    "bignet": (5_742_272, 5_086_912),  # the paper's 5.74M and 5.09M, 11.41 % fewer
    "wrn": (10_954_160, 10_951_128),
    "alexnet": (62_367_776, 51_882_016),  # the paper's 62.35M and 51.86M, 0.02M lower than its own notation
}
FEWER = {"bignet": 11.41, "alexnet": 16.81}  # percent


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_networks_for_images_have_the_papers_weights(name):
    shape, classes = image_network_shape(name)
    plain, dcl = (weights(image_network_notation(form, classes), shape, classes) for form in (name, f"{name}+dcl"))
    assert (plain, dcl) == WEIGHTS[name]
    if name in FEWER:
        assert 100 * (1 - dcl / plain) == pytest.approx(FEWER[name], abs=0.005)


def test_the_paper_writes_two_of_them():
    """Sections 4.2.1 and 4.2.2."""
    written = {
        "lenet": "C5(P2)@32-MP3(S2)-C5(P2)@64-MP3(S2)-C5(P2)@128-MP3(S2)-FC512-D0.5-OUT",
        "alexnet": "C11(S4)@96-MP3(S2)-C5(S1P2)@256-MP3(S2)-C3(S1P1)@384-C3(S1P1)@384-C3(S1P1)@256-"
        "MP3(S2)-FC4096-D0.5-FC4096-D0.5-FC1000",
    }
    for name, text in written.items():
        shape, classes = image_network_shape(name)
        ours, paper = (
            plan_network(notation, shape, classes)[1] for notation in (image_network_notation(name, classes), text)
        )
        assert [replace(cost, layer="") for cost in ours] == [replace(cost, layer="") for cost in paper]


@pytest.mark.parametrize(("classes", "filters"), [(10, 2), (100, 25), (1000, 250)])
def test_dcl_has_branches_of_a_quarter_on_the_first_fully_connected_layer(classes, filters):
    for name in IMAGE_NETWORKS:
        layers = parse_layers(image_network_notation(name, classes))
        first, *others = [layer for layer in layers if layer.kind in {"FC", "OUT"}]
        branches = {"dcl": (2, "deterministic"), "dcl3s": (3, "stochastic")}.get(name.partition("+")[2])
        expected = branches and ((first.filters // 4 or filters,) * branches[0], branches[1])
        assert (first.dcl and tuple(first.dcl)) == expected
        assert all(layer.dcl is None for layer in layers if layer is not first)
        assert name.startswith("wrn") or others


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_a_network_for_images_maps_its_input_to_its_classes(name):
    shape, classes = image_network_shape(name)
    with torch.device("meta"):
        net = image_network(name).eval()
        assert net(torch.empty(2, *shape)).shape == (2, classes)
    assert net.notation == plan_network(image_network_notation(name, classes), shape, classes)[0]


@pytest.mark.parametrize("side", [28, 32, 33, 64])
def test_the_wide_resnet_averages_over_the_whole_image(side):
    shape = (1, side, side)
    written = image_network_notation("wrn", 10, shape)
    assert [cost.shape for cost in plan_network(written, shape, 10)[1]][-2:] == [(512, 1, 1), (10,)]
    assert make_network("wrn", 10, 1, shape).notation == printed_notation("wrn", 10, 1, shape) == written
    assert image_network("wrn", 10, shape).notation == written


def test_the_wide_resnet_is_16_layers_deep_and_8_times_as_wide():
    layers = parse_layers(image_network_notation("wrn", 10))
    with torch.device("meta"):
        convolutions = [module for module in image_network("wrn").modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 16
    assert [layer.filters for layer in layers if layer.kind == "R"] == [128, 128, 256, 256, 512, 512]


@pytest.mark.parametrize(("name", "hint"), [("A3s", "A3S"), ("baselin", "baseline"), ("Z", "baseline, A2")])
def test_a_misspelt_variant_gets_a_hint(name, hint):
    with pytest.raises(InputError, match=hint):
        lenet(10, name)


@pytest.mark.parametrize(("name", "hint"), [("BigNet", "bignet"), ("lenet+dlc", "lenet"), ("Z", "alexnet")])
def test_a_misspelt_network_for_images_gets_a_hint(name, hint):
    for ask in (image_network, image_network_shape):
        with pytest.raises(InputError, match=hint):
            ask(name)


def test_too_few_classes_for_branches():
    with pytest.raises(InputError, match="too few"):
        lenet(4, "B2")
    with pytest.raises(InputError, match="too few"):
        image_network_notation("wrn+dcl", 3)
