"""Publications in stores: native documents of another program, ours, and what happens when a store does not answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from artifact_samples import NOW_MS, REAL, REAL_SYMBOLS, RULES, SYMBOLS, file_bytes, manifest, payload
from firestore_emulator import firestore_emulator, firestore_project  # noqa: F401 - a fixture, used by its name
from google.cloud.firestore import Client

from trading_runtime.artifacts.ladder import Ladder
from trading_runtime.artifacts.sources import LocalFile
from trading_runtime.config.load import load_cycle_settings
from trading_runtime.core.errors import ConfigurationError, DataError, StoreDamaged, StoreUnavailable
from trading_runtime.core.timeframes import parse_time
from trading_runtime.stores.firestore import FirestoreDocuments
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.open import open_documents
from trading_runtime.stores.published import (
    DocumentsPublished,
    FirestorePublished,
    open_ladder,
    open_upstream,
    publish,
)

WHERE = ("strategy", "CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL")


# --- any of our stores


def test_what_is_published_is_read_with_its_exact_bytes_and_replaced_by_the_next(tmp_path: Path) -> None:
    for documents in (MemoryDocuments(), open_documents("sqlite", path=tmp_path / "store.sqlite")):
        source = DocumentsPublished(documents, *WHERE)
        assert source.read() is None
        publish(documents, *WHERE, REAL.read_bytes())
        publish(documents, *WHERE, REAL.read_bytes())
        found = source.read()
        assert found is not None
        assert found.exact_bytes == REAL.read_bytes()
        assert found.content == json.loads(REAL.read_text())
        publish(documents, *WHERE, file_bytes(payload()))
        again = source.read()
        assert again is not None
        assert again.content == payload()
        documents.close()


def test_a_document_that_is_no_json_names_its_place() -> None:
    documents = MemoryDocuments()
    publish(documents, *WHERE, b"{")
    with pytest.raises(DataError, match=f"store {'/'.join(WHERE)}: line 1"):
        DocumentsPublished(documents, *WHERE).read()


class Busy(MemoryDocuments):
    """A store in which somebody else always writes first."""

    def replace(self, path: str, content: bytes, version: str) -> str:
        super().replace(path, b"somebody else's", version)
        return super().replace(path, content, version)


def test_two_who_publish_at_once_do_not_both_win() -> None:
    documents = Busy()
    publish(documents, *WHERE, b"{}")
    with pytest.raises(ConfigurationError, match="somebody else published at the same time"):
        publish(documents, *WHERE, b"[]")


# --- the ladder of a configuration


def cycle_settings(folder: Path, **artifact: Any) -> Any:
    path = folder / "cycle.json"
    market = {"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"}
    content = {
        "strategy": {"class": "buy_and_hold"},
        "market": market,
        "feed": {"exchange": "binance"},
        "artifact": artifact,
    }
    path.write_text(json.dumps(content))
    return load_cycle_settings(path)


def test_the_ladder_of_a_configuration_looks_where_its_settings_say(tmp_path: Path) -> None:
    loaded = cycle_settings(tmp_path, max_age_days=3, last_known_good_days_max=7, collection="pools", document="A")
    documents = MemoryDocuments()
    ladder = open_ladder(loaded.settings, tmp_path, documents)
    assert ladder is not None
    assert ladder.resolve(NOW_MS, None).source_kind == "static"
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/live_pool_legacy.json").write_bytes(file_bytes(payload("2026-03-13")))
    assert ladder.resolve(NOW_MS, None).source_kind == "local_file"
    publish(documents, "pools", "A", file_bytes(payload("2026-03-14")))
    fresh = ladder.resolve(NOW_MS, None)
    assert (fresh.source_kind, fresh.source_label) == ("fresh_upstream", "store pools/A")
    four_days = NOW_MS + 4 * 86_400_000
    assert ladder.resolve(four_days, fresh.last_good).source_kind == "last_known_good"
    assert ladder.resolve(NOW_MS + 8 * 86_400_000, fresh.last_good).source_kind == "static"


def test_a_configured_file_and_manifest_lie_beside_the_configuration(tmp_path: Path) -> None:
    loaded = cycle_settings(tmp_path, file="pool.json", manifest_file="manifest.json")
    content = file_bytes(payload())
    (tmp_path / "pool.json").write_bytes(content)
    ladder = open_ladder(loaded.settings, tmp_path, MemoryDocuments())
    assert ladder is not None
    assert "there is no such file" in "".join(ladder.resolve(NOW_MS, None).errors)
    (tmp_path / "manifest.json").write_bytes(file_bytes(manifest(payload(), content)))
    assert ladder.resolve(NOW_MS, None).source_kind == "local_file"


def test_a_name_that_no_store_takes_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"artifact.collection and artifact.document"):
        open_upstream(cycle_settings(tmp_path, document="..").settings, MemoryDocuments())


def test_a_strategy_without_an_artifact_has_no_ladder(tmp_path: Path) -> None:
    loaded = cycle_settings(tmp_path)
    from msgspec.structs import replace

    assert open_ladder(replace(loaded.settings, artifact=None), tmp_path, MemoryDocuments()) is None


def test_nothing_heavy_is_loaded_to_read_a_publication_from_a_file_store() -> None:
    code = (
        "import sys; import trading_runtime.stores.published, trading_runtime.artifacts.history; "
        "print([m for m in ('google', 'ccxt', 'numba', 'pyarrow', 'grpc') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- Firestore


@pytest.fixture
def native(firestore_project: str) -> Iterator[Any]:  # noqa: F811 - the fixture of that name
    """The document as another program writes it, with Google's own client."""
    client = Client(project=firestore_project)
    yield client.document("/".join(WHERE))
    client.close()


