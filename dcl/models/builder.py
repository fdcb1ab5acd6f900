"""Networks from the paper's notation, and what they cost."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from mnistcompose.errors import InputError

from .bilinear import BilinearConv2d, BilinearLinear
from .fusion import DCLConv2d, DCLLinear
from .grammar import MAX_NUMBER, Dcl, Layer, excerpt, parse_layers
from .residual import ResidualBlock

MAX_PARAMETERS = 2_000_000_000
MAX_OUTPUTS = 1_000_000_000  # of one layer, for one image
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """A layer of a built network.

    Attributes
    ----------
    layer : str
        In the notation, or ReLU, or BN (normalisation).
    shape : tuple of int
        Of its output, without the batch.
    weights, biases : int
        Trainable parameters. The paper's counts (section 3.4) are those of `weights`; a normalisation's scales and
        shifts are counted with the biases.
    multiply_adds : int
        For one sample.
    """

    layer: str
    shape: Shape
    weights: int = 0
    biases: int = 0
    multiply_adds: int = 0


class Network(nn.Sequential):
    """A network made from the notation, which it keeps; `costs` has one row per layer."""

    def __init__(self, *modules: Any, notation: str = "", costs: tuple[Cost, ...] = ()) -> None:
        super().__init__(*modules)  # a slice of a network is made from an OrderedDict, and has no notation
        self.notation = notation
        self.costs = costs


def plan_network(text: str, input_shape: tuple[int, int, int], classes: int) -> tuple[str, tuple[Cost, ...]]:
    """Return the notation in its canonical form, and the cost of each layer, without making the network.

    Raises
    ------
    InputError
        The text is no network, or a layer does not fit its input.
    """
    layers, steps = _checked(text, input_shape, classes)
    return "-".join(map(str, layers)), tuple(cost for cost, _ in steps)


def parse_network(text: str, input_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> Network:
    """Make the network that the notation describes, with torch's own initialisation.

    Parameters
    ----------
    text : str
        The grammar is described in `dcl.models.grammar`.
    input_shape : (int, int, int)
        Channels, height and width.
    classes : int
        Filters of OUT.

    Raises
    ------
    InputError
        The text is no network, a layer does not fit its input, or the network is larger than 2e9 parameters.
    """
    layers, steps = _checked(text, input_shape, classes)
    size = sum(cost.weights + cost.biases for cost, _ in steps)
    if size > MAX_PARAMETERS:
        raise InputError(f"network {text[:80]!r}: {size:,} parameters; at most {MAX_PARAMETERS:,} are made")
    modules: list[nn.Module] = []
    shape: Shape = input_shape
    for cost, make in steps:
        if len(shape) > len(cost.shape):
            modules.append(nn.Flatten())
        modules.append(make())
        shape = cost.shape
    return Network(*modules, notation="-".join(map(str, layers)), costs=tuple(cost for cost, _ in steps))


def _checked(text: str, input_shape: tuple[int, int, int], classes: int) -> tuple[list[Layer], list["_Step"]]:
    if min(input_shape) < 1 or max(input_shape) > MAX_NUMBER or not 1 <= classes <= MAX_NUMBER:
        raise InputError(f"input {input_shape}, classes {classes}: should be numbers from 1 to {MAX_NUMBER:,}")
    layers = parse_layers(text)
    return layers, list(_plan(layers, input_shape, classes, text))


_Step = tuple[Cost, Callable[[], nn.Module]]


def _plan(layers: list[Layer], shape: Shape, classes: int, text: str) -> Iterator[_Step]:
    """Yield every layer's cost and a function that makes the layer; nothing is allocated yet."""
    last = max((i for i, layer in enumerate(layers) if layer.kind in {"C", "FC", "OUT"}), default=-1)
    waiting = False  # a ReLU that comes after the next pooling
    for index, layer in enumerate(layers):
        if layer.kind in {"MP", "AP"}:
            step = _pool(layer, shape, text)
        elif layer.kind == "R":
            step = _block(layer, shape, text)
        elif layer.kind == "D":
            step = Cost(str(layer), shape), partial(nn.Dropout, layer.ratio)
        elif layer.kind == "C":
            step = _conv(layer, shape, text)
        else:
            step = _full(layer, shape, layer.filters or classes)
        shape = step[0].shape
        if math.prod(shape) > MAX_OUTPUTS:
            raise _unfit(layer, shape, text, f"more than {MAX_OUTPUTS:,} outputs for one image", "making")
        yield step
        follower = layers[index + 1].kind if index + 1 < len(layers) else ""
        has_relu = layer.dcl is not None and layer.dcl.fusion != "bilinear"
        needs_relu = (
            layer.kind in {"C", "FC"} and not has_relu and index != last and (layer.kind, follower) != ("C", "R")
        )
        if layer.kind == "R" and follower != "R":
            yield Cost("BN", shape, biases=2 * shape[0]), partial(nn.BatchNorm2d, shape[0])
            needs_relu = True
        if waiting or (needs_relu and follower != "MP"):
            yield Cost("ReLU", shape), partial(nn.ReLU, inplace=True)
        waiting = needs_relu and follower == "MP"


