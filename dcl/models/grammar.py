"""Networks in the paper's notation: `C5@20-MP2S2-C5@50-MP2S2-FC500-D0.5-OUT`.

    network  = layer {"-" layer}
    layer    = conv | pool | block | full | dropout | output
    conv     = "C" kernel [options] "@" filters [dcl]      C5@20, C5(P2)@32, C3(S1P1)@256
    pool     = ("MP" | "AP") kernel [options]              MP2S2, MP3(S2); AP8, the average
    block    = "R" [stride] "@" filters                    R@128, R(S2)@256: a residual block
    full     = "FC" filters [dcl]                          FC500
    dropout  = "D" ratio                                   D0.5
    output   = "OUT" [dcl]                                 as many filters as there are classes
    options  = "(" ["S" stride] ["P" padding] ")" | "S" stride
    dcl      = "[" branches "x" filters [fusion] "]"       FC500[3x100S]: replaced by DCL, three branches of 100
             | "[" filters {"+" filters} [fusion] "]"      FC500[64+32]: branches of different sizes
    fusion   = "D" | "S" | "B"                             deterministic (the default), stochastic, or, for
                                                           comparison, that of a bilinear CNN: FC500[2x100B]

Strides are 1 unless given. A ReLU follows every C and FC except the network's last layer; DCL contains its own. Pooling
rounds up, as in Caffe. If a maximum pooling follows a C, the ReLU comes after it: the same values for a quarter of the
work. A residual block begins with its own normalisation and ReLU, so a C right before it has none; after a sequence of
blocks come one more normalisation and ReLU.
"""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn

from mnistcompose.errors import InputError

from .fusion import Fusion

MAX_NUMBER = 1_000_000  # for a kernel, a stride, filters ...
MAX_BRANCHES = 100
MAX_LENGTH = 10_000  # characters


class Dcl(NamedTuple):
    """The DCL module that replaces a layer."""

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
    """One layer as written; a field that its kind does not have is 0, 1 (stride) or None."""

    kind: str  # C, MP, AP, R, FC, D, OUT
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    filters: int = 0
    ratio: float = 0.0
    dcl: Dcl | None = None
    position: int = 0  # of its first character, from 0

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


class _Reader:
    """The text, and the position up to which it is read."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def fail(self, wanted: str, at: int | None = None) -> NoReturn:
        place = self.at if at is None else at
        found = repr(self.text[place : place + 12]) if place < len(self.text) else "the end"
        raise InputError(
            f"network {excerpt(self.text, place)}: character {place + 1}: found {found}, expected {wanted}"
        )

    def take(self, pattern: str) -> str | None:
        """Read the text that matches a pattern here; None if none does."""
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


def excerpt(text: str, at: int) -> str:
    """Text around a character, with a caret before it."""
    before, after = text[max(at - 32, 0) : at], text[at : at + 16]
    return repr(("..." if at > 32 else "") + before + "^" + after + ("..." if at + 16 < len(text) else ""))


def is_notation(text: str) -> bool:
    """Whether a text is meant as a network in the notation, not as the name of one."""
    return "-" in text or re.match(r"OUT|(MP|AP|FC|C|R|D)[0-9@(.]", text) is not None


def parse_layers(text: str) -> list[Layer]:
    """Read the notation.

    Raises
    ------
    InputError
        The text is not a network; the message says where, what was found, and what was expected.
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
