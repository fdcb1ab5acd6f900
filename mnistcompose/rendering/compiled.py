"""Compiled functions, and where their machine code is kept.

It is kept in a folder of the user's, never next to the sources, and that folder is named by a hash of all sources that
kernels use: numba itself only looks at the file of the outermost function, and would keep code with old constants. The
cache is only a cache: a damaged or unwritable one costs a compilation.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from platformdirs import user_cache_path

_SOURCES = ("digits", "layout", "rendering")

inlined = numba.njit(nogil=True, error_model="numpy")


def cached(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, or take the code that an earlier process kept."""
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(kernel_folder())
    compiled: Any
    try:
        compiled = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
        compiled._cache = _Forgiving(compiled._cache)
    except (RuntimeError, OSError):  # no such folder can be made or written
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
    return compiled


@cache
def kernel_folder() -> Path:
    """Folder of the machine code: of NUMBA_CACHE_DIR or the user's cache, named by a hash of the kernels' sources."""
    digest = hashlib.sha256(numba.__version__.encode())
    for room in _SOURCES:
        for source in sorted((Path(__file__).parents[1] / room).glob("*.py")):
            digest.update(source.read_bytes())
    given = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(given) if given else user_cache_path("mnistcompose") / "kernels"
    return base / digest.hexdigest()[:16]


class _Forgiving:
    """numba's cache of a function, whose damage is mended by compiling again."""

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Load machine code; None if there is none, or if it cannot be read."""
        try:
            return self._kept.load_overload(signature, context)
        except Exception:  # whatever pickle makes of a damaged file
            self._flush()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        """Keep machine code, if that is possible."""
        try:
            self._kept.save_overload(signature, code)
        except Exception:  # a full disk, or a damaged index
            self._flush()

    def _flush(self) -> None:
        with suppress(Exception):  # a cache that cannot even be emptied is no reason to stop
            self._kept.flush()