def _spatial(layer: Layer, shape: Shape, text: str, *, round_up: bool) -> tuple[int, int]:
    """Output height and width of a window that moves over an input (C, H, W)."""
    if len(shape) != 3:
        raise _unfit(layer, shape, text, "needs an image; after FC there is none")
    if min(shape[1:]) + 2 * layer.padding < layer.kernel:
        raise _unfit(layer, shape, text, "its kernel is larger than that")
    rounding = layer.stride - 1 if round_up else 0
    sides = []
    for side in shape[1:]:
        steps = (side + 2 * layer.padding - layer.kernel + rounding) // layer.stride
        # Caffe's rule: the last window starts inside the image or its left padding.
        sides.append(steps + 1 - (round_up and steps * layer.stride >= side + layer.padding))
    return sides[0], sides[1]


def _unfit(layer: Layer, shape: Shape, text: str, why: str, how: str = "on an input of") -> InputError:
    size, at = "x".join(map(str, shape)), layer.position
    return InputError(f"network {excerpt(text, at)}: character {at + 1}: {layer} {how} {size}: {why}")


def _pool(layer: Layer, shape: Shape, text: str) -> _Step:
    cost = Cost(str(layer), (shape[0], *_spatial(layer, shape, text, round_up=True)))
    kind = nn.MaxPool2d if layer.kind == "MP" else nn.AvgPool2d
    return cost, partial(kind, layer.kernel, layer.stride, layer.padding, ceil_mode=True)


def _block(layer: Layer, shape: Shape, text: str) -> _Step:
    height, width = _spatial(layer, shape, text, round_up=False)
    channels, filters = shape[0], layer.filters
    shortcut = 0 if (channels, layer.stride) == (filters, 1) else channels * filters
    weights = 9 * filters * (channels + filters) + shortcut
    cost = Cost(str(layer), (filters, height, width), weights, 2 * (channels + filters), height * width * weights)
    return cost, partial(ResidualBlock, channels, filters, layer.stride)


def _conv(layer: Layer, shape: Shape, text: str) -> _Step:
    height, width = _spatial(layer, shape, text, round_up=False)
    channels, filters, dcl = shape[0], layer.filters, layer.dcl
    weights, biases = _parameters(layer.kernel**2 * channels, filters, dcl)
    cost = Cost(str(layer), (filters, height, width), weights, biases, height * width * weights)
    if dcl is None:
        return cost, partial(nn.Conv2d, channels, filters, layer.kernel, layer.stride, layer.padding)
    if dcl.fusion == "bilinear":
        make = partial(BilinearConv2d, channels, filters, layer.kernel, dcl.filters)
        return cost, partial(make, stride=layer.stride, padding=layer.padding)
    return cost, partial(
        DCLConv2d,
        channels,
        filters,
        layer.kernel,
        dcl.filters,
        fusion=dcl.fusion,
        stride=layer.stride,
        padding=layer.padding,
    )


def _full(layer: Layer, shape: Shape, filters: int) -> _Step:
    inputs = math.prod(shape)
    weights, biases = _parameters(inputs, filters, layer.dcl)
    cost = Cost(str(layer), (filters,), weights, biases, weights)
    if layer.dcl is None:
        return cost, partial(nn.Linear, inputs, filters)
    if layer.dcl.fusion == "bilinear":
        return cost, partial(BilinearLinear, inputs, filters, layer.dcl.filters)
    return cost, partial(DCLLinear, inputs, filters, layer.dcl.filters, fusion=layer.dcl.fusion)


def _parameters(fan_in: int, filters: int, dcl: Dcl | None) -> tuple[int, int]:
    """Weights and biases; with u^2 K1 = fan_in and K2 = filters, the weights are section 3.4's."""
    if dcl is None:
        return fan_in * filters, filters
    width = sum(dcl.filters)
    if dcl.fusion == "bilinear":
        return fan_in * width + math.prod(dcl.filters) * filters, width
    return fan_in * width + filters * width, width + len(dcl.filters) * filters
