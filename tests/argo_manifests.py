"""Our own manifests as documents to plant mistakes in, and what checks them."""

import copy
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from trading_runtime.argo.lint.documents import Finding
from trading_runtime.argo.lint.run import lint
from trading_runtime.argo.render import render
from trading_runtime.argo.settings import load_argo_settings
from trading_runtime.cli import argo

ROOT = Path(__file__).resolve().parent.parent
ARGO = ROOT / "argo"
SETTINGS = ARGO / "settings.yaml"
DIGEST = "sha256:" + "ab" * 32
PRODUCTION = (
    "environment=production",
    f"image=ghcr.io/owner/trading-runtime@{DIGEST}",
    f"build.builder=docker.io/moby/buildkit@{DIGEST}",
)
Document = dict[str, Any]


@cache
def _texts(overrides: tuple[str, ...]) -> dict[str, str]:
    return render(load_argo_settings(SETTINGS, overrides), ARGO)


def texts(*overrides: str) -> dict[str, str]:
    return dict(_texts(overrides))


@cache
def _documents(overrides: tuple[str, ...]) -> dict[str, Document]:
    return {path: yaml.safe_load(text) for path, text in _texts(overrides).items()}


def documents(*overrides: str) -> dict[str, Document]:
    return copy.deepcopy(_documents(overrides))


def workflows(*overrides: str) -> dict[str, Document]:
    found = documents(*overrides)
    return {path: body for path, body in found.items() if "/" not in path and path != "kustomization.yaml"}


def template(document: Document, name: str) -> Document:
    return next(one for one in document["spec"]["templates"] if one["name"] == name)


def parsed(words: Sequence[str]) -> str | None:
    """Our own parser's word."""
    return argo.refusal(words)


def accept(words: Sequence[str]) -> str | None:
    """For tests of other rules: parsing every command of every manifest takes its time."""
    return None


def check(
    folder: Path,
    found: dict[str, Document],
    *,
    is_production: bool = False,
    refusal: Callable[[Sequence[str]], str | None] = accept,
) -> list[Finding]:
    paths = []
    for name, body in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(body, sort_keys=False))
        paths.append(path)
    return lint(paths, refusal, is_production=is_production).findings
