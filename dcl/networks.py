"""The named networks: LeNet and its six DCL variants (section 4.1.2), and those for natural images (section 4.2)."""

import math
from dataclasses import dataclass
from difflib import get_close_matches

from torch import nn

from mnistcompose.errors import InputError

from .notation import Network, parse_network
from .wide_resnet import WideResNet

VARIANTS = ("baseline", "A2", "A3S", "A3D", "B2", "B3S", "B3D")
SHARE = 5  # a branch has one in so many of the replaced layer's filters

_LENET = "C5@20-MP2S2-C5@50-MP2S2-FC500{A}-D0.5-OUT{B}"


def lenet_notation(classes: int, variant: str = "baseline") -> str:
    """LeNet in the paper's notation: A replaces FC500, B replaces OUT; 2, 3D and 3S are the branches.

    Raises
    ------
    InputError
        No such variant, or too few classes to share among the branches.
    """
    if variant not in VARIANTS:
        names = {name.upper(): name for name in VARIANTS}
        close = get_close_matches(variant.upper(), names, n=1, cutoff=0.4)
        hint = f"did you mean {names[close[0]]}?" if close else f"there are {', '.join(VARIANTS)}"
        raise InputError(f"no variant {variant!r} of LeNet; {hint}")
    place, form = (variant[0], variant[1:]) if variant != "baseline" else ("", "")
    filters = (500 if place == "A" else classes) // SHARE
    if place and filters < 1:
        raise InputError(f"LeNet {variant}: {classes} classes are too few for branches of a fifth of them")
    dcl = {place: f"[{form[0]}x{filters}{form[1:]}]"} if place else {}
    return _LENET.format(A=dcl.get("A", ""), B=dcl.get("B", ""))


def lenet(classes: int, variant: str = "baseline", input_shape: tuple[int, int, int] = (1, 28, 28)) -> Network:
    """LeNet for images of `input_shape`, or one of its DCL variants, as in Table 1.

    Parameters
    ----------
    variant : str
        baseline, A2, A3S, A3D, B2, B3S or B3D.

    Raises
    ------
    InputError
        As `lenet_notation`.
    """
    return parse_network(lenet_notation(classes, variant), input_shape, classes)


# --- natural images -------------------------------------------------------------------------------------------------

_BLOCK = "C3(P1)@{0}-C3(P1)@{0}"


@dataclass(frozen=True)
class Natural:
    """A network of section 4.2 in the notation; {DCL} stands after its first fully-connected layer.

    Attributes
    ----------
    filters : int
        Of that layer; each of the two DCL branches has a quarter of them.
    """

    notation: str
    filters: int
    input_shape: tuple[int, int, int]

    def written(self, dcl: bool) -> str:
        """The notation, with two branches of a quarter of the filters or without."""
        return self.notation.replace("{DCL}", f"[2x{self.filters // 4}]" if dcl else "")


NATURAL = {
    "lenet32": Natural("C5(P2)@32-MP3(S2)-C5(P2)@64-MP3(S2)-C5(P2)@128-MP3(S2)-FC512{DCL}-D0.5-OUT", 512, (3, 32, 32)),
    "bignet": Natural(
        f"{_BLOCK.format(64)}-MP2S2-D0.25-{_BLOCK.format(128)}-MP2S2-D0.25-{_BLOCK.format(256)}-{_BLOCK.format(256)}-MP2S2"
        "-D0.25-FC1024{DCL}-D0.5-FC1024-D0.5-OUT",
        1024,
        (3, 24, 24),
    ),
    "alexnet": Natural(
        "C11(S4)@96-MP3(S2)-C5(S1P2)@256-MP3(S2)-C3(S1P1)@384-C3(S1P1)@384-C3(S1P1)@256-MP3(S2)"
        "-FC4096{DCL}-D0.5-FC4096-D0.5-OUT",
        4096,
        (3, 227, 227),
    ),
}
NATURAL_NAMES = (*(name + dcl for name in NATURAL for dcl in ("", "-dcl")), "wrn16", "wrn16-dcl")


def natural_notation(name: str) -> tuple[str, tuple[int, int, int]]:
    """Notation and input shape of lenet32, bignet or alexnet, or of one of them with DCL, as in `bignet-dcl`.

    BigNet is the ten-class network of reference 29 with crops of 24 x 24. It has 5,742,272 weights, 5,086,912 with DCL
    (section 4.2.1: 5.74M, 5.09M). AlexNet has no groups, and by the notation of section 4.2.2 62,367,776 weights, with
    DCL 51,882,016; the paper's totals are 0.02M lower.

    Raises
    ------
    InputError
        No such network, or one that the notation cannot write.
    """
    plain, dcl, rest = name.partition("-dcl")
    if plain not in NATURAL or rest:
        close = get_close_matches(name, (*NATURAL_NAMES, *VARIANTS), n=1)
        hint = f"did you mean {close[0]}?" if close and close[0] != name else f"there are {', '.join(NATURAL_NAMES)}"
        raise InputError(f"no network {name!r} in the notation; {hint}")
    return NATURAL[plain].written(bool(dcl)), NATURAL[plain].input_shape


def natural_network(name: str, classes: int) -> nn.Module:
    """Make a network of section 4.2: one of `natural_notation`, or wrn16, or wrn16-dcl.

    Raises
    ------
    InputError
        No such network.
    """
    if name in ("wrn16", "wrn16-dcl"):
        return WideResNet(classes, [math.ceil(classes / 4)] * 2 if name == "wrn16-dcl" else None)
    text, input_shape = natural_notation(name)
    return parse_network(text, input_shape, classes)
