"""S3 and what speaks its language (MinIO, Ceph, R2, ...): the settings from the usual environment variables.

    AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL      another server than Amazon's; http:// only on this machine itself,
                                               elsewhere only with AWS_ALLOW_HTTP=true
    AWS_REGION, AWS_DEFAULT_REGION             us-east-1 when neither is set
    AWS_VIRTUAL_HOSTED_STYLE_REQUEST           true: the bucket is part of the host's name (default: of the path)
    AWS_CA_BUNDLE                              certificates of an authority of one's own

Credentials, the first that is there:

    AWS_SKIP_SIGNATURE=true                    none; a public bucket
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY   or each with _FILE: the file that holds it; AWS_SESSION_TOKEN likewise
    AWS_SHARED_CREDENTIALS_FILE                with AWS_PROFILE (default "default"); only when it is named
    AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN  roles of service accounts (EKS)
    AWS_CONTAINER_CREDENTIALS_FULL_URI, ..._RELATIVE_URI
    the instance's role                        only at Amazon itself

They are read when the store is opened and given to the library by a function, so that its ``repr`` holds none.
"""

from __future__ import annotations

import configparser
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.endpoint import REQUEST_SECONDS, checked_endpoint, client_options
from trading_runtime.objects.remote import RemoteObjects

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential, S3Store

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_FILE_BYTES_MAX = 1 << 20
# Passed on as they are; the library fetches and renews what they stand for.
_LIBRARY_NAMES = {
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web_identity_token_file",
    "AWS_ROLE_ARN": "role_arn",
    "AWS_ROLE_SESSION_NAME": "role_session_name",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "container_credentials_full_uri",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "container_credentials_relative_uri",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "container_authorization_token_file",
}
_SOURCES = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)


class _Keys(NamedTuple):
    key_id: str
    secret: str
    token: str | None

    def __repr__(self) -> str:
        return "_Keys(...)"


def open_s3(
    bucket: str,
    prefix: str,
    environment: Mapping[str, str],
    *,
    request_seconds: float = REQUEST_SECONDS,
    wait: Callable[[float], None] = time.sleep,
) -> RemoteObjects:
    """Return the objects of a bucket below ``prefix``; raises ConfigurationError for settings that are missing or
    contradict each other. Nothing is sent yet.
    """
    endpoint = _endpoint(environment)
    keys = _keys(environment)
    unsigned = _is_true("AWS_SKIP_SIGNATURE", environment)
    others = any(environment.get(name) for name in _SOURCES)
    if endpoint is not None and keys is None and not unsigned and not others:
        raise ConfigurationError(
            "s3: there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or each with _FILE, "
            "or AWS_SHARED_CREDENTIALS_FILE)"
        )
    config: S3Config = {
        "bucket": bucket,
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        "virtual_hosted_style_request": _is_true("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", environment),
        "conditional_put": "etag",
        # one DELETE for one object: the request for many is not known everywhere
        "disable_bulk_delete": True,
        "skip_signature": unsigned,
    }
    if endpoint is not None:
        # both: the library prefers the second, also when only the process's own environment has it
        config["endpoint"] = config["aws_endpoint_url_s3"] = endpoint
    if keys is None and not unsigned:
        for name, setting in _LIBRARY_NAMES.items():
            if environment.get(name):
                config[setting] = environment[name]  # type: ignore[literal-required]
    options = client_options(endpoint, request_seconds)
    bundle = environment.get("AWS_CA_BUNDLE")
    if bundle:
        options["root_certificate"] = _file("AWS_CA_BUNDLE", bundle)
    label = f"s3://{bucket}/{prefix}".rstrip("/") + (f" at {endpoint}" if endpoint else "")

    def open_client() -> S3Store:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        try:
            return S3Store(
                prefix=prefix or None,
                config=config,
                client_options=options,
                retry_config={"max_retries": 0},
                credential_provider=_provider(keys) if keys is not None and not unsigned else None,
            )
        except (BaseError, ValueError) as error:
            raise ConfigurationError(
                f"{label}: cannot be opened ({type(error).__name__}); check the AWS_* settings"
            ) from None

    return RemoteObjects(label, open_client, wait=wait)


def _endpoint(environment: Mapping[str, str]) -> str | None:
    """Return the address of the server, None for Amazon's own."""
    name = next((name for name in _ENDPOINTS if environment.get(name)), None)
    if name is None:
        return None
    return checked_endpoint(name, environment[name], allow_http=_is_true("AWS_ALLOW_HTTP", environment))


def _is_true(name: str, environment: Mapping[str, str]) -> bool:
    """Return a variable that is a switch, False when it is not set; raises ConfigurationError for any other word."""
    text = environment.get(name, "").strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("", "false", "0", "no", "off"):
        return False
    raise ConfigurationError(f"{name}: must be true or false")


def _provider(keys: _Keys) -> Callable[[], S3Credential]:
    def credentials() -> S3Credential:
        return {
            "access_key_id": keys.key_id,
            "secret_access_key": keys.secret,
            "token": keys.token,
            "expires_at": None,
        }

    return credentials


def _keys(environment: Mapping[str, str]) -> _Keys | None:
    key_id, secret, token = (
        _value(name, environment) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    )
    if key_id is None and secret is None:
        path = environment.get("AWS_SHARED_CREDENTIALS_FILE")
        return _keys_of_file(path, environment.get("AWS_PROFILE") or "default") if path else None
    if key_id is None or secret is None:
        missing = "AWS_ACCESS_KEY_ID" if key_id is None else "AWS_SECRET_ACCESS_KEY"
        raise ConfigurationError(f"s3: {missing} is missing (or {missing}_FILE); its other half is set")
    return _Keys(key_id, secret, token)


def _keys_of_file(path: str, profile: str) -> _Keys:
    name = "AWS_SHARED_CREDENTIALS_FILE"
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(_file(name, path))
    except configparser.Error as error:
        # its own text quotes the line
        raise ConfigurationError(f"{name}: {path} is no file of profiles ({type(error).__name__})") from None
    section = parser[profile] if parser.has_section(profile) else None
    key_id, secret, token = (
        section.get(field, "").strip() if section is not None else ""
        for field in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    )
    if not key_id or not secret:
        raise ConfigurationError(
            f"{name}: {path} has no aws_access_key_id and aws_secret_access_key for the profile {profile!r}"
        )
    return _Keys(key_id, secret, token or None)


def _value(name: str, environment: Mapping[str, str]) -> str | None:
    """Return a variable or the content of the file it names, without the white space around it."""
    direct, path = environment.get(name, "").strip(), environment.get(f"{name}_FILE", "").strip()
    if direct and path:
        raise ConfigurationError(f"{name} and {name}_FILE are both set: unset one of them")
    if not path:
        return direct or None
    text = _file(f"{name}_FILE", path).strip()
    if not text:
        raise ConfigurationError(f"{name}_FILE: {path} is empty")
    return text


def _file(name: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}: {path} cannot be read ({type(error).__name__})") from None
    if len(content) > _FILE_BYTES_MAX:
        raise ConfigurationError(f"{name}: {path} is larger than {_FILE_BYTES_MAX} bytes")
    return text
