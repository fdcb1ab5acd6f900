from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dcl.models.bilinear import BilinearConv2d, BilinearLinear
from dcl.models.builder import parse_network, plan_network
from dcl.models.fusion import DCLConv2d, DCLLinear
from dcl.models.grammar import parse_layers
from dcl.models.residual import ResidualBlock
from mnistcompose.cli import main
from mnistcompose.errors import InputError

SMALL = st.integers(1, 4)
DCL = st.one_of(
    st.just(""),
    st.builds(lambda t, m, f: f"[{t}x{m}{f}]", st.integers(2, 4), SMALL, st.sampled_from(["", "S", "D"])),
    st.builds(
        lambda m, f: f"[{'+'.join(map(str, m))}{f}]", st.lists(SMALL, min_size=2, max_size=4), st.sampled_from("SD")
    ),
    st.builds(lambda m, n: f"[{m}+{n}B]", SMALL, SMALL),
)
CONV = st.builds(
    lambda k, s, p, m, dcl: f"C{k}(S{s}P{p})@{m}{dcl}",
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 2),
    SMALL,
    DCL,
)
POOL = st.builds(
    lambda kind, k, s: f"{kind}{k}S{s}", st.sampled_from(["MP", "AP"]), st.integers(1, 3), st.integers(1, 3)
) | st.just("MP3(S2P1)")
BLOCK = st.builds(lambda s, m: f"R(S{s})@{m}", st.integers(1, 2), SMALL)
FULL = st.builds(lambda m, dcl: f"FC{m}{dcl}", SMALL, DCL)
DROP = st.sampled_from(["D0.5", "D0.25", "D0", "D0.123456789", "D.999999999", "D0.0000001"])
NETWORKS = st.builds(
    lambda convs, fulls, out: "-".join([*convs, *fulls, *out]),
    st.lists(CONV | POOL | BLOCK | DROP, max_size=4),
    st.lists(FULL | DROP, max_size=3),
    st.builds(lambda dcl: [f"OUT{dcl}"], DCL),
)


def build(text, shape=(2, 13, 11), classes=5):
    try:
        return parse_network(text, shape, classes)
    except InputError as error:
        if "kernel is larger" not in str(error):  # pooled away: nothing else can be wrong here
            raise
        return None


@settings(max_examples=100, deadline=None)
@given(NETWORKS)
def test_shapes_costs_and_the_round_trip(text):
    net = build(text)
    if net is None:
        return
    net.eval()
    again = parse_network(net.notation, (2, 13, 11), 5)
    assert again.notation == net.notation
    assert again.costs == net.costs
    assert [str(module) for module in again] == [str(module) for module in net]
    assert plan_network(text, (2, 13, 11), 5) == (net.notation, net.costs)
    with FlopCounterMode(display=False) as counter:
        outputs = net(torch.randn(1, 2, 13, 11))
    assert outputs.shape == (1, 5)
    assert counter.get_total_flops() == 2 * sum(cost.multiply_adds for cost in net.costs)
    assert sum(p.numel() for p in net.parameters()) == sum(cost.weights + cost.biases for cost in net.costs)
    x, row = torch.randn(1, 2, 13, 11), iter(net.costs)
    for module in net:
        x = module(x)
        if not isinstance(module, nn.Flatten):
            assert x.shape[1:] == next(row).shape


def test_a_relu_follows_every_layer_but_the_last_and_dcl():
    net = parse_network("C3@4-MP2S2-C3@4-C3@4[2x2]-FC6-FC7[2x3]-OUT", (1, 20, 20), 9)
    kinds = [type(module).__name__ for module in net]
    assert kinds == [
        "Conv2d", "MaxPool2d", "ReLU", "Conv2d", "ReLU", "DCLConv2d", "Flatten", "Linear", "ReLU", "DCLLinear", "Linear"
    ]  # fmt: skip
    assert [type(module) for module in parse_network("C3@4-FC5", (1, 5, 5))][-1] is nn.Linear
    assert [type(module) for module in parse_network("C3@4-MP2", (1, 5, 5))][-1] is nn.MaxPool2d


def test_the_order_around_a_row_of_residual_blocks():
    net = parse_network("C3@4-R@4-R(S2)@6-AP3-C1@2-MP2-D0-R@2-FC3-OUT", (1, 12, 12), 5)
    kinds = [type(module).__name__ for module in net]
    assert kinds == [
        "Conv2d", "ResidualBlock", "ResidualBlock", "BatchNorm2d", "ReLU", "AvgPool2d", "Conv2d", "MaxPool2d", "ReLU",
        "Dropout", "ResidualBlock", "BatchNorm2d", "ReLU", "Flatten", "Linear", "ReLU", "Linear",
    ]  # fmt: skip
    same, wider = net[1], net[2]
    assert same.shortcut is None
    assert wider.shortcut is not None


