"""float32 or bfloat16: what a device computes natively, and the context that a network runs in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch

from mnistcompose.errors import InputError

Precision = Literal["float32", "bfloat16"]


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device does not compute natively: emulated bfloat16 is hundreds of times slower.

    Raises
    ------
    InputError
        Unknown precision, or bfloat16 on a processor without it or on mps.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision = {precision!r}: should be one of {', '.join(get_args(Precision))}")
    if precision == "bfloat16" and not _has_bfloat16(device):
        raise InputError(f"precision = 'bfloat16': this {device.type} device does not compute it natively; use float32")


def usable(precision: Precision, device: torch.device) -> Precision:
    """That precision, or float32 on a device that does not compute it natively."""
    return precision if precision == "float32" or _has_bfloat16(device) else "float32"


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not every version of torch has them
    on_cpu = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return device.type == "meta" or (device.type == "cpu" and on_cpu)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a network of that precision runs, whatever autocast the caller has set."""
    if device.type == "meta":  # has no autocast
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
