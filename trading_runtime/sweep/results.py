"""Results of cells in the store: sealed, written once, checked whenever they are read.

    cells/<aa>/<cell_id>.json                      a result, shared by all sweeps that have this cell
    sweeps/<sweep_id>/failures/<cell_id>.json      a cell whose strategy failed
    sweeps/<sweep_id>/cells.txt                    made by gather: the lines ``cell_id digest`` of what is done

A result can be computed again and shows every change of a byte, so that its writing waits for no disk; what a power cut
took or cut off is missing or damaged, and the next run computes it. Whatever cannot be made again waits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.many import create_many, get_many
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.objects.port import ObjectDamaged, ObjectMissing, ObjectStore
from trading_runtime.objects.seal import Fields, object_text, seal, unseal, unseal_texts
from trading_runtime.sweep.cell import CellError, Outcome
from trading_runtime.sweep.markets import IdentityText

# A result's text, its fields in canonical order. The last ones are found from the end on: nothing is nested in them, so
# that what opens an earlier one cannot lie there (in a text, its quotation marks would be written \").
_DIGEST = b'","digest":"'
_EQUITY = b'","equity_daily":'
_IDENTITY = b',"identity":'
_METRICS = b',"metrics":{'
_PARAMETERS = b',"parameters":{'
_PERIOD = b',"period":{'
_CHECKSUM = b',"sha256":"'
_OPENING = b'{"cell_id":"'
_END = b'"}'
_HASH_LENGTH = 64
_CHECKSUM_LENGTH = len(_CHECKSUM) + _HASH_LENGTH + len(_END)
_NUMBER = rb"(?:0|-?[1-9][0-9]*)"
_EQUITY_TEXT = re.compile(
    rb'\{"bar_ms":%b,"first_close_ms":%b,"last_close_ms":%b,"unit":"[0-9A-Za-z.+-]+","units":\[(?:%b(?:,%b)*)?\]\}'
    % ((_NUMBER,) * 5)
)


@dataclass(frozen=True)
class Read:
    """What the store holds of a cell: a result, nothing (``content`` None), or something damaged."""

    cell_id: str
    content: Mapping[str, Any] | None
    damage: str | None = None


def cell_key(cell_id: str) -> str:
    return f"cells/{cell_id[:2]}/{cell_id}.json"


def cells_key(sweep_id: str) -> str:
    return f"sweeps/{sweep_id}/cells.txt"


def failures_prefix(sweep_id: str) -> str:
    return f"sweeps/{sweep_id}/failures/"


def failure_key(sweep_id: str, cell_id: str) -> str:
    return f"{failures_prefix(sweep_id)}{cell_id}.json"


def result_bytes(cell_id: str, identity: IdentityText, outcome: Outcome) -> bytes:
    """Return a cell's result as it is stored: the same bytes wherever it was computed. Its digest is the outcome's."""
    metrics, equity = outcome.texts["metrics"], outcome.texts["equity"]
    name = cell_id.encode()
    digest = _digest(equity, metrics)
    parts = (_OPENING, name, _DIGEST, digest, _EQUITY, equity, _IDENTITY, identity.whole, b',"metrics":', metrics)
    body = b"".join((*parts, b',"parameters":', identity.parameters, b',"period":', identity.period))
    return b"".join((body, _CHECKSUM, sha256_hex(body + b"}").encode(), _END))


def _digest(equity: bytes, metrics: bytes) -> bytes:
    return sha256_hex(b'{"equity":%b,"metrics":%b}' % (equity, metrics)).encode()


def failure_bytes(cell_id: str, identity: Mapping[str, Any], error: CellError) -> bytes:
    """Return what is stored of a cell that failed."""
    return seal({"cell_id": cell_id, "identity": identity, "kind": error.kind, "message": error.message})


def understood(cell_id: str, raw: bytes | None, label: str) -> Read:
    """Return what raw bytes under a cell's key are; nothing that fails any check passes as a result."""
    if raw is None:
        return Read(cell_id, None)
    content = _by_position(cell_id.encode(), raw)
    return _field_by_field(cell_id, raw, label) if content is None else Read(cell_id, content)


