"""What a live cycle loads: nothing of the compiled path, nothing that draws, no library it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numba", "llvmlite", "pyarrow", "plotly", "pandas", "ccxt", "google.cloud.firestore", "kubernetes", "hera")

PROBE = """
import json, sys
{before}
print("loaded " + json.dumps(sorted(name for name in {heavy!r} if name in sys.modules)))
"""

EVERY_MODULE_OF_A_LIVE_CYCLE = """
import trading_runtime.cycle.build, trading_runtime.cycle.run, trading_runtime.cycle.messages
import trading_runtime.exchanges.ccxt_exchange, trading_runtime.exchanges.credentials
import trading_runtime.notify.deliver, trading_runtime.notify.telegram, trading_runtime.telemetry.log
import trading_runtime.stores.sqlite, trading_runtime.stores.firestore, trading_runtime.cli.cycle
"""


def loaded_by(code: str) -> list[str]:
    program = PROBE.format(before=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    found: list[str] = json.loads(done.stdout.rsplit("loaded ", 1)[1])
    return found


def test_the_modules_of_a_live_cycle_load_no_heavy_library() -> None:
    assert loaded_by(EVERY_MODULE_OF_A_LIVE_CYCLE) == []


@pytest.mark.parametrize("mode", ["dry-run", "paper"])
def test_a_cycle_on_recorded_bars_loads_no_heavy_library(tmp_path: Path, mode: str) -> None:
    rows = [f"{1_704_067_200_000 + hour * 3_600_000},100.0,101.0,99.0,100.5,10.0" for hour in range(80)]
    (tmp_path / "bars.csv").write_text("time,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    config = {
        "strategy": {"class": "sma_cross", "fast": 5, "slow": 10},
        "market": {"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"},
        "feed": {
            "files": [{"path": "bars.csv", "symbol": "BTC/USDT", "timeframe": "1h"}],
            "start": "2024-01-02T00:00:00Z",
        },
    }
    (tmp_path / "cycle.json").write_text(json.dumps(config))
    words = ["cycle", "--config", str(tmp_path / "cycle.json"), "--mode", mode]
    code = f"from trading_runtime.cli.main import main\nassert main({words!r}) == 0"
    assert loaded_by(code) == []
