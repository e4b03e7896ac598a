"""Whether a workflow's fields exist and have the right types: hera's models of Argo's API, strict and closed."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Sequence
from typing import Any

from trading_runtime.argo.lint.documents import Document, Finding
from trading_runtime.argo.models import forbid_unknown_fields
from trading_runtime.core.errors import nearest_name

API_VERSION = "argoproj.io/v1alpha1"
# Fields that Argo 4.0 removed, and what took their place.
_REMOVED = {
    "schedule": "removed in Argo 4.0: use schedules, a list",
    "mutex": "removed in Argo 4.0: use mutexes, a list",
    "semaphore": "removed in Argo 4.0: use semaphores, a list",
    "podPriority": "removed in Argo 4.0: use podPriorityClassName",
}


def structure(document: Document) -> list[Finding]:
    """Return what is wrong with the fields of a workflow document: unknown, of another type, missing."""
    forbid_unknown_fields()
    from hera.workflows import models
    from pydantic import ValidationError

    if document.body.get("apiVersion") != API_VERSION:
        return [document.finding("apiVersion", f"must be {API_VERSION}, not {document.body.get('apiVersion')!r}")]
    model = getattr(models, document.kind)
    try:
        model.model_validate_json(json.dumps(document.body, default=str), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        found: dict[str, Finding] = {}
        for one in error.errors():
            place = [part for part in one["loc"] if isinstance(part, int) or not _is_branch(part)]
            if one["type"] == "string_type" and _is_quantity(place, one.get("input")):
                continue
            path = _path_text(place, document.body)
            found.setdefault(path, document.finding(path, _message(model, place, one)))
        return list(found.values())
    return []


def _message(model: Any, place: Sequence[int | str], error: Any) -> str:
    if error["type"] == "extra_forbidden":
        name = str(place[-1])
        if name in _REMOVED:
            return _REMOVED[name]
        near = nearest_name(name, _fields(model, place[:-1]))
        return "there is no such field" + (f"; did you mean {near}?" if near else "")
    if error["type"] == "missing":
        return "is missing"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, not {json.dumps(error.get('input'), default=str)[:60]}"


def _fields(model: Any, place: Sequence[int | str]) -> list[str]:
    """Return the fields that a place of a model may have."""
    kind: Any = model
    for part in place:
        if isinstance(part, int):
            continue
        known = getattr(kind, "model_fields", {})
        for name, info in known.items():
            if part in (info.alias, name):
                kind = _inner(info.annotation)
                break
        else:
            return []
    return [info.alias or name for name, info in getattr(kind, "model_fields", {}).items()]


def _inner(annotation: Any) -> Any:
    """Return the model inside Optional, List and the like."""
    while typing.get_origin(annotation) is not None:
        arguments = [one for one in typing.get_args(annotation) if one is not types.NoneType]
        annotation = arguments[-1] if arguments else None
    return annotation


def _is_branch(part: str) -> bool:
    """Whether pydantic added a part of a place to say which member of a union it means."""
    return part in ("int", "str", "float", "bool", "root") or "[" in part or part[:1].isupper()


def _is_quantity(place: Sequence[int | str], value: Any) -> bool:
    """Whether a number stands where the API takes a quantity, as a text or as a number."""
    return isinstance(value, (int, float)) and any(part in ("limits", "requests") for part in place)


def _path_text(place: Sequence[int | str], body: Any) -> str:
    """Return a place as people find it: what is in a list by its name, if it has one."""
    text = ""
    for part in place:
        if isinstance(part, int):
            body = body[part] if isinstance(body, list) and part < len(body) else None
            text += f"[{body['name'] if isinstance(body, dict) and 'name' in body else part}]"
        else:
            body = body.get(part) if isinstance(body, dict) else None
            text += f".{part}" if text else part
    return text
