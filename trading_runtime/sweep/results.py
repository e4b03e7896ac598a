"""Results of cells in the store: sealed, written once, checked whenever they are read.

cells/<aa>/<cell_id>.json                      a result, shared by all sweeps that have this cell
sweeps/<sweep_id>/failures/<cell_id>.json      a cell whose strategy failed
    sweeps/<sweep_id>/cells.txt                    made by gather: the lines ``cell_id digest`` of what is done
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.many import THREADS, create_many, get_many
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.objects.port import ObjectDamaged, ObjectMissing, ObjectStore
from trading_runtime.objects.seal import object_text, seal, seal_texts, unseal, unseal_texts
from trading_runtime.sweep.cell import CellError, Outcome


@dataclass(frozen=True)
class Read:
    """What the store holds of a cell: a result, nothing (``content`` None), or something damaged."""

    cell_id: str
    content: dict[str, Any] | None
    damage: str | None = None


def cell_key(cell_id: str) -> str:
    return f"cells/{cell_id[:2]}/{cell_id}.json"


def cells_key(sweep_id: str) -> str:
    return f"sweeps/{sweep_id}/cells.txt"


def failures_prefix(sweep_id: str) -> str:
    return f"sweeps/{sweep_id}/failures/"


def failure_key(sweep_id: str, cell_id: str) -> str:
    return f"{failures_prefix(sweep_id)}{cell_id}.json"


def result_bytes(cell_id: str, identity: Mapping[str, Any], outcome: Outcome) -> bytes:
    """Return a cell's result as it is stored: the same bytes wherever it was computed. Its digest is the outcome's."""
    parts = {name: canonical_json(value) for name, value in identity.items()}
    measured = {name: canonical_json(value) for name, value in outcome.items()}
    return seal_texts(
        {
            "cell_id": canonical_json(cell_id),
            "identity": object_text(parts),
            "parameters": parts["parameters"],
            "period": parts["period"],
            "metrics": measured["metrics"],
            "equity_daily": measured["equity"],
            "digest": canonical_json(sha256_hex(object_text(measured))),
        }
    )


def failure_bytes(cell_id: str, identity: Mapping[str, Any], error: CellError) -> bytes:
    """Return what is stored of a cell that failed."""
    return seal({"cell_id": cell_id, "identity": identity, "kind": error.kind, "message": error.message})


def understood(cell_id: str, raw: bytes | None, label: str) -> Read:
    """Return what raw bytes under a cell's key are; nothing that fails any check passes as a result."""
    if raw is None:
        return Read(cell_id, None)
    key = f"{label}: {cell_key(cell_id)}"
    try:
        content, texts = unseal_texts(key, raw)
        if content["cell_id"] != cell_id or sha256_hex(texts["identity"]) != cell_id:
            return Read(cell_id, None, f"{key}: is the result of another cell")
        measured = {"metrics": texts["metrics"], "equity": texts["equity_daily"]}
        if content["digest"] != sha256_hex(object_text(measured)):
            return Read(cell_id, None, f"{key}: does not match its digest")
    except ObjectDamaged as error:
        return Read(cell_id, None, str(error))
    except (KeyError, TypeError, ValueError):
        return Read(cell_id, None, f"{key}: is no result of a cell")
    return Read(cell_id, content)


def read_results(store: ObjectStore, cell_ids: Sequence[str]) -> list[Read]:
    """Return what the store holds of each cell, in the order given."""
    return [
        understood(cell_id, raw, store.label)
        for cell_id, (_, raw) in zip(cell_ids, read_raw(store, [cell_key(one) for one in cell_ids]), strict=True)
    ]


def read_raw(store: ObjectStore, keys: Sequence[str]) -> list[tuple[str, bytes | None]]:
    """Return the objects under ``keys``, None where there is none. Only where reading means waiting, threads help."""
    if not isinstance(store, FolderObjects | MemoryObjects):
        return list(get_many(store, keys))
    found: list[tuple[str, bytes | None]] = []
    for key in keys:
        try:
            found.append((key, store.get(key)))
        except ObjectMissing:
            found.append((key, None))
    return found


def write_new(store: ObjectStore, objects: Sequence[tuple[str, bytes]]) -> list[bool]:
    """Create objects; what was there already stays as it is."""
    if isinstance(store, MemoryObjects):
        return [store.create(key, content) for key, content in objects]
    return create_many(store, objects, threads=THREADS)


def failed_ids(store: ObjectStore, sweep_id: str) -> set[str]:
    """Return the ids of the cells of a sweep that failed."""
    return {key.rpartition("/")[2].removesuffix(".json") for key in store.keys(failures_prefix(sweep_id))}


def read_failure(store: ObjectStore, sweep_id: str, cell_id: str) -> dict[str, Any]:
    """Return why a cell failed; a record that is damaged says so itself, and makes the cell no less failed."""
    key = failure_key(sweep_id, cell_id)
    try:
        return unseal(f"{store.label}: {key}", store.get(key))
    except (ObjectDamaged, ObjectMissing) as error:
        return {"cell_id": cell_id, "kind": type(error).__name__, "message": str(error)}