@pytest.fixture
def source(firestore_project: str) -> Iterator[FirestorePublished]:  # noqa: F811 - the fixture of that name
    opened = FirestorePublished(firestore_project, *WHERE)
    yield opened
    opened.close()


def test_a_native_document_is_read_field_by_field(native: Any, source: FirestorePublished) -> None:
    assert source.read() is None
    extra = {"published_at": datetime(2026, 6, 1, 9, tzinfo=UTC), "raw": b"\x00", "nested": {"b": [1.5], "a": None}}
    native.set(json.loads(REAL.read_text()) | extra)
    found = source.read()
    assert found is not None
    assert found.exact_bytes is None
    assert isinstance(found.content, dict)
    assert found.content["symbols"] == list(REAL_SYMBOLS)
    assert found.content["published_at"].startswith("2026-06-01T09:00:00")
    json.dumps(found.content, allow_nan=False)
    resolution = Ladder(RULES, upstream=source).resolve(parse_time("2026-06-10"), None)
    assert resolution.source_kind == "fresh_upstream"
    assert resolution.payload.symbols == REAL_SYMBOLS
    assert resolution.source_label.endswith("/(default) strategy/CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL")


def test_a_native_document_that_carries_its_files_text_is_held_to_the_manifest(
    native: Any, source: FirestorePublished, tmp_path: Path
) -> None:
    text = json.dumps(payload())
    native.set(payload() | {"live_pool_legacy_exact_bytes": {"encoding": "utf-8", "utf8_text": text}})
    path = tmp_path / "manifest.json"
    ladder = Ladder(RULES, upstream=source, manifest=LocalFile(path))
    path.write_bytes(file_bytes(manifest(payload(), text.encode())))
    assert ladder.resolve(NOW_MS, None).source_kind == "fresh_upstream"
    path.write_bytes(file_bytes(manifest(payload(), b"other")))
    assert ladder.resolve(NOW_MS, None).source_kind == "static"


def test_what_we_published_ourselves_is_read_with_its_exact_bytes(
    firestore_project: str,  # noqa: F811 - the fixture of that name
    source: FirestorePublished,
) -> None:
    documents = FirestoreDocuments(firestore_project)
    publish(documents, *WHERE, REAL.read_bytes())
    found = source.read()
    assert found is not None
    assert found.exact_bytes == REAL.read_bytes()
    publish(documents, *WHERE, file_bytes(payload()))
    again = source.read()
    assert again is not None
    assert again.content == payload()
    documents.close()


def test_a_document_of_upstreams_is_not_published_over(native: Any, firestore_project: str) -> None:  # noqa: F811 - the fixture of that name
    native.set(payload())
    documents = FirestoreDocuments(firestore_project)
    with pytest.raises(ConfigurationError, match="was published by another program"):
        publish(documents, *WHERE, REAL.read_bytes())
    assert native.get().to_dict() == payload()
    documents.close()


def test_fields_of_upstreams_win_over_a_body_that_was_left_behind(
    native: Any,
    source: FirestorePublished,
    firestore_project: str,  # noqa: F811 - the fixture of that name
) -> None:
    documents = FirestoreDocuments(firestore_project)
    publish(documents, *WHERE, REAL.read_bytes())
    documents.close()
    native.set(payload(), merge=True)
    found = source.read()
    assert found is not None
    assert isinstance(found.content, dict)
    assert found.content["symbols"] == SYMBOLS


def test_a_body_that_was_changed_by_hand_is_damaged(
    native: Any,
    source: FirestorePublished,
    firestore_project: str,  # noqa: F811 - the fixture of that name
) -> None:
    documents = FirestoreDocuments(firestore_project)
    publish(documents, *WHERE, REAL.read_bytes())
    documents.close()
    native.update({"body": REAL.read_text().replace("TRX", "BTT")})
    with pytest.raises(StoreDamaged, match="does not match its checksum"):
        source.read()
    resolution = Ladder(RULES, upstream=source).resolve(NOW_MS, None)
    assert resolution.source_kind == "static"


def test_an_order_that_a_map_does_not_keep_is_the_same_at_every_read(native: Any, source: FirestorePublished) -> None:
    native.set(payload(symbols={symbol: {"base_asset": symbol[:-4]} for symbol in SYMBOLS}))
    found = source.read()
    assert found is not None
    assert isinstance(found.content, dict)
    assert list(found.content["symbols"]) == sorted(SYMBOLS)


def test_a_firestore_that_does_not_answer_is_unavailable_after_limited_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")
    source = FirestorePublished("demo-nobody", *WHERE, request_seconds=0.2)
    with pytest.raises(StoreUnavailable, match="firestore demo-nobody/"):
        source.read()
    resolution = Ladder(RULES, upstream=source).resolve(NOW_MS, None)
    assert resolution.source_kind == "static"
    assert "fresh_upstream: firestore demo-nobody/" in resolution.errors[0]
    source.close()


def test_the_configured_firestore_is_asked_without_our_prefix(
    native: Any,
    firestore_project: str,  # noqa: F811 - the fixture of that name
    tmp_path: Path,
) -> None:
    native.set(payload())
    loaded = cycle_settings(tmp_path)
    path = tmp_path / "cycle.json"
    content = json.loads(path.read_text()) | {
        "store": {"kind": "firestore", "project": firestore_project, "prefix": "ours-"}
    }
    path.write_text(json.dumps(content))
    loaded = load_cycle_settings(path)
    ladder = open_ladder(loaded.settings, tmp_path, MemoryDocuments())
    assert ladder is not None
    assert ladder.resolve(NOW_MS, None).source_kind == "fresh_upstream"
