"""What an error of the object-store library means: not there, there already, try again, or tell a person.

The library says most of it in texts only, which also hold whole answers of the server: request signatures, key ids,
what somebody put into an error page. Nothing of them is passed on but the status, the server's one-word code and the
kind.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal["missing", "exists", "temporary", "permanent"]

_STATUS = re.compile(r"status code: (\d{3})")
# What S3 and Google's XML interface name their errors; the same words in both.
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_CONNECTION = re.compile(r"HttpError \{\s*kind: ([A-Za-z]+)")
_CERTIFICATE = re.compile(r"invalid peer certificate|UnknownIssuer|CertificateError|certificate verify failed")
# The address of instances at every large provider, and Google's name for it: where credentials come from.
_METADATA = re.compile(r"https?://(?:169\.254\.\d+\.\d+|metadata(?:\.google\.internal)?)[:/]")
_CREDENTIALS = re.compile(r"token file|service account file|External \w+ credential provider|ApplicationCredentials")
_TEMPORARY_STATUS = frozenset({408, 409, 425, 429})
_TEMPORARY_CODES = frozenset({"RequestTimeout", "SlowDown", "Throttling", "OperationAborted", "InternalError"})
_SKEW = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _PRECONDITION, _NOT_IMPLEMENTED = 401, 403, 404, 412, 501
_REDIRECTS, _SERVER_ERRORS = range(300, 400), range(500, 600)
_KINDS = {
    "Connect": "no connection",
    "Timeout": "no answer in time",
    "Interrupted": "the answer was cut short",
    "Request": "the connection was cut",
}


class Failure(NamedTuple):
    """``text`` is for people, without secrets."""

    kind: Kind
    text: str


def failure_of(error: Exception) -> Failure:
    """Return what an exception of the library means. Whatever is not understood is temporary: it is tried again, a
    limited number of times, and then told.
    """
    message = str(error)
    found_status, found_code = _STATUS.search(message), _CODE.search(message)
    status = int(found_status[1]) if found_status else None
    code = found_code[1] if found_code else ""
    if code == "NoSuchBucket":
        return Failure("permanent", "there is no such bucket; create it, or correct the address")
    if isinstance(error, FileNotFoundError):
        return Failure("missing", "there is no such object")
    # 409 as well, which says that another writer was under way: whoever asks looks whether something is there.
    if type(error).__name__ in ("AlreadyExistsError", "PreconditionError"):
        return Failure("exists", "there is one already")
    if status is not None:
        return _of_status(status, code, message)
    if "redirect without LOCATION" in message or "BareRedirect" in message:
        return Failure("permanent", "the bucket lies in another region; set AWS_REGION")
    return _of_connection(error, message)


def _of_status(status: int, code: str, message: str) -> Failure:
    said = f"{status} {code}".rstrip()
    if _METADATA.search(message) and status not in _SERVER_ERRORS:
        return Failure("permanent", f"there are no credentials: none are set, and this machine gives none ({said})")
    if code in _SKEW:
        return Failure("permanent", f"this machine's clock is wrong ({said})")
    if code in _TEMPORARY_CODES or status in _TEMPORARY_STATUS:
        return Failure("temporary", f"answered {said}")
    if status in _SERVER_ERRORS and status != _NOT_IMPLEMENTED:
        return Failure("temporary", f"answered {said}")
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return Failure("permanent", f"the credentials are wrong or do not allow this ({said})")
    if status in _REDIRECTS:
        return Failure("permanent", f"the bucket lies elsewhere ({said}); set AWS_REGION or the endpoint")
    return Failure("permanent", f"refused the request ({said})")


def _of_connection(error: Exception, message: str) -> Failure:
    if _CERTIFICATE.search(message):
        return Failure("permanent", "its certificate is not trusted; AWS_CA_BUNDLE names the authority's")
    if _METADATA.search(message):
        return Failure("temporary", "no credentials are set, and the machine's source of them does not answer")
    if "google.auth.exceptions.TransportError" in message:
        return Failure("temporary", "the source of credentials does not answer")
    if type(error).__name__ == "UnauthenticatedError" or _CREDENTIALS.search(message):
        return Failure("permanent", "the credentials cannot be used; check the variables and files that hold them")
    connection = _CONNECTION.search(message)
    return Failure("temporary", _KINDS.get(connection[1] if connection else "", "an answer that makes no sense"))
