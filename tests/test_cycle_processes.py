"""Two processes on one Firestore, started at the same instant for the same slot: one acts, the other says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from firestore_emulator import firestore_emulator, firestore_project  # noqa: F401 - a fixture, used by its name

ROOT = Path(__file__).parents[1]
FIRST_SLOT = 1_704_067_200_000 + 80 * 3_600_000


def configuration(folder: Path, project: str) -> Path:
    rows = []
    for hour in range(100):
        price = 100.0 + (hour % 7)
        row = (1_704_067_200_000 + hour * 3_600_000, price, price + 2.0, price - 2.0, price + 1.0, 10.0)
        rows.append(",".join(map(repr, row)))
    (folder / "bars.csv").write_text("time,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    content = {
        "strategy": {"class": "sma_cross", "fast": 2, "slow": 10},
        "market": {"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"},
        "feed": {"files": [{"path": "bars.csv", "symbol": "BTC/USDT", "timeframe": "1h"}]},
        "store": {"kind": "firestore", "project": project},
    }
    path = folder / "cycle.json"
    path.write_text(json.dumps(content))
    return path


def together(config: Path, slot: int, count: int) -> list[dict[str, Any]]:
    """What that many processes say that are let go at once."""
    command = [sys.executable, str(ROOT / "tests/cycle_worker.py"), str(config), "paper", str(slot)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRPC_VERBOSITY": "NONE"}
    processes = [
        subprocess.Popen(
            [*command, f"process-{number}-{slot}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(count)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_of_two_processes_for_one_slot_one_acts_and_the_other_says_it_is_not_his(
    firestore_project: str,  # noqa: F811 - the fixture of that name
    tmp_path: Path,
) -> None:
    config = configuration(tmp_path, firestore_project)
    for number in range(8):
        said = together(config, FIRST_SLOT + number * 3_600_000, 2)
        assert [one["exit_code"] for one in said] == [0, 0], said
        statuses = sorted(one["status"] for one in said)
        # On a busy machine the second may be let run only when the first has ended: then the slot is done.
        assert statuses in (["done", "not_mine"], ["already_done", "done"]), said
        if "not_mine" in statuses:
            loser = next(one for one in said if one["status"] == "not_mine")
            assert "another process has the lease" in loser["reason"]
            return
    raise AssertionError("in eight slots no two processes met")
