"""``trading-runtime argo``: manifests of the cluster rendered and checked, and sweeps sent to it.

Rendering, linting and checking a commit need no cluster and are here; what talks to one is in ``argo_cluster.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from trading_runtime.cli.argo_cluster import add_argo_settings, add_cluster_verbs
from trading_runtime.cli.arguments import Subparsers, add_verb, parse, print_json
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+\.git")


def add_parser(subparsers: Subparsers) -> None:
    """Register the group and its verbs."""
    group = add_verb(
        subparsers,
        "argo",
        "render and check the manifests of a cluster, send sweeps to it and follow them",
        "argo render",
        "argo lint",
        "argo submit --sweep-config examples/sweep/sma_cross.json --watch",
        "argo status",
    )
    verbs = group.add_subparsers(dest="argo_verb", metavar="VERB", required=True)
    parser = add_verb(
        verbs,
        "render",
        "write the manifests that the settings file describes",
        "argo render",
        "argo render --check",
        "argo render --set namespaces.live=trading-dev --set live.suspend=true --folder build/argo",
    )
    add_argo_settings(parser)
    parser.add_argument("--folder", metavar="DIR", help="where to write them (the folder of the settings file)")
    parser.add_argument(
        "--schedules-as",
        metavar="FILE",
        help="leave schedules suspended or not as FILE says: kubectl get cronworkflows --output json",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 3 when a manifest differs")
    parser.set_defaults(handler=_render)
    parser = add_verb(
        verbs,
        "lint",
        "say what Argo, Kubernetes or an account would refuse or regret, without a cluster",
        "argo lint",
        "argo lint build/argo --production",
        "argo lint argo/cronworkflow-live-cycle.yaml argo/workflowtemplate-live-cycle.yaml --json",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="manifests or folders of them (argo)")
    add_argo_settings(parser)
    parser.add_argument(
        "--production", action="store_true", help="judge as environment production, whatever the settings file says"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.set_defaults(handler=_lint)
    parser = add_verb(
        verbs,
        "check-source",
        "check that a repository and a commit are what an image may be built from",
        "argo check-source --repository https://github.com/owner/name.git --commit "
        "0123456789abcdef0123456789abcdef01234567",
    )
    parser.add_argument("--repository", required=True, metavar="URL", help="https://host/owner/name.git")
    parser.add_argument("--commit", required=True, metavar="SHA", help="the whole commit: 40 of 0-9 and a-f")
    parser.set_defaults(handler=_check_source)
    add_cluster_verbs(verbs)


def refusal(words: Sequence[str]) -> str | None:
    """Return why our own command would refuse a command line, in one line; None when it takes it."""
    from trading_runtime.cli.verbs import make_parser

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
            parse(make_parser(words), list(words))
    except SystemExit as exit_:
        if exit_.code:
            return " ".join(told.getvalue().split()).removeprefix("error: ")
    return None


def _render(arguments: argparse.Namespace) -> int:
    from trading_runtime.argo.render import differences, forgotten, read_suspended, render, write_manifests
    from trading_runtime.argo.settings import load_argo_settings

    path = Path(arguments.settings)
    settings = load_argo_settings(path, arguments.set)
    suspended = None if arguments.schedules_as is None else read_suspended(Path(arguments.schedules_as))
    texts = render(settings, path.parent, suspended)
    folder = Path(arguments.folder) if arguments.folder else path.parent
    changed = differences(texts, folder)
    if arguments.check:
        for line in changed:
            print(line)
        if changed:
            print(f"error: {len(changed)} manifest(s) differ: run `trading-runtime argo render`", file=sys.stderr)
            return EXIT_FINDING
        print(f"{len(texts)} manifests are what {path} renders to")
        return EXIT_DONE
    write_manifests(texts, folder)
    for namespace, name in forgotten(settings, suspended or {}):
        print(f"note: schedule {namespace}/{name} runs on: the settings have it no longer; delete it", file=sys.stderr)
    print(f"{len(texts)} manifests in {folder}, {len(changed)} of them changed")
    return EXIT_DONE


def _lint(arguments: argparse.Namespace) -> int:
    from trading_runtime.argo.lint.run import lint, manifest_files
    from trading_runtime.argo.settings import load_argo_settings

    path = Path(arguments.settings)
    is_production = arguments.production
    if not is_production:
        is_production = load_argo_settings(path, arguments.set).environment == "production"
    given = [Path(file) for file in arguments.files] or [path.parent]
    files = manifest_files(given)
    if not files:
        raise ConfigurationError(
            f"{', '.join(map(str, given))}: there is no manifest: run `trading-runtime argo render`"
        )
    checked = lint(files, refusal, is_production=is_production)
    if arguments.json:
        findings = [{"file": one.file, "path": one.path, "message": one.message} for one in checked.findings]
        print_json({"findings": findings, "files": checked.files, "documents": checked.documents})
    else:
        for finding in checked.findings:
            print(finding)
        if not checked.findings:
            print(f"nothing found in {checked.documents} documents of {checked.files} files")
    return EXIT_FINDING if checked.findings else EXIT_DONE


def _check_source(arguments: argparse.Namespace) -> int:
    if not _REPOSITORY.fullmatch(arguments.repository):
        raise ConfigurationError(
            f"--repository: {arguments.repository[:100]!r} is no https://host/owner/name.git without credentials"
        )
    if not _COMMIT.fullmatch(arguments.commit):
        raise ConfigurationError(
            f"--commit: {arguments.commit[:60]!r} is no commit: 40 of 0-9 and a-f; a branch or tag can move"
        )
    print(f"{arguments.repository}#{arguments.commit}")
    return EXIT_DONE
