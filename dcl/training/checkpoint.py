"""Checkpoints: written atomically after every epoch, read without executing anything."""

import io
from collections.abc import Collection, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mnistcompose.errors import BuildError, InputError
from mnistcompose.storage.files import write_file

from .history import History

CHECKPOINT_FORMAT = 1


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is executed.

    Returns
    -------
    dict
        `identity` (what determined the run, and `fit`'s `metadata`), `weights`, `momentum`, `history`.

    Raises
    ------
    InputError
        There is no such file.
    BuildError
        It is damaged, or is not a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != CHECKPOINT_FORMAT:
            raise BuildError(
                f"{path}: a checkpoint of format {state['format']!r}; this version reads {CHECKPOINT_FORMAT}"
            )
        return {key: dict(state[key]) for key in ("identity", "weights", "momentum", "history")}
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except BuildError:
        raise
    except Exception as error:  # torch.load has no exception of its own for a damaged file
        raise BuildError(
            f"{path}: damaged, or not a checkpoint ({type(error).__name__}); delete it to start again"
        ) from None


def check_metadata(metadata: Mapping[str, Any], reserved: Collection[str]) -> None:
    """Reject what could be written into a checkpoint, but not be read again, and names that it uses itself.

    Raises
    ------
    InputError
        The message names the key and its value.
    """
    for key, value in metadata.items():
        if key in reserved:
            raise InputError(f"metadata: {key!r} is a name that a checkpoint uses itself; use another")
        if not _is_plain(value):
            raise InputError(f"metadata: {key} = {value!r:.80}: should be numbers, text, or lists and mappings of them")


def _is_plain(value: Any) -> bool:
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, chain(value, value.values())))
    return value is None or type(value) in (bool, int, float, str)


def save_checkpoint(
    path: Path, identity: dict[str, Any], net: nn.Module, optimizer: torch.optim.SGD, history: History
) -> None:
    """Write all that a run needs to resume."""
    state = {
        "format": CHECKPOINT_FORMAT,
        "identity": identity,
        "weights": net.state_dict(),
        "momentum": {
            name: optimizer.state[p]["momentum_buffer"] for name, p in net.named_parameters() if p.requires_grad
        },
        "history": asdict(history),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_file(path, buffer.getvalue())


def restore_checkpoint(path: Path, identity: dict[str, Any], net: nn.Module, optimizer: torch.optim.SGD) -> History:
    """Put weights and momentum back, and return the history.

    Raises
    ------
    InputError
        The checkpoint belongs to another run; the message names the field and both values.
    BuildError
        It does not fit the network.
    """
    state = load_checkpoint(path)
    for key, wanted in identity.items():
        if state["identity"].get(key) != wanted:
            raise InputError(
                f"{path}: belongs to a run with another {key} ({state['identity'].get(key)!r}, not {wanted!r}); "
                "delete it, or choose another output"
            )
    try:
        net.load_state_dict(state["weights"])
        for name, parameter in net.named_parameters():
            if parameter.requires_grad:
                optimizer.state[parameter]["momentum_buffer"].copy_(state["momentum"][name])
        return History.from_dict(state["history"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise BuildError(
            f"{path}: does not fit this network ({type(error).__name__}); delete it to start again"
        ) from None
