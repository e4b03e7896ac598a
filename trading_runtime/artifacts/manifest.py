"""Upstream's artifact manifest: which bytes it published, by SHA-256. Where an operator names one, nothing that it does
not vouch for is traded.

    a document that carries the file's text   the text's digest must be in the manifest, and the text must say what the
                                              document says
    the exact bytes are known (a file)        their digest must be in the manifest
    a document alone                          the manifest's own symbols, version and date must be the document's

and in every case the manifest's symbols, version, date and mode must be those of the payload. Pure: what was read comes
as an argument. Every doubt is a reason, and a reason means: not this payload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trading_runtime.artifacts.payload import Payload, shown
from trading_runtime.artifacts.release import exact_text, exact_text_findings
from trading_runtime.artifacts.sources import Published
from trading_runtime.core.hashing import sha256_hex

MANIFEST_TYPE = "strategy_artifact"
ARTIFACT_TYPE = "live_pool"
# The earlier name is that of the profile's alias.
CONTRACT_VERSIONS = ("crypto_live_pool_rotation.live_pool.v1", "crypto_leader_rotation.live_pool.v1")
# The two forms that the pool itself is published in; a manifest names rankings and universes too.
_POOL_ARTIFACTS = ("live_pool", "live_pool_legacy")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ManifestError(ValueError):
    """A manifest that cannot be read as one; the message is one line."""


@dataclass(frozen=True)
class Manifest:
    """What a manifest vouches for. ``digests`` are SHA-256 by name of artifact, in lower case."""

    contract_version: str
    version: str
    as_of_date: str
    mode: str
    symbols: tuple[str, ...]
    digests: Mapping[str, str]


def read_manifest(content: object) -> Manifest:
    """Return the manifest; raises ManifestError for anything that is not a whole one of a known contract."""
    if not isinstance(content, dict):
        raise ManifestError(f"a manifest is a mapping of fields, not {shown(content)}")
    if content.get("manifest_type") != MANIFEST_TYPE:
        raise ManifestError(f"manifest_type must be {MANIFEST_TYPE}, not {shown(content.get('manifest_type'))}")
    contract = content.get("contract_version")
    if contract not in CONTRACT_VERSIONS:
        raise ManifestError(f"contract_version {shown(contract)} is not known (known: {', '.join(CONTRACT_VERSIONS)})")
    if content.get("artifact_type", ARTIFACT_TYPE) != ARTIFACT_TYPE:
        raise ManifestError(f"artifact_type must be {ARTIFACT_TYPE}, not {shown(content['artifact_type'])}")
    symbols = content.get("symbols")
    if not isinstance(symbols, list) or not symbols or not all(isinstance(one, str) for one in symbols):
        raise ManifestError("symbols must be a list of texts")
    return Manifest(
        contract,
        _text(content, "version"),
        _text(content, "as_of_date")[:10],
        _text(content, "mode"),
        tuple(symbols),
        _digests(content.get("artifacts")),
    )


def manifest_findings(manifest: Manifest, published: Published, payload: Payload) -> list[str]:
    """Return why a manifest does not vouch for a payload, one line each; empty when it does."""
    found = [
        f"the manifest's {name} {shown(own)} is not the payload's {shown(other)}"
        for name, own, other in (
            ("version", manifest.version, payload.version),
            ("as_of_date", manifest.as_of_date, payload.as_of_date),
            ("mode", manifest.mode, payload.mode),
        )
        if own != other
    ]
    if manifest.symbols != payload.symbols:
        found.append(
            f"the manifest's symbols {', '.join(manifest.symbols)} are not the payload's {', '.join(payload.symbols)}"
        )
    content = published.content
    text = exact_text(content) if isinstance(content, dict) else None
    if text is not None and isinstance(content, dict):
        found += exact_text_findings(content, text)
        found += _digest_findings(manifest, text.encode("utf-8", "surrogatepass"), "the text that the document carries")
    elif published.exact_bytes is not None:
        found += _digest_findings(manifest, published.exact_bytes, "the bytes of the payload")
    return found


def _digest_findings(manifest: Manifest, content: bytes, what: str) -> list[str]:
    digest = sha256_hex(content)
    known = {name: manifest.digests[name] for name in _POOL_ARTIFACTS if name in manifest.digests}
    if digest in known.values():
        return []
    named = ", ".join(f"{name} {value[:12]}…" for name, value in known.items())
    return [f"{what} have the SHA-256 {digest[:12]}…, the manifest names {named}"]


def _digests(artifacts: object) -> dict[str, str]:
    if not isinstance(artifacts, dict):
        raise ManifestError("artifacts must be a mapping of names to path and sha256")
    found: dict[str, str] = {}
    for name, entry in artifacts.items():
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest.lower()):
            raise ManifestError(f"artifacts: {shown(name)} has no SHA-256 of 64 hexadecimal digits")
        found[str(name)] = digest.lower()
    if not any(name in found for name in _POOL_ARTIFACTS):
        raise ManifestError(f"artifacts must name {' or '.join(_POOL_ARTIFACTS)}")
    return found


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value:
        raise ManifestError(f"{name} must be text, not {shown(value)}")
    return value
