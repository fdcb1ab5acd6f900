"""Bit-reproducible multi-digit datasets, composed from MNIST.

Names are imported on first use, so that `import mnistcompose` stays fast and works without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .builder import BuildReport, build
    from .dataset import ComposedDigits, ShardedDigits
    from .device import DeviceBank, fresh_batches, render_on_device
    from .digits import DigitBank, load_digits
    from .errors import BuildError, InputError
    from .exporter import ExportReport, export
    from .sampler import BlockShuffle
    from .sampling import Draws, draw
    from .spec import LayoutSpec, load_spec, spec_names
    from .verification import VerifyReport, verify

__version__ = "0.1.0"

_HOME = {
    "BlockShuffle": "sampler",
    "BuildError": "errors",
    "BuildReport": "builder",
    "ComposedDigits": "dataset",
    "DeviceBank": "device",
    "DigitBank": "digits",
    "Draws": "sampling",
    "ExportReport": "exporter",
    "InputError": "errors",
    "LayoutSpec": "spec",
    "ShardedDigits": "dataset",
    "VerifyReport": "verification",
    "build": "builder",
    "draw": "sampling",
    "export": "exporter",
    "fresh_batches": "device",
    "load_digits": "digits",
    "load_spec": "spec",
    "render_on_device": "device",
    "spec_names": "spec",
    "verify": "verification",
}

__all__ = [
    "BlockShuffle",
    "BuildError",
    "BuildReport",
    "ComposedDigits",
    "DeviceBank",
    "DigitBank",
    "Draws",
    "ExportReport",
    "InputError",
    "LayoutSpec",
    "ShardedDigits",
    "VerifyReport",
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
        if error.name != "torch":
            raise
        raise ImportError(f"torch is missing, which {name} is made for: pip install 'mnistcompose[train]'") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
