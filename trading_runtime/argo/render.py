"""All manifests as texts by path, the same bytes on every machine; writing them and telling which differ.

Layout: ``*.yaml`` workflows, with a kustomization of their own; ``base/`` plain objects; ``overlays/CLUSTER/`` what
differs on a kind of cluster. One document a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from trading_runtime.argo.access import Document
from trading_runtime.argo.settings import SETTINGS_NAME, ArgoSettings
from trading_runtime.core.errors import ConfigurationError, OutputError

_HEADER = "# Generated from {source} by `trading-runtime argo render`: edit that file, not this one.\n"
_KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
# Whether a CronWorkflow is suspended, by its namespace and name.
Suspended = Mapping[tuple[str, str], bool]


def render(settings: ArgoSettings, folder: Path, suspended: Suspended | None = None) -> dict[str, str]:
    """Return the text of every manifest by its path, relative to the output folder. ``folder`` is that of the settings
    file; CronWorkflows among ``suspended`` are as said there, whatever the settings say. Raises ConfigurationError for
    a cycle's configuration that is wrong.
    """
    from trading_runtime.argo.cluster import base_objects, overlay_patches

    texts: dict[str, str] = {}
    workflows = {_file_name(document): document for document in workflow_documents(settings)}
    for document in workflows.values():
        place = document["metadata"]["namespace"], document["metadata"]["name"]
        if document["kind"] == "CronWorkflow" and suspended and place in suspended:
            document["spec"]["suspend"] = suspended[place]
    _add_folder(texts, "", workflows, {"resources": sorted(workflows)})
    base = {_file_name(document): document for document in base_objects(settings, folder)}
    _add_folder(texts, "base/", base, {"resources": sorted(base)})
    for name in sorted(settings.clusters):
        patches = {_file_name(document): document for document in overlay_patches(settings, settings.clusters[name])}
        kustomization = {"resources": ["../../base"], "patches": [{"path": path} for path in sorted(patches)]}
        _add_folder(texts, f"overlays/{name}/", patches, kustomization)
    return texts


def workflow_documents(settings: ArgoSettings) -> list[Document]:
    """Return the WorkflowTemplates and CronWorkflows as plain documents."""
    from trading_runtime.argo.image import build_image
    from trading_runtime.argo.live import build_live, build_live_cron, build_look, build_look_cron
    from trading_runtime.argo.sweep import build_sweep

    built = [build_sweep(settings), build_image(settings), build_live(settings), build_live_cron(settings)]
    for verb in ("watch", "reconcile"):
        built += [build_look(settings, verb), build_look_cron(settings, verb)]
    return [workflow.to_dict() for workflow in built]


def read_suspended(path: Path) -> dict[tuple[str, str], bool]:
    """Return which CronWorkflows of a cluster are suspended, from what ``kubectl get cronworkflows --output json``
    prints. Raises ConfigurationError for anything else: taken for "no schedule", it would stop one that trades.
    """
    try:
        told = json.loads(path.read_bytes())
        if told["kind"] != "List" and told["kind"] != "CronWorkflowList":
            raise ValueError
        found = {}
        for item in told["items"]:
            is_suspended = item["spec"].get("suspend") or False  # Argo's default
            if item["kind"] != "CronWorkflow" or not isinstance(is_suspended, bool):
                raise ValueError
            found[str(item["metadata"]["namespace"]), str(item["metadata"]["name"])] = is_suspended
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ConfigurationError(
            f"{path}: is not what `kubectl get cronworkflows --namespace NAMESPACE --output json` prints"
        ) from None
    return found


def forgotten(settings: ArgoSettings, suspended: Suspended) -> list[tuple[str, str]]:
    """Return the schedules that run on the cluster and that the settings have no longer, by namespace and name."""
    names = {settings.live.name, settings.watch.name, settings.reconcile.name}
    known = {(settings.namespaces.live, name) for name in names}
    return sorted(place for place, is_suspended in suspended.items() if not is_suspended and place not in known)


def differences(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Return one line for each manifest of ``folder`` that is missing, differs, or is generated no longer."""
    found = []
    for path, text in texts.items():
        try:
            content = (folder / path).read_bytes()
        except OSError:
            found.append(f"{folder / path}: is missing")
            continue
        if content != text.encode():
            found.append(f"{folder / path}: is not what the settings render to")
    found += [f"{folder / path}: is generated no longer" for path in _left_over(texts, folder)]
    return found


def write_manifests(texts: Mapping[str, str], folder: Path) -> None:
    """Write all manifests and remove generated ones that are no longer; raises OutputError when that is impossible."""
    from trading_runtime.data.atomic import write_together

    write_together([(folder / path, text.encode()) for path, text in texts.items()])
    for path in _left_over(texts, folder):
        try:
            (folder / path).unlink()
        except OSError as error:
            raise OutputError(f"{folder / path}: cannot be removed: {error.strerror or error}") from error


def to_yaml(document: object) -> str:
    """Return a document as YAML: keys in the order they have, texts of several lines as blocks."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes no aliases, which kubectl would read and people would not."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    found: str = yaml.dump(document, Dumper=Dumper, sort_keys=False, width=200, allow_unicode=True)
    return found


def _add_folder(texts: dict[str, str], prefix: str, documents: Mapping[str, Document], kustomization: Document) -> None:
    header = _HEADER.format(source="../" * prefix.count("/") + SETTINGS_NAME)
    for name in sorted(documents):
        texts[prefix + name] = header + to_yaml(documents[name])
    texts[f"{prefix}kustomization.yaml"] = header + to_yaml({**_KUSTOMIZATION, **kustomization})


def _file_name(document: Document) -> str:
    metadata = document["metadata"]
    kind = document["kind"].lower()
    if document["apiVersion"].startswith("argoproj.io"):
        return f"{kind}-{metadata['name']}.yaml"
    return "-".join([kind, *([metadata["namespace"]] if "namespace" in metadata else []), metadata["name"]]) + ".yaml"


def _left_over(texts: Mapping[str, str], folder: Path) -> list[str]:
    """Return the files below ``folder`` that carry our header and are not among ``texts``."""
    first = _HEADER.partition("{")[0]
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        name = PurePosixPath(path.relative_to(folder)).as_posix()
        if name in texts or not path.is_file():
            continue
        if path.read_bytes()[: len(first)] == first.encode():
            found.append(name)
    return found
