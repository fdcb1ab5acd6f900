"""Bit-reproducible multi-digit datasets, composed from MNIST.

Names are imported on first use, so that `import mnistcompose` stays fast and works without torch.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .building.build import BuildReport, build
    from .building.verify import VerifyReport, verify
    from .datasets.composed import ComposedDigits
    from .datasets.sharded import ShardedDigits
    from .datasets.shuffle import BlockShuffle
    from .datasets.torch_renderer import DeviceBank, fresh_batches, render_on_device
    from .datasets.vision import MNISTCompose
    from .digits.addition import AdditionPairs, addition_pairs
    from .digits.bank import DigitBank, load_digits
    from .digits.source import DigitSource
    from .errors import BuildError, InputError
    from .exporting.export import ExportReport, export
    from .layout.model import LayoutSpec
    from .layout.names import load_spec, spec_names
    from .rendering.draws import Draws, draw
    from .storage.columns import ArraySource, arrays

__version__ = "0.1.0"

_HERE = Path(__file__).resolve().parent
if not (_HERE / "specs").is_dir():  # a checkout, where cli/ and specs/ lie next to the package
    __path__.append(str(_HERE.parent))

_HOME = {
    "ArraySource": "storage.columns",
    "AdditionPairs": "digits.addition",
    "BlockShuffle": "datasets.shuffle",
    "BuildError": "errors",
    "BuildReport": "building.build",
    "ComposedDigits": "datasets.composed",
    "DeviceBank": "datasets.torch_renderer",
    "DigitBank": "digits.bank",
    "DigitSource": "digits.source",
    "Draws": "rendering.draws",
    "ExportReport": "exporting.export",
    "InputError": "errors",
    "LayoutSpec": "layout.model",
    "MNISTCompose": "datasets.vision",
    "ShardedDigits": "datasets.sharded",
    "VerifyReport": "building.verify",
    "arrays": "storage.columns",
    "addition_pairs": "digits.addition",
    "build": "building.build",
    "draw": "rendering.draws",
    "export": "exporting.export",
    "fresh_batches": "datasets.torch_renderer",
    "load_digits": "digits.bank",
    "load_spec": "layout.names",
    "render_on_device": "datasets.torch_renderer",
    "spec_names": "layout.names",
    "verify": "building.verify",
}

__all__ = [
    "AdditionPairs",
    "ArraySource",
    "BlockShuffle",
    "BuildError",
    "BuildReport",
    "ComposedDigits",
    "DeviceBank",
    "DigitBank",
    "DigitSource",
    "Draws",
    "ExportReport",
    "InputError",
    "LayoutSpec",
    "MNISTCompose",
    "ShardedDigits",
    "VerifyReport",
    "addition_pairs",
    "arrays",
    "build",
    "draw",
    "export",
    "fresh_batches",
    "load_digits",
    "load_spec",
    "render_on_device",
    "spec_names",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torchvision"):
            raise
        raise ImportError(f"{name} needs PyTorch: pip install torch torchvision") from None


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | {*__all__})  # no imports of this module
