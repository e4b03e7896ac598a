"""Every rule over every manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_runtime.argo.lint.commands import Refusal, commands
from trading_runtime.argo.lint.containers import containers
from trading_runtime.argo.lint.documents import Document, Finding, read_documents
from trading_runtime.argo.lint.objects import KUSTOMIZATION, duplicates, kustomizations, patch_paths, plain_object
from trading_runtime.argo.lint.promises import promises
from trading_runtime.argo.lint.references import references
from trading_runtime.argo.lint.rights import rights
from trading_runtime.argo.lint.safety import safety
from trading_runtime.argo.lint.shapes import misshapen
from trading_runtime.argo.lint.structure import structure
from trading_runtime.argo.lint.values import values
from trading_runtime.core.errors import ConfigurationError


@dataclass(frozen=True)
class Checked:
    """What a check found, and how much it looked at."""

    findings: list[Finding]
    files: int
    documents: int


def manifest_files(paths: Sequence[Path]) -> list[Path]:
    """Return the manifests among files and folders: a folder's YAML files that say what kind of object they hold.

    Raises ConfigurationError for a path that is not there, and for YAML that cannot be read.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*.yaml")):
                if any("kind" in one.body and "apiVersion" in one.body for one in read_documents(file)):
                    found.append(file)
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigurationError(f"{path}: there is no such file or folder")
    return list(dict.fromkeys(found))


def lint(files: Sequence[Path], refusal: Refusal, *, is_production: bool) -> Checked:
    """Return what is wrong with manifests that are applied together, in the order of the files.

    ``refusal`` is our own parser's word about a command line. A document whose fields are wrong is not looked at
    further: mend those first. Raises ConfigurationError for files that are no YAML.
    """
    patches = {path.parent / name for path in files if path.name == KUSTOMIZATION for name in _patches_of(path)}
    documents = [one for path in files for one in read_documents(path, is_patch=path in patches)]
    findings: list[Finding] = []
    wrong = {id(one): structure(one) if one.is_workflow else misshapen(one) for one in documents}
    sound = [one for one in documents if one.is_workflow and not wrong[id(one)]]
    for document in documents:
        if document.is_workflow:
            findings += wrong[id(document)] or _workflow(document, sound, refusal, is_production)
            if not wrong[id(document)] and not _rests_on_wrong(document, documents, sound):
                findings += references(document, sound)
        else:
            findings += wrong[id(document)] or plain_object(document)
    findings += duplicates(documents)
    findings += kustomizations([one for one in documents if one.kind != "Kustomization" or not wrong[id(one)]])
    findings += rights([one for one in documents if not wrong[id(one)]])
    place = {str(path): index for index, path in enumerate(files)}
    findings.sort(key=lambda one: place.get(one.file, -1))
    return Checked(list(dict.fromkeys(findings)), len(files), len(documents))


def _workflow(document: Document, sound: Sequence[Document], refusal: Refusal, is_production: bool) -> list[Finding]:
    found = [*values(document), *safety(document, sound, is_production=is_production)]
    return [*found, *containers(document), *promises(document, sound), *commands(document, refusal)]


def _rests_on_wrong(document: Document, documents: Sequence[Document], sound: Sequence[Document]) -> bool:
    """Whether a document refers to one whose fields are wrong: that one's findings come first."""
    names = {(reference or {}).get("name") for reference in _template_references(document)}
    return any(one.is_workflow and one.name in names and one not in sound and one is not document for one in documents)


def _template_references(document: Document) -> Iterator[Any]:
    yield document.spec.get("workflowTemplateRef")
    for _, template in document.templates():
        groups = [(template.get("dag") or {}).get("tasks") or [], *(template.get("steps") or [])]
        yield from (task.get("templateRef") for group in groups for task in group)


def _patches_of(path: Path) -> list[str]:
    return [name for document in read_documents(path) for name in patch_paths(document.body)]
