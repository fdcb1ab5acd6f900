"""Deep Collaborative Learning: the module, the networks it goes into, and how they are trained and compared."""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ImportError("dcl needs torch: pip install torch torchvision")

from .models.builder import Network, parse_network
from .models.fusion import Bilinear, DCLConv2d, DCLLinear
from .models.networks import image_network, lenet
from .models.oracle import Oracle
from .training.evaluation import evaluate
from .training.history import DivergenceError, History
from .training.loop import fit
from .training.recipe import Recipe

__all__ = [
    "Bilinear",
    "DCLConv2d",
    "DCLLinear",
    "DivergenceError",
    "History",
    "Network",
    "Oracle",
    "Recipe",
    "evaluate",
    "fit",
    "image_network",
    "lenet",
    "parse_network",
]
