"""Google Cloud Storage: the settings from the usual environment variables.

GOOGLE_APPLICATION_CREDENTIALS   a file with a service account's key, a person's own credentials, or the settings of
                                 workload identity federation, which google-auth exchanges for tokens
not set                          the machine's own identity: Workload Identity on GKE, the service account of a VM
STORAGE_EMULATOR_HOST            an emulator, asked without credentials; http:// is allowed to it alone
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.endpoint import REQUEST_SECONDS, checked_endpoint, client_options
from trading_runtime.objects.remote import RemoteObjects

if TYPE_CHECKING:
    from obstore.store import GCSConfig, GCSCredential, GCSStore

_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
# What the library reads by itself; federation goes through google-auth.
_LIBRARY_TYPES = ("service_account", "authorized_user")
_FEDERATION_TYPE = "external_account"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


def open_gcs(
    bucket: str,
    prefix: str,
    environment: Mapping[str, str],
    *,
    request_seconds: float = REQUEST_SECONDS,
    wait: Callable[[float], None] = time.sleep,
) -> RemoteObjects:
    """Return the objects of a bucket below ``prefix``; raises ConfigurationError for settings that cannot be used.
    Nothing is sent yet.
    """
    config: GCSConfig = {"bucket": bucket}
    endpoint: str | None = None
    path = environment.get(_VARIABLE, "").strip()
    federated = False
    emulator = environment.get("STORAGE_EMULATOR_HOST", "").strip()
    if emulator:
        address = emulator if "://" in emulator else f"http://{emulator}"
        endpoint = checked_endpoint("STORAGE_EMULATOR_HOST", address, allow_http=True)
        config["base_url"] = endpoint
    elif path:
        kind = _type_of(path)
        federated = kind == _FEDERATION_TYPE
        if kind in _LIBRARY_TYPES:
            config["application_credentials"] = path
        elif not federated:
            known = ", ".join((*_LIBRARY_TYPES, _FEDERATION_TYPE))
            raise ConfigurationError(
                f"{_VARIABLE}: {path} holds credentials that cannot be used; its type must be {known}"
            )
    label = f"gs://{bucket}/{prefix}".rstrip("/") + (f" at {endpoint}" if endpoint else "")

    def open_client() -> GCSStore:
        from obstore.exceptions import BaseError
        from obstore.store import GCSStore

        provider: Callable[[], GCSCredential] | None = None
        if emulator:
            provider = _nobody
        elif federated:
            provider = _federation(path)
        try:
            return GCSStore(
                prefix=prefix or None,
                config=config,
                client_options=client_options(endpoint, request_seconds),
                retry_config={"max_retries": 0},
                credential_provider=provider,
            )
        except (BaseError, ValueError) as error:
            raise ConfigurationError(f"{label}: cannot be opened ({type(error).__name__}); check {_VARIABLE}") from None

    return RemoteObjects(label, open_client, wait=wait)


def _type_of(path: str) -> str:
    """Return which kind of credentials a file holds."""
    try:
        content: Any = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{_VARIABLE}: {path} cannot be read ({type(error).__name__})") from None
    kind = content.get("type") if isinstance(content, dict) else None
    if not isinstance(kind, str):
        raise ConfigurationError(f"{_VARIABLE}: {path} is no file of Google credentials: it has no type")
    return kind


def _nobody() -> GCSCredential:
    """A token that is none, for emulators: with no token at all the library would ask the machine for its identity."""
    return {"token": "emulator", "expires_at": None}


def _federation(path: str) -> Callable[[], GCSCredential]:
    """Return what the library calls for a token, and again shortly before that one expires."""
    from google.auth.exceptions import GoogleAuthError
    from google.auth.identity_pool import Credentials
    from google.auth.transport.requests import Request

    try:
        credentials = Credentials.from_file(path, scopes=[_SCOPE])  # type: ignore[no-untyped-call]
    except (GoogleAuthError, OSError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{_VARIABLE}: {path} cannot be used ({type(error).__name__})") from None

    def token() -> GCSCredential:
        credentials.refresh(Request())
        expiry = credentials.expiry  # UTC, without saying so
        return {"token": credentials.token, "expires_at": expiry.replace(tzinfo=UTC) if expiry else None}

    return token
