"""The models that can be trained, by name or in the paper's notation."""

from difflib import get_close_matches
from functools import cache
from typing import Any

import torch

from mnistcompose.datasets.targets import TargetName
from mnistcompose.errors import InputError

from ..data.numbers import INPUT_SHAPE
from ..models.builder import Network, parse_network, plan_network
from ..models.fusion import INITIAL_BIAS, MAX_SLOPE
from ..models.grammar import is_notation, parse_layers
from ..models.networks import IMAGE_NETWORKS, image_network_notation, lenet_notation
from ..models.oracle import Oracle

MODELS = ("baseline", "oracle", "A2", "A3S", "A3D", "B2", "B3S", "B3D")  # in the order of the paper's Table 1


def check_model(model: str) -> None:
    """Check that a model is in `MODELS`, in `IMAGE_NETWORKS`, or is a network in the paper's notation.

    Raises
    ------
    InputError
        It is not; the message suggests a name, or gives the place in the notation.
    """
    if model in (*MODELS, *IMAGE_NETWORKS):
        return
    if is_notation(model):
        parse_layers(model)
    else:
        names = {name.upper(): name for name in (*MODELS, *IMAGE_NETWORKS)}
        close = get_close_matches(model.upper(), names, n=1, cutoff=0.4)
        hint = f"did you mean {names[close[0]]}?" if close else f"there are {', '.join(MODELS)}"
        raise InputError(f"no model {model!r}; {hint} (or give a network in the paper's notation)")


def make_network(
    model: str, classes: int, slots: int, input_shape: tuple[int, int, int] = INPUT_SHAPE
) -> Network | Oracle:
    """Make a model that `check_model` accepts, for numbers of `slots` digits of `classes` classes."""
    check_model(model)
    if model == "oracle":
        return Oracle(classes, slots, input_shape)
    return parse_network(notation_of(model, classes, slots, input_shape), input_shape, classes**slots)


def notation_of(model: str, classes: int, slots: int, input_shape: tuple[int, int, int] = INPUT_SHAPE) -> str:
    """Return the paper's notation of a model, which is not the oracle."""
    if model in MODELS:
        return lenet_notation(classes**slots, model)
    return image_network_notation(model, classes**slots, input_shape) if model in IMAGE_NETWORKS else model


def target_of(model: str) -> TargetName:
    """What a model predicts: `digits` for the oracle, `number` for all others."""
    return "digits" if model == "oracle" else "number"


@cache
def printed_notation(model: str, classes: int, slots: int, input_shape: tuple[int, int, int]) -> str:
    """Return the notation as the built network prints it; nothing is allocated."""
    if model == "oracle":
        with torch.random.fork_rng([]), torch.device("meta"):
            return Oracle(classes, slots, input_shape).notation
    return plan_network(notation_of(model, classes, slots, input_shape), input_shape, classes**slots)[0]


def fusion_of(model: str) -> dict[str, Any]:
    """How the model's DCL modules are initialised and trained, as part of a run's identity; empty without DCL."""
    if model == "oracle":
        return {}
    layers = parse_layers(notation_of(model, classes=10, slots=3))
    has_dcl = any(layer.dcl is not None and layer.dcl.fusion != "bilinear" for layer in layers)
    return {"fusion": {"max_slope": MAX_SLOPE, "initial_bias": INITIAL_BIAS}} if has_dcl else {}
