"""Manifests as plain documents with their file, findings with their place, and the parts of a workflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trading_runtime.core.errors import ConfigurationError

WORKFLOW_KINDS = ("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow")
_FILE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong: the file, the path inside its document, what and why."""

    file: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.message}" if self.path else f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Document:
    """One document of a file."""

    file: Path
    body: dict[str, Any] = field(repr=False)
    is_patch: bool = False

    @property
    def kind(self) -> str:
        return str(self.body.get("kind", ""))

    @property
    def name(self) -> str:
        metadata = self.body.get("metadata")
        return str(metadata.get("name") or metadata.get("generateName") or "") if isinstance(metadata, dict) else ""

    @property
    def namespace(self) -> str:
        metadata = self.body.get("metadata")
        return str(metadata.get("namespace") or "") if isinstance(metadata, dict) else ""

    @property
    def is_workflow(self) -> bool:
        return self.kind in WORKFLOW_KINDS and str(self.body.get("apiVersion", "")).startswith("argoproj.io/")

    @property
    def spec_path(self) -> str:
        return "spec.workflowSpec" if self.kind == "CronWorkflow" else "spec"

    @property
    def spec(self) -> dict[str, Any]:
        """The specification of the workflow; that of what is started, for a CronWorkflow."""
        found: dict[str, Any] = self.body.get("spec") or {}
        return found.get("workflowSpec") or {} if self.kind == "CronWorkflow" else found

    def templates(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the path and body of every template."""
        for template in self.spec.get("templates") or []:
            yield f"{self.spec_path}.templates[{template.get('name', '?')}]", template

    def finding(self, path: str, message: str) -> Finding:
        return Finding(str(self.file), path, message)


def read_documents(path: Path, *, is_patch: bool = False) -> list[Document]:
    """Return the documents of a file; raises ConfigurationError in one line when it is no YAML of documents."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values; a key given twice is an error, as for the API server."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
            return super().construct_mapping(node, deep=deep)

    try:
        content = path.read_bytes()
        if len(content) > _FILE_BYTES_MAX:
            raise ConfigurationError(f"{path}: is larger than {_FILE_BYTES_MAX} bytes; is it a manifest?")
        bodies = list(yaml.load_all(content.decode("utf-8"), Loader=Loader))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    found = []
    for body in bodies:
        if body is None:
            continue
        if not isinstance(body, dict):
            raise ConfigurationError(f"{path}: holds {type(body).__name__}, not a manifest")
        found.append(Document(path, _without_nulls(body), is_patch))
    return found


def strings(value: Any, path: str, leave_out: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the path and text of every text inside a value; keys of the top level in ``leave_out`` are not entered."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in leave_out:
                yield from strings(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            name = inner.get("name", index) if isinstance(inner, dict) else index
            yield from strings(inner, f"{path}[{name}]")


def _without_nulls(value: Any) -> Any:
    """Return a value without keys that say null: for the API server those are not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
