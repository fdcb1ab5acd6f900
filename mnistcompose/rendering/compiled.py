"""Compiled functions, and the cache of their machine code.

The cache is in a folder of the user, never next to the sources. The folder is named by a hash of all sources that the
kernels use: numba itself checks only the file of the outermost function, and would reuse code with old constants. If
the cache is damaged or cannot be written, functions are compiled again.
"""

import gc
import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime.nrt import rtsys
from platformdirs import user_cache_path

from ..forking import at_fork
from ..sources import hash_sources, sources_of

# A fork waits for a thread that compiles: else numba's state is unfinished in the child, and its lock never released.
at_fork(
    before=global_compiler_lock.acquire, in_parent=global_compiler_lock.release, in_child=global_compiler_lock.release
)

_njit: Any = partial(numba.njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
inlined = _njit()  # with the wrapper for Python: without one, a call from Python crashes


def cached(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, or load the code that an earlier process cached."""
    config: Any = numba.config
    before, config.CACHE_DIR = config.CACHE_DIR, str(kernel_folder())
    compiled: Any
    try:
        compiled = _njit(cache=True)(function)
        compiled._cache = _Forgiving(compiled._cache)
    except (RuntimeError, OSError):  # the folder cannot be created or written
        compiled = _njit()(function)
    finally:
        config.CACHE_DIR = before
    compiled.compile = _uncollected(compiled.compile)
    return compiled


def _uncollected(work: Callable[..., Any]) -> Callable[..., Any]:
    """Work without the garbage collector: it takes a tenth of a compilation, and would free 40 of 365 MB."""

    @wraps(work)
    def without(*arguments: Any) -> Any:
        enabled = gc.isenabled()
        gc.disable()
        try:
            return work(*arguments)
        finally:
            if enabled:
                gc.enable()

    return without


@cache
def kernel_folder() -> Path:
    """Folder of the machine code, in NUMBA_CACHE_DIR or the user's cache, named by a hash of the kernels' sources."""
    sources = hash_sources(sources_of("digits", "layout", "rendering"))
    given = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(given) if given else user_cache_path("mnistcompose") / "kernels"
    return base / hashlib.sha256(f"{numba.__version__} {sources}".encode()).hexdigest()[:16]


@cache
def _tell_that_it_compiles() -> None:
    logging.getLogger(__name__).info("compiling the kernel, once; this takes some seconds")


class _Forgiving:
    """numba's cache of a function; if it is damaged, it is emptied and the function is compiled again."""

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Load machine code; None if there is none, or if it cannot be read.

        numba's own method first loads all that could be compiled, and with it scipy's linear algebra: half of the time
        to a process' first image. Machine code needs the runtime only; numba loads the rest when it compiles.
        """
        found = None
        try:
            rtsys.initialize(context)
            found = getattr(self._kept, "_load_overload", self._kept.load_overload)(signature, context)
        except PermissionError:  # on Windows, while another process has the file open
            pass
        except Exception:  # a damaged file can make pickle raise anything
            self._flush()
        if found is None:
            _tell_that_it_compiles()
        return found

    def save_overload(self, signature: Any, code: Any) -> None:
        """Store machine code, if that is possible."""
        try:
            self._kept.save_overload(signature, code)
        except Exception:  # a full disk, or a damaged index
            self._flush()

    def _flush(self) -> None:
        with suppress(Exception):  # a cache that cannot be emptied must not stop the program
            self._kept.flush()
