"""Kernels are compiled once: a second process finds them, whatever its processor, also where nothing may be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trading_runtime.backtest import jit, kernel

ROOT = Path(__file__).parents[1]
REPORT = """
import json
from numba.core import config
from trading_runtime.backtest import kernel
functions = [kernel.simulate, kernel.equity_statistics, kernel.scan_choices, kernel.run_cells]
print(json.dumps([config.CPU_NAME, config.CPU_FEATURES, [sum(f.stats.cache_misses.values()) for f in functions]]))
"""


def test_a_second_process_compiles_nothing() -> None:
    """The first import fills the cache for the architecture's common processor; the next one only reads it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", REPORT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
    processor, features, misses = json.loads(done.stdout)

    assert processor in ("x86-64-v2", "generic")
    assert features == ""
    assert misses == [0, 0, 0, 0]


def test_a_cache_that_cannot_be_written_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only root numba's own locators give up; ours takes the folder as it is, if it holds the kernel."""
    source = str(Path(kernel.__file__).resolve())
    function = kernel.simulate.py_func
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert jit.PackagedCacheLocator.from_function(function, source) is not None
    assert jit.PackagedCacheLocator.from_function(lambda: None, source) is None
    assert jit.PackagedCacheLocator.from_function(function, "/elsewhere/strategy.py") is None


def test_where_it_can_be_written_numba_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout's cache must be refreshed when its source changes, which a folder taken as it is would not be."""
    function = kernel.simulate.py_func
    monkeypatch.setattr(os, "access", lambda path, mode: True)

    assert jit.PackagedCacheLocator.from_function(function, str(Path(kernel.__file__).resolve())) is None
