"""How kernels are compiled and cached: once per machine, or once per image, never once per process.

numba keys its cache by processor type, and a cache folder it cannot write to is no cache to it. Both would make every
pod compile: so kernels are compiled for the architecture's common processor (the same machine code, and the same
results, everywhere), and a cache that was written at build time is read even where nothing may be written.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read once, when numba is first imported. x86-64-v2 is what numpy's own wheels require of a processor (SSE4.2, 2009
# on).
os.environ.setdefault("NUMBA_CPU_NAME", "x86-64-v2" if platform.machine() in ("x86_64", "AMD64") else "generic")
os.environ.setdefault("NUMBA_CPU_FEATURES", "")

import numba
from numba.core import caching, config

# Somebody may have imported numba before, and it would then compile for the processor at hand.
config.reload_config()  # type: ignore[no-untyped-call]

_PACKAGE = str(Path(__file__).resolve().parents[1])
_DEFAULT_LOCATORS = (
    "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator,ZipCacheLocator"
)


class PackagedCacheLocator(caching.InTreeCacheLocator):
    """This package's own ``__pycache__``, if it holds a cache already, whether or not it may be written to."""

    def ensure_cache_path(self) -> None:
        """Accept the folder as it is: numba would try to write a file into it."""

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> PackagedCacheLocator | None:
        if not py_file.startswith(_PACKAGE):
            return None
        found = Path(py_file).parent.joinpath("__pycache__").glob(f"{Path(py_file).stem}.{py_func.__name__}-*.nbi")
        if os.access(Path(py_file).parent, os.W_OK) or next(found, None) is None:
            return None  # numba's own locators do
        return cls(py_func, py_file)


_others = getattr(config, "CACHE_LOCATOR_CLASSES", "") or _DEFAULT_LOCATORS
setattr(config, "CACHE_LOCATOR_CLASSES", f"{__name__}.{PackagedCacheLocator.__name__},{_others}")  # noqa: B010 -- numba makes its settings at run time


def compiled(signature: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a kernel: compiled at import for ``signature`` (or inlined into kernels when None), without the GIL,
    cached where possible.

    The "numpy" error model makes a division by zero infinity, as numpy's arrays do, instead of an exception.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if signature is None:
            helper: Callable[..., Any] = numba.njit(**options)(function)
            return helper
        try:
            kernel: Callable[..., Any] = numba.njit(signature, cache=True, **options)(function)
        except (OSError, RuntimeError):  # no folder to keep a cache in: compiling again each time still works
            kernel = numba.njit(signature, **options)(function)
        return kernel

    return decorate
