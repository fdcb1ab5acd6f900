"""The named networks: LeNet, and its six DCL variants (section 4.1.2)."""

from difflib import get_close_matches

from mnistcompose.errors import InputError

from .notation import Network, parse_network

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
