"""Publications for tests: a real file of upstream's, payloads made of a few words, manifests that vouch for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from trading_runtime.artifacts.payload import PayloadRules
from trading_runtime.artifacts.sources import Published
from trading_runtime.core.errors import StoreUnavailable, TradingRuntimeError
from trading_runtime.core.timeframes import parse_time

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT / "tests/data/live-pools/2026-06-01-core_major.json"
REAL_SYMBOLS = ("TRXUSDT", "DOGEUSDT", "XRPUSDT", "LTCUSDT", "LINKUSDT")
SYMBOLS = ["ETHUSDT", "SOLUSDT", "XRPUSDT", "LTCUSDT", "BCHUSDT"]
RULES = PayloadRules()
NOW_MS = parse_time("2026-03-15T00:00:00Z")
DAY = "2026-03-10"


def payload(as_of_date: str = DAY, **changes: Any) -> dict[str, Any]:
    """A publication that nothing is wrong with; a change to None leaves the field out."""
    content: dict[str, Any] = {
        "as_of_date": as_of_date,
        "version": f"{as_of_date}-core_major",
        "mode": "core_major",
        "pool_size": 5,
        "symbols": list(SYMBOLS),
        "source_project": "crypto-live-pool-pipelines",
    }
    content |= changes
    return {name: value for name, value in content.items() if value is not None}


def file_bytes(content: object) -> bytes:
    return json.dumps(content, indent=2).encode()


def manifest(content: dict[str, Any], published: bytes, **changes: Any) -> dict[str, Any]:
    """The manifest upstream would publish beside ``content``, whose file has the bytes ``published``."""
    digest = hashlib.sha256(published).hexdigest()
    return {
        "manifest_type": "strategy_artifact",
        "contract_version": "crypto_live_pool_rotation.live_pool.v1",
        "strategy_profile": "crypto_live_pool_rotation",
        "artifact_type": "live_pool",
        "as_of_date": content["as_of_date"],
        "version": content["version"],
        "mode": content["mode"],
        "symbols": list(content["symbols"]),
        "primary_artifact": "live_pool",
        "artifacts": {
            "live_pool_legacy": {"path": "live_pool_legacy.json", "sha256": digest},
            "latest_ranking": {"path": "latest_ranking.csv", "sha256": "0" * 64},
        },
    } | changes


class Shelf:
    """An upstream that holds what the test puts there, or an error to raise. ``reads`` counts questions."""

    label = "shelf"

    def __init__(self, content: object = None, *, error: TradingRuntimeError | None = None) -> None:
        self.content, self.error, self.reads = content, error, 0

    def read(self) -> Published | None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return None if self.content is None else Published(self.content)


UNAVAILABLE = StoreUnavailable("firestore demo/(default): DeadlineExceeded: 504")
