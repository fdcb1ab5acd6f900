"""The named networks: LeNet and its six DCL variants for numbers (section 4.1.2), and four for images (section 4.2)."""

import math
from dataclasses import dataclass
from difflib import get_close_matches

from mnistcompose.errors import InputError

from .builder import Network, parse_network

VARIANTS = ("baseline", "A2", "A3S", "A3D", "B2", "B3S", "B3D")
SHARE = 5  # a branch has 1 / SHARE of the replaced layer's filters

_LENET = "C5@20-MP2S2-C5@50-MP2S2-FC500{A}-D0.5-OUT{B}"

DCL = "+dcl"  # ends the name of a network for images with DCL on its first fully-connected layer
_FORMS = {"": "", DCL: "[2x{}]", f"{DCL}3s": "[3x{}S]"}  # what ends a name, and what it puts into the notation
QUARTER = 4  # a branch has 1 / QUARTER of that layer's filters


@dataclass(frozen=True)
class _Images:
    """A network for images, and the input and classes of the paper.

    The notation has a placeholder for DCL and, in the Wide ResNet, one for the pooling over the whole image.
    """

    notation: str
    filters: int | None  # of the first fully-connected layer; None where that is the output
    input_shape: tuple[int, int, int]
    classes: int


_IMAGES = {
    "lenet": _Images(
        "C5(P2)@32-MP3(S2)-C5(P2)@64-MP3(S2)-C5(P2)@128-MP3(S2)-FC512{dcl}-D0.5-OUT", 512, (3, 32, 32), classes=10
    ),
    "bignet": _Images(
        "C3(P1)@64-C3(P1)@64-MP2S2-D0.25-C3(P1)@128-C3(P1)@128-MP2S2-D0.25-"
        "C3(P1)@256-C3(P1)@256-C3(P1)@256-C3(P1)@256-MP2S2-D0.25-FC1024{dcl}-D0.5-FC1024-D0.5-OUT",
        1024,
        (3, 24, 24),
        classes=10,
    ),
    "wrn": _Images(
        "C3(P1)@16-R@128-R@128-R(S2)@256-R@256-R(S2)@512-R@512-AP{pool}-OUT{dcl}", None, (3, 32, 32), classes=10
    ),
    "alexnet": _Images(
        "C11(S4)@96-MP3(S2)-C5(S1P2)@256-MP3(S2)-C3(S1P1)@384-C3(S1P1)@384-C3(S1P1)@256-MP3(S2)-"
        "FC4096{dcl}-D0.5-FC4096-D0.5-OUT",
        4096,
        (3, 227, 227),
        classes=1000,
    ),
}
IMAGE_NETWORKS = tuple(name + form for name in _IMAGES for form in _FORMS)  # in the order of the paper's Table 2
_WRN_STRIDE = 4  # pixels of the image per pixel that the Wide ResNet pools


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
        raise InputError(f"LeNet {variant}: classes = {classes}: too few for branches of a fifth of them")
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


def image_network_shape(name: str) -> tuple[tuple[int, int, int], int]:
    """Input shape (channels, height, width) and number of classes of a network for images in the paper.

    Raises
    ------
    InputError
        No such network.
    """
    network = _find(name)
    return network.input_shape, network.classes


def without_dcl(name: str) -> str:
    """Name of the same network for images without DCL."""
    return name.partition(DCL)[0]


def image_network_notation(name: str, classes: int, input_shape: tuple[int, int, int] | None = None) -> str:
    """Write one of `IMAGE_NETWORKS` in the paper's notation, for images of `input_shape` (default: the paper's).

    lenet     as section 4.2.1 writes it
    bignet    of the paper's reference [29], the Kaggle CIFAR-10 network of 3 x 3 convolutions, on crops of 24 x 24; its
              weights are the paper's 5.74M, and 5.09M with DCL
    wrn       Wide ResNet of 16 layers, 8 times as wide as a ResNet; the paper gives only the depth. It averages over
              the whole image: AP8 for images of 32 x 32, AP7 for 28 x 28
    alexnet   as section 4.2.2 writes it, without groups. This notation has 62.37M weights, and 51.88M with DCL, where
              the paper says 62.35M and 51.86M: 0.02M less in both cases, and the same difference between them

    `+dcl` replaces the first fully-connected layer by DCL with two branches of a quarter of its filters each. The Wide
    ResNet's only fully-connected layer is the output; taken literally, that is the first, and its branches have a
    quarter of the classes, rounded down (2 of 10, 25 of 100). With this reading, all that the paper says about the
    three networks holds: the layer, the quarter, and fewer weights. (Section 4.1.3 announces three stochastic branches
    for these networks; sections 4.2.1 and 4.2.2 report two, which agrees with the paper's numbers of weights. `+dcl3s`
    has the three of section 4.1.3.)

    Raises
    ------
    InputError
        No such network, or too few classes for branches of a quarter of them.
    """
    network = _find(name)
    filters = (network.filters or classes) // QUARTER
    if DCL in name and filters < 1:
        raise InputError(f"{name}: classes = {classes}: too few for branches of a quarter of them")
    side = min((input_shape or network.input_shape)[1:])
    form = _FORMS[name.removeprefix(without_dcl(name))]
    return network.notation.format(dcl=form.format(filters), pool=math.ceil(side / _WRN_STRIDE))


def image_network(name: str, classes: int | None = None, input_shape: tuple[int, int, int] | None = None) -> Network:
    """Make one of `IMAGE_NETWORKS`: lenet, bignet, wrn, alexnet, and each with `+dcl` or `+dcl3s` (section 4.2).

    Parameters
    ----------
    name : str
        See `image_network_notation`.
    classes, input_shape
        Default: those of the paper; for the three networks for small images, those of CIFAR10.

    Raises
    ------
    InputError
        As `image_network_notation` and `parse_network`.
    """
    shape, of_paper = image_network_shape(name)
    outputs, sees = of_paper if classes is None else classes, input_shape or shape
    return parse_network(image_network_notation(name, outputs, sees), sees, outputs)


def _find(name: str) -> _Images:
    if name not in IMAGE_NETWORKS:
        close = get_close_matches(name.lower(), IMAGE_NETWORKS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(IMAGE_NETWORKS)}"
        raise InputError(f"no network {name!r} for images; {hint}")
    return _IMAGES[without_dcl(name)]