@pytest.mark.parametrize(("channels", "filters", "stride"), [(3, 3, 1), (3, 5, 1), (4, 4, 2)])
def test_a_residual_block_is_its_definition(channels, filters, stride):
    """Normalisation, ReLU, convolution, twice; added to the input, or to its 1 x 1 convolution."""
    torch.manual_seed(0)
    block = ResidualBlock(channels, filters, stride).double()
    for norm in (block.norm1, block.norm2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)

    def normalised(x, norm):
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + norm.eps).sqrt()
        return (x * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)).clamp(min=0)

    x = torch.randn(4, channels, 6, 6, dtype=torch.float64)
    first = normalised(x, block.norm1)
    second = normalised(F.conv2d(first, block.conv1.weight, stride=stride, padding=1), block.norm2)
    kept = x if block.shortcut is None else F.conv2d(first, block.shortcut.weight, stride=stride)
    torch.testing.assert_close(block(x), kept + F.conv2d(second, block.conv2.weight, padding=1))
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("layer", ["FC6[3+4B]", "C3(S2P1)@6[3+4B]"])
def test_bilinear_fusion_is_the_sum_over_all_pairs(layer):
    """Section 3.3: z_k = sum_ij U_ijk y1_i y2_j, at each position."""
    net = parse_network(f"{layer}-OUT", (2, 5, 5), 3).double()
    module = next(module for module in net if isinstance(module, BilinearLinear | BilinearConv2d))
    x = torch.randn(2, 50, dtype=torch.float64) if layer.startswith("F") else torch.randn(2, 2, 5, 5).double()
    y = torch.relu(module.branches(x))
    expected = torch.einsum("ni...,nj...,ijk->nk...", y[:, :3], y[:, 3:], module.fusion.weight)
    torch.testing.assert_close(module(x), expected)


def test_relu_after_pooling_is_relu_before_it():
    net = parse_network("C3@4-MP3S2-OUT", (1, 11, 11), 3)
    conv, pool, _, flatten, out = net
    x = torch.randn(6, 1, 11, 11)
    assert torch.equal(net(x), out(flatten(pool(torch.relu(conv(x))))))


@pytest.mark.parametrize(("side", "pooled"), [(28, 14), (13, 7), (7, 4), (4, 2), (3, 2), (2, 1)])
def test_pooling_rounds_up_as_in_caffe(side, pooled):
    assert plan_network("MP2S2-OUT", (1, side, side), 3)[1][0].shape == (1, pooled, pooled)
    assert plan_network("MP3(S2)", (1, 13, 13), 3)[1][0].shape == (1, 6, 6)


def test_dcl_stands_in_the_layers_place():
    net = parse_network("C5(S2P1)@8[3x4S]-FC6[5+2+3D]-OUT[2x3]", (3, 12, 12), 10)
    conv, _, full, out = net
    assert isinstance(conv, DCLConv2d)
    assert (conv.filters, conv.fusion, conv.stride, conv.padding, conv.outputs) == ((4, 4, 4), "stochastic", 2, 1, 8)
    assert isinstance(full, DCLLinear)
    assert (full.filters, full.fusion, full.outputs) == ((5, 2, 3), "deterministic", 6)
    assert (out.filters, out.outputs) == ((3, 3), 10)


def test_the_paper_writes_options_in_two_ways():
    assert [str(layer) for layer in parse_layers("MP2S2-MP2(S2)-C5(P2)@32-C3(S1P1)@4")] == [
        "MP2S2", "MP2S2", "C5(P2)@32", "C3(P1)@4"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "character", "words"),
    [
        ("", 1, "a layer"),
        ("C5@20-", 7, "a layer"),
        ("C5@20--OUT", 7, "a layer"),
        ("c5@20", 1, "a layer"),
        ("C5@2O-OUT", 5, "'-'"),
        ("C@20", 2, "kernel"),
        ("C5", 3, "'@'"),
        ("C5(Q2)@3", 4, "S and a stride"),
        ("C5(S)@3", 5, "stride"),
        ("MPS2", 3, "kernel"),
        ("MP2(S2P2)", 1, "padding"),
        ("FC", 3, "filters"),
        ("FC99999999999", 3, "filters"),
        ("FC0-OUT", 3, "filters"),
        ("D1.5", 2, "ratio"),
        ("OUT-FC3", 4, "the end"),
        ("FC5[1x3]", 4, "two branches"),
        ("FC5[3]", 4, "two branches"),
        ("FC5[2x]", 7, "filters"),
        ("FC5[5000x3]", 4, "at most 100 branches"),
        ("FC5[" + "+".join("1" * 200) + "]", 4, "at most 100"),
        ("C1@1-" * 30 + "X", 151, "^X'"),
        ("C1(P1000000)@1-OUT", 1, "outputs"),
        ("FC5[2x3Q]", 8, "'S', 'D', 'B' or ']'"),
        ("FC5[2x3", 8, "']'"),
        ("FC5[3x3B]", 4, "two branches, which"),
        ("R(P1)@3", 1, "a stride alone"),
        ("R@", 3, "filters"),
        ("R3@4", 2, "'@'"),
        ("AP", 3, "kernel"),
        ("FC5-R@2", 5, "needs an image"),
        ("FC5-C3@2", 5, "needs an image"),
        ("C9@2-C9@2-C9@2-C9@2", 16, "larger than that"),
    ],
)
def test_an_error_points_at_the_character(text, character, words):
    with pytest.raises(InputError) as caught:
        parse_network(text)
    assert f"character {character}:" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_part_of_a_network_is_a_network():
    net = parse_network("C3@4-MP2S2-FC6-OUT", (1, 8, 8), 3)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(net[3:](net[:3](x)), net(x))


def test_what_no_memory_holds_is_refused_before_it_is_made():
    with pytest.raises(InputError, match="parameters"):
        parse_network("C1@1000000-C9@1000000-OUT")
    with pytest.raises(InputError, match="at most"):
        parse_network("D0-" * 10_000 + "OUT")


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("CMAPRFDOUTSBx@+-[]().0123456789"), max_size=40) | st.text(max_size=20))
def test_no_text_gets_another_error(text):
    with suppress(InputError):
        plan_network(text, (1, 28, 28), 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A3s"], "did you mean A3S"),
        (["C5@20-OTU"], "character 7"),
        (["OUT", "--input", "1x28x" + "9" * 5000], "1x28x28"),
    ],
)
def test_the_command_explains_itself(arguments, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["network", *arguments])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
