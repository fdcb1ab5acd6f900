"""Networks in the paper's notation: `C5@20-MP2S2-C5@50-MP2S2-FC500-D0.5-OUT`, and what they cost.

    network  = layer {"-" layer}
    layer    = conv | pool | block | full | dropout | output
    conv     = "C" kernel [options] "@" filters [dcl]      C5@20, C5(P2)@32, C3(S1P1)@256
    pool     = ("MP" | "AP") kernel [options]              MP2S2, MP3(S2); AP8, the average
    block    = "R" [stride] "@" filters                    R@128, R(S2)@256: a residual block
    full     = "FC" filters [dcl]                          FC500
    dropout  = "D" ratio                                   D0.5
    output   = "OUT" [dcl]                                 as many filters as there are classes
    options  = "(" ["S" stride] ["P" padding] ")" | "S" stride
    dcl      = "[" branches "x" filters [fusion] "]"       FC500[3x100S]: DCL in its place, three branches of 100
             | "[" filters {"+" filters} [fusion] "]"      FC500[64+32]: branches of different sizes
    fusion   = "D" | "S" | "B"                             deterministic (what it is without), stochastic, or, for
                                                           comparison, that of a bilinear CNN: FC500[2x100B]

Strides are 1 unless given. A ReLU follows every C and FC but the network's last layer; DCL has its own inside. Pooling
rounds up, as in Caffe. Where a maximum pooling follows a C, the ReLU comes after it: the same values for a quarter of
the work. A residual block begins with a normalisation and a ReLU of its own, so a C right before it has none; after a
row of blocks come one more normalisation and ReLU.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, NoReturn

from torch import nn

from mnistcompose.errors import InputError

from .bilinear import BilinearConv2d, BilinearLinear
from .fusion import DCLConv2d, DCLLinear, Fusion
from .residual import ResidualBlock

MAX_PARAMETERS = 2_000_000_000
MAX_NUMBER = 1_000_000  # of a kernel, a stride, filters ...
MAX_BRANCHES = 100
MAX_OUTPUTS = 1_000_000_000  # of one layer, for one image
MAX_LENGTH = 10_000  # characters
OUTPUT_BIAS = 2.0  # where DCL is the output: a dead hidden unit is one fewer, a dead output a class that is never read
Shape = tuple[int, ...]


class Dcl(NamedTuple):
    """The DCL module in a layer's place."""

    filters: tuple[int, ...]
    fusion: Fusion | Literal["bilinear"]

    def __str__(self) -> str:
        """As in the notation."""
        same = len(set(self.filters)) == 1
        sizes = f"{len(self.filters)}x{self.filters[0]}" if same else "+".join(map(str, self.filters))
        plain = "D" if len(self.filters) > 2 else ""
        mark = {"stochastic": "S", "bilinear": "B", "deterministic": plain}[self.fusion]
        return f"[{sizes}{mark}]"


@dataclass(frozen=True)
class Layer:
    """One layer as written; what its kind does not have is 0, 1 (stride) or None."""

    kind: str  # C, MP, AP, R, FC, D, OUT
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    filters: int = 0
    ratio: float = 0.0
    dcl: Dcl | None = None
    position: int = 0  # of its first character

    def __str__(self) -> str:
        """As in the notation."""
        marks = (f"S{self.stride}" if self.stride > 1 else "") + (f"P{self.padding}" if self.padding else "")
        options = f"({marks})" if marks else ""
        dcl = "" if self.dcl is None else str(self.dcl)
        match self.kind:
            case "C":
                return f"C{self.kernel}{options}@{self.filters}{dcl}"
            case "MP" | "AP":
                return f"{self.kind}{self.kernel}{marks if self.padding == 0 else options}"
            case "R":
                return f"R(S{self.stride})@{self.filters}" if self.stride > 1 else f"R@{self.filters}"
            case "FC":
                return f"FC{self.filters}{dcl}"
            case "D":
                return "D" + f"{self.ratio:.9f}".rstrip("0").rstrip(".")
            case _:
                return f"OUT{dcl}"


# --- reading --------------------------------------------------------------------------------------------------------


class _Reader:
    """The text, and how far it is read."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def fail(self, wanted: str, at: int | None = None) -> NoReturn:
        place = self.at if at is None else at
        found = repr(self.text[place : place + 12]) if place < len(self.text) else "the end"
        raise InputError(
            f"network {_excerpt(self.text, place)}: character {place + 1}: found {found}, expected {wanted}"
        )

    def take(self, pattern: str) -> str | None:
        """Read what matches, if it comes next."""
        found = re.compile(pattern).match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def number(self, wanted: str, least: int = 1, most: int = MAX_NUMBER) -> int:
        start = self.at
        digits = self.take(r"[0-9]{1,9}(?![0-9])")
        if digits is None or not least <= int(digits) <= most:
            self.fail(f"{wanted}, a number from {least} to {most:,}", start)
        return int(digits)


def _excerpt(text: str, at: int) -> str:
    """What stands around a character, which a caret precedes."""
    before, after = text[max(at - 32, 0) : at], text[at : at + 16]
    return repr(("..." if at > 32 else "") + before + "^" + after + ("..." if at + 16 < len(text) else ""))


def parse_layers(text: str) -> list[Layer]:
    """Read the notation.

    Raises
    ------
    InputError
        One line that tells the character, what stands there, and what was expected.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"network {text[:40]!r}...: {len(text):,} characters; at most {MAX_LENGTH:,} are read")
    reader, layers = _Reader(text), []
    while True:
        layers.append(_layer(reader))
        if reader.at == len(text):
            return layers
        if layers[-1].kind == "OUT" or not reader.take("-"):
            reader.fail("the end" if layers[-1].kind == "OUT" else "'-' and another layer, or the end")