def _by_position(cell_id: bytes, raw: bytes) -> Fields | None:
    """Return the fields of a result that is in order beyond doubt: every check of ``_field_by_field``, on the bytes as
    they lie there. None is no verdict.
    """
    end = len(raw) - _CHECKSUM_LENGTH
    body = raw[: max(end, 0)]
    if b"".join((body, _CHECKSUM, sha256_hex(body + b"}").encode(), _END)) != raw:
        return None
    digest = len(_OPENING) + len(cell_id) + len(_DIGEST)
    equity = digest + _HASH_LENGTH + len(_EQUITY)
    identity = body.find(_IDENTITY, equity)
    period = body.rfind(_PERIOD)
    parameters = body.rfind(_PARAMETERS, 0, period)
    metrics = body.rfind(_METRICS, 0, parameters)
    if not 0 < identity < metrics < parameters < period:
        return None
    texts = {
        "cell_id": b'"%b"' % cell_id,
        "digest": body[digest - 1 : digest + _HASH_LENGTH + 1],
        "equity_daily": body[equity:identity],
        "identity": body[identity + len(_IDENTITY) : metrics],
        "metrics": body[metrics + len(_METRICS) - 1 : parameters],
        "parameters": body[parameters + len(_PARAMETERS) - 1 : period],
        "period": body[period + len(_PERIOD) - 1 :],
    }
    fields = Fields(texts)
    try:
        whole = (
            body.startswith(_OPENING + cell_id + _DIGEST)
            and body.startswith(_EQUITY, digest + _HASH_LENGTH)
            and sha256_hex(texts["identity"]).encode() == cell_id
            and texts["digest"] == b'"%b"' % _digest(texts["equity_daily"], texts["metrics"])
            and _EQUITY_TEXT.fullmatch(texts["equity_daily"]) is not None
            and canonical_json(fields["metrics"]) == texts["metrics"]
            and canonical_json(fields["parameters"]) == texts["parameters"]
            and _is_identity(texts["identity"], texts["parameters"], texts["period"])
        )
    except (ValueError, RecursionError):
        return None
    return fields if whole else None


def _is_identity(identity: bytes, parameters: bytes, period: bytes) -> bool:
    """Whether an identity is canonical JSON, with canonical parameters and the period. Cells of a period share all but
    the parameters, which is looked at once: one value in place of another leaves the rest what it is.
    """
    shared = b',"parameters":%b,"period":%b,' % (parameters, period)
    before, found, after = identity.partition(shared)
    return bool(found) and _is_canonical(b'%b,"parameters":{},"period":%b,%b' % (before, period, after))


@lru_cache(maxsize=256)
def _is_canonical(text: bytes) -> bool:
    return canonical_json(json.loads(text)) == text


def _field_by_field(cell_id: str, raw: bytes, label: str) -> Read:
    """Return what raw bytes are by taking them apart as JSON, and what is wrong with them."""
    key = f"{label}: {cell_key(cell_id)}"
    try:
        content, texts = unseal_texts(key, raw)
        if content["cell_id"] != cell_id or sha256_hex(texts["identity"]) != cell_id:
            return Read(cell_id, None, f"{key}: is the result of another cell")
        measured = {"metrics": texts["metrics"], "equity": texts["equity_daily"]}
        if content["digest"] != sha256_hex(object_text(measured)):
            return Read(cell_id, None, f"{key}: does not match its digest")
        if any(canonical_json(content["identity"][name]) != texts[name] for name in ("parameters", "period")):
            return Read(cell_id, None, f"{key}: contradicts its identity")
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


def write_results(store: ObjectStore, results: Sequence[tuple[str, bytes]]) -> list[bool]:
    """Create results of cells; what was there already stays as it is."""
    return create_many(store, results, recomputable=True)


def write_failures(store: ObjectStore, failures: Sequence[tuple[str, bytes]]) -> list[bool]:
    """Create records of cells that failed; what was there already stays as it is."""
    return create_many(store, failures)


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