def _layer(reader: _Reader) -> Layer:
    start = reader.at
    kind = reader.take("OUT|MP|AP|FC|C|R|D")
    if kind is None:
        reader.fail("a layer: C5@20, MP2S2, AP8, R@128, FC500, D0.5 or OUT")
    match kind:
        case "C":
            kernel = reader.number("the kernel's size")
            stride, padding = _options(reader)
            if not reader.take("@"):
                reader.fail("'@' and the number of filters")
            return Layer("C", kernel, stride, padding, reader.number("filters"), dcl=_dcl(reader), position=start)
        case "MP" | "AP":
            kernel = reader.number("the kernel's size")
            stride, padding = _options(reader)
            if padding > kernel // 2:
                reader.fail(f"a padding of at most half the kernel, {kernel // 2}", start)
            return Layer(kind, kernel, stride, padding, position=start)
        case "R":
            stride, padding = _options(reader)
            if padding:
                reader.fail("a block with a stride alone, as in R(S2)@256", start)
            if not reader.take("@"):
                reader.fail("'@' and the number of filters")
            return Layer("R", 3, stride, 1, reader.number("filters"), position=start)
        case "FC":
            return Layer("FC", filters=reader.number("filters"), dcl=_dcl(reader), position=start)
        case "D":
            ratio = reader.take(r"0?\.[0-9]{1,9}|0")
            if ratio is None:
                reader.fail("a ratio from 0 to below 1, as in D0.5")
            return Layer("D", ratio=float(ratio), position=start)
        case _:
            return Layer("OUT", dcl=_dcl(reader), position=start)


def _options(reader: _Reader) -> tuple[int, int]:
    """Stride and padding."""
    bracket = reader.take(r"\(")
    stride = reader.number("the stride") if reader.take("S") else 1
    padding = reader.number("the padding", 0) if bracket and reader.take("P") else 0
    if bracket and not reader.take(r"\)"):
        reader.fail("S and a stride, P and a padding, or ')'")
    return stride, padding


def _dcl(reader: _Reader) -> Dcl | None:
    start = reader.at
    if not reader.take(r"\["):
        return None
    sizes = [reader.number("branches, as in [3x100S]")]
    if reader.take("x"):
        if sizes[0] > MAX_BRANCHES:
            reader.fail(f"at most {MAX_BRANCHES} branches", start)
        sizes = [reader.number("filters of a branch")] * sizes[0]
    else:
        while reader.take(r"\+"):
            sizes.append(reader.number("filters of a branch"))
    mark = reader.take("[DSB]")
    if not reader.take(r"\]"):
        reader.fail("'S', 'D', 'B' or ']'")
    if not 2 <= len(sizes) <= MAX_BRANCHES:
        reader.fail(f"two branches or more, at most {MAX_BRANCHES}, as in [2x100] or [64+32]", start)
    if mark == "B" and len(sizes) > 2:
        reader.fail("two branches, which is what bilinear fusion has, as in [2x100B]", start)
    return Dcl(tuple(sizes), "stochastic" if mark == "S" else "bilinear" if mark == "B" else "deterministic")


# --- building -------------------------------------------------------------------------------------------------------


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
    """A network that was written in the notation, and still knows how; its `costs` are a row a layer."""

    def __init__(self, *modules: Any, notation: str = "", costs: tuple[Cost, ...] = ()) -> None:
        super().__init__(*modules)  # a slice of a network is made of an OrderedDict, and has no notation
        self.notation = notation
        self.costs = costs


def plan_network(text: str, input_shape: tuple[int, int, int], classes: int) -> tuple[str, tuple[Cost, ...]]:
    """The notation as the network would print it, and a row of costs a layer; nothing is allocated.

    Raises
    ------
    InputError
        As `parse_network`.
    """
    layers, steps = _checked(text, input_shape, classes)
    return "-".join(map(str, layers)), tuple(cost for cost, _ in steps)


def parse_network(text: str, input_shape: tuple[int, int, int] = (1, 28, 28), classes: int = 10) -> Network:
    """Make the network that the notation describes, with torch's own initialisation.

    Parameters
    ----------
    text : str
        See this module's grammar.
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
    """Every layer's cost, and how to make it; nothing is allocated yet."""
    last = max((i for i, layer in enumerate(layers) if layer.kind in {"C", "FC", "OUT"}), default=-1)
    waiting = False  # a ReLU, for the pooling that comes next
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
    """Height and width after a window has passed over a (C, H, W)."""
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
    return InputError(f"network {_excerpt(text, at)}: character {at + 1}: {layer} {how} {size}: {why}")


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
    make = partial(DCLLinear, inputs, filters, layer.dcl.filters, fusion=layer.dcl.fusion)
    return cost, partial(make, initial_bias=initial_bias(layer))


def initial_bias(layer: Layer) -> float:
    """Mean at which the second stage's biases of a DCL module start."""
    return OUTPUT_BIAS if layer.kind == "OUT" else 0.0


def _parameters(fan_in: int, filters: int, dcl: Dcl | None) -> tuple[int, int]:
    """Weights and biases; with u^2 K1 = fan_in and K2 = filters, the weights are section 3.4's."""
    if dcl is None:
        return fan_in * filters, filters
    width = sum(dcl.filters)
    if dcl.fusion == "bilinear":
        return fan_in * width + math.prod(dcl.filters) * filters, width
    return fan_in * width + filters * width, width + len(dcl.filters) * filters
