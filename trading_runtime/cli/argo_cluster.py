"""The verbs of ``trading-runtime argo`` that talk to a cluster: submit, status, fetch-results.

Exit 0: submitted, there already, or succeeded when watched; 3: a watched or asked workflow failed; 75: the API server
or the store is not to be reached; 77: it refused. A failed pod is no failed sweep: what is missing, ``gather`` says.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json, table
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError, TradingRuntimeError
from trading_runtime.sweep.shards import SHARDS_MAX

if TYPE_CHECKING:
    from trading_runtime.argo.client import Cluster
    from trading_runtime.argo.settings import ArgoSettings
    from trading_runtime.argo.submit import Progress
    from trading_runtime.sweep.shards import Sizing

_SETTINGS_DEFAULT = "argo/settings.yaml"
_RESULTS_DEFAULT = "results/sweeps"
DRY_STORE = "memory://dry-run"


def add_cluster_verbs(verbs: Subparsers) -> None:
    """Register the verbs."""
    parser = add_verb(
        verbs,
        "submit",
        "run a sweep on the cluster; submitting it twice is one sweep",
        "argo submit --sweep-config examples/sweep/sma_cross.json --dry-run server",
        "argo submit --sweep-config examples/sweep/sma_cross.json --watch",
        "argo submit --sweep 0123456789abcdef --shards 16",
        "argo submit --sweep 0123456789abcdef --again",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--sweep-config", metavar="FILE", help="a sweep's configuration: it is planned into the store first"
    )
    what.add_argument("--sweep", metavar="ID", help="a sweep that is planned already")
    parser.add_argument(
        "--shards", type=_count, metavar="N", help="pods (as many as give each about ten minutes; with Optuna one)"
    )
    parser.add_argument(
        "--dry-run",
        choices=("server",),
        help="let the API server check everything and keep nothing, neither there nor in the store",
    )
    parser.add_argument("--again", action="store_true", help="the run of this sweep has ended: compute what is missing")
    parser.add_argument("--watch", action="store_true", help="show progress until it has ended")
    parser.add_argument("--json", action="store_true", help="print JSON: a document for every line of progress")
    _add_cluster(parser)
    _add_store(parser)
    parser.set_defaults(handler=_submit)
    parser = add_verb(
        verbs,
        "status",
        "show how far the sweeps of the cluster are",
        "argo status",
        "argo status --sweep 0123456789abcdef --watch",
    )
    parser.add_argument("--sweep", metavar="ID", help="this sweep only; exit with 3 when its newest run failed")
    parser.add_argument("--watch", action="store_true", help="with --sweep: show progress until it has ended")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_cluster(parser)
    parser.set_defaults(handler=_status)
    parser = add_verb(
        verbs,
        "fetch-results",
        "copy the gathered results of a sweep from the object store",
        "argo fetch-results --sweep 0123456789abcdef",
        "argo fetch-results --sweep 0123456789abcdef --folder results/mine --store s3://bucket/sweeps",
    )
    parser.add_argument("--sweep", required=True, metavar="ID", help="the sweep")
    parser.add_argument("--folder", metavar="DIR", help=f"where to ({_RESULTS_DEFAULT}/ID)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    add_argo_settings(parser)
    _add_store(parser)
    parser.set_defaults(handler=_fetch_results)


def _submit(arguments: argparse.Namespace) -> int:
    from trading_runtime.argo.settings import load_argo_settings

    settings = load_argo_settings(Path(arguments.settings), arguments.set)
    store = arguments.store or settings.sweep.store.address
    with _as_the_pods_reach(settings, store):
        return _submit_to(settings, store, arguments)


def _submit_to(settings: ArgoSettings, store: str, arguments: argparse.Namespace) -> int:
    from trading_runtime.argo.submit import check_sweep_id, submit

    if store != settings.sweep.store.address:
        print(
            f"note: the pods read {settings.sweep.store.address}, not {store}: both must be one store", file=sys.stderr
        )
    cluster = _cluster(arguments, settings)  # first: without a cluster there is nothing to plan for
    if arguments.sweep is not None:
        sweep, cell_seconds = check_sweep_id(arguments.sweep), None
    else:
        _check_search(Path(arguments.sweep_config), arguments.shards)  # before anything is written
        # A dry run plans into this process's memory: the id and the cells are the same anywhere.
        planned_in = DRY_STORE if arguments.dry_run else store
        sweep, cell_seconds = _planned(arguments.sweep_config, planned_in, has_to_measure=arguments.shards is None)
        if arguments.dry_run:
            _ask(store, sweep)
            store = planned_in
    sizing = _sizing(settings, store, sweep, cell_seconds, arguments.shards)
    if arguments.dry_run:
        done = submit(cluster, settings, sweep, sizing.shards, is_again=arguments.again, is_dry_run=True)
        said = "would be created" if done.is_new else "is there already"
        if arguments.json:
            print_json({"name": done.progress.name, "would_create": done.is_new, "shards": sizing.shards})
        else:
            print(f"{done.progress.name}: {said}: {sizing}; nothing was kept")
        return EXIT_DONE
    done = submit(cluster, settings, sweep, sizing.shards, is_again=arguments.again)
    if not arguments.json:
        said = f"created: {sizing}" if done.is_new else "this sweep is there already; nothing was created"
        print(f"{done.progress.name}: {said}", flush=True)
        if not done.is_new and done.progress.is_ended and not done.progress.has_succeeded:
            print("it has ended without success: --again computes what is missing", flush=True)
    if arguments.watch:
        last = _followed(cluster, done.progress, arguments.json)
        if last.has_succeeded and not arguments.json:
            print(f"its results: `trading-runtime argo fetch-results --sweep {sweep}`")
        return _exit_code(last)
    if arguments.json:
        print_json({**done.progress.to_json(), "created": done.is_new, "shards": sizing.shards})
    elif not done.progress.is_ended:
        print(f"how far it is: `trading-runtime argo status --sweep {sweep} --watch`")
    return EXIT_DONE


def _status(arguments: argparse.Namespace) -> int:
    from trading_runtime.argo.settings import load_argo_settings
    from trading_runtime.argo.submit import SWEEP_LABEL, SWEEPS, check_sweep_id, progress_of

    if arguments.watch and arguments.sweep is None:
        raise ConfigurationError("--watch follows one sweep: name it by --sweep")
    settings = load_argo_settings(Path(arguments.settings), arguments.set)
    cluster = _cluster(arguments, settings)
    labels = SWEEPS if arguments.sweep is None else f"{SWEEPS},{SWEEP_LABEL}={check_sweep_id(arguments.sweep)}"
    found = sorted((progress_of(one) for one in cluster.workflows(labels)), key=lambda one: (one.started, one.name))
    if arguments.sweep is not None and not found:
        raise ConfigurationError(
            f"namespace {cluster.namespace} has no run of sweep {arguments.sweep}: `argo submit` it"
        )
    if arguments.watch:
        return _exit_code(_followed(cluster, found[-1], arguments.json))
    if arguments.json:
        print_json([one.to_json() for one in found])
    elif not found:
        print(f"no sweep in namespace {cluster.namespace}")
    else:
        rows = [["workflow", "phase", "pods", "started", "finished", "message"]]
        rows += [
            [one.name, one.phase, f"{one.done}/{one.planned}", one.started, one.finished, one.message] for one in found
        ]
        print(table(rows))
    return EXIT_DONE if arguments.sweep is None else _exit_code(found[-1])


def _fetch_results(arguments: argparse.Namespace) -> int:
    from trading_runtime.argo.results import fetch_results
    from trading_runtime.argo.settings import load_argo_settings
    from trading_runtime.argo.submit import check_sweep_id
    from trading_runtime.objects.open import open_objects

    sweep = check_sweep_id(arguments.sweep)
    if arguments.store is not None:
        store = open_objects(arguments.store, os.environ)
    else:
        settings = load_argo_settings(Path(arguments.settings), arguments.set)
        with _as_the_pods_reach(settings, settings.sweep.store.address):
            store = open_objects(settings.sweep.store.address, os.environ)
    folder = Path(arguments.folder) if arguments.folder else Path(_RESULTS_DEFAULT) / sweep
    fetched = fetch_results(store, sweep, folder)
    counts = fetched.sweep.get("counts") or {}
    if arguments.json:
        told = {"folder": str(fetched.folder), "files": fetched.files, "written": fetched.written, "counts": counts}
        print_json({**told, "root_digest": fetched.sweep.get("root_digest")})
    else:
        print(f"{len(fetched.files)} file(s) in {fetched.folder}, {fetched.written} of them new")
        print(f"root digest {fetched.sweep.get('root_digest')}")
        missing = {name: counts[name] for name in ("missing", "failed", "corrupt") if counts.get(name)}
        if missing:
            print("incomplete: " + ", ".join(f"{number} {name}" for name, number in missing.items()))
    return EXIT_DONE


def _ask(store: str, sweep: str) -> None:
    """Read from the store, so that a dry run also says that it does not answer or refuses; nothing is written."""
    from trading_runtime.objects.open import open_objects
    from trading_runtime.sweep.spec import spec_key

    open_objects(store, os.environ).exists(spec_key(sweep))


@contextmanager
def _as_the_pods_reach(settings: ArgoSettings, store: str) -> Iterator[None]:
    """Reach the store of the settings from here as the pods do, as far as the environment does not say otherwise:
    without its endpoint an S3 server of one's own would be looked for at Amazon.
    """
    from trading_runtime.argo.settings import ENDPOINTS

    variables = settings.sweep.store.variables if store == settings.sweep.store.address else {}
    added = {name: value for name, value in variables.items() if name not in os.environ}
    if any(name in os.environ for name in ENDPOINTS):  # one of three names is enough to say where
        added = {name: value for name, value in added.items() if name not in ENDPOINTS}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _check_search(config: Path, shards: int | None) -> None:
    from trading_runtime.sweep.settings import load_sweep
    from trading_runtime.sweep.shards import refuse_shards_of_learning

    if not config.exists():
        raise ConfigurationError(f"{config}: there is no such file: --sweep-config names a sweep's configuration")
    if load_sweep(config).settings.search.kind == "optuna":
        refuse_shards_of_learning(shards)


def _planned(config: str, store: str, *, has_to_measure: bool) -> tuple[str, float | None]:
    """Plan a sweep into the store by the verb that does it; return its id and a cell's seconds of processor time."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep-id"
        words = ["sweep", "plan", "--config", config, "--store", store, "--id-file", str(path), "--json"]
        told = _run_verb([*words, "--measure"] if has_to_measure else words)
        sweep = path.read_text(encoding="utf-8").strip()
    seconds: float | None = (told["measured"] or {}).get("cpu_seconds_per_cell")
    return sweep, seconds


def _run_verb(words: Sequence[str]) -> Any:
    """Run another verb of this command and return the JSON it prints; what it tells people goes to standard error."""
    import json

    from trading_runtime.cli.arguments import parse
    from trading_runtime.cli.verbs import make_parser

    told = StringIO()
    arguments = parse(make_parser(words), words)
    with redirect_stdout(told):
        code = arguments.handler(arguments)
    if code != EXIT_DONE:
        print(told.getvalue(), file=sys.stderr, end="")
        raise TradingRuntimeError(f"{' '.join(words[:2])} ended with exit code {code}: the sweep was not submitted")
    return json.loads(told.getvalue())


def _sizing(settings: ArgoSettings, address: str, sweep: str, cell_seconds: float | None, wanted: int | None) -> Sizing:
    """Return how a planned sweep is shared among pods; its number of cells is read from the store."""
    from trading_runtime.objects.open import open_objects
    from trading_runtime.sweep.shards import Sizing, refuse_shards_of_learning, size_shards
    from trading_runtime.sweep.spec import read_content

    content = read_content(open_objects(address, os.environ), sweep)
    cells = int(content["space"]["combinations"]) * len(content["periods"])
    if content["search"]["kind"] == "optuna":
        refuse_shards_of_learning(wanted)
        return Sizing(1, cells, None, is_learning=True)
    if wanted is None and cell_seconds is None:
        wanted = min(settings.sweep.shards, cells)
    return size_shards(
        cells,
        cell_seconds,
        workers=settings.sweep.workers,
        wanted=wanted,
        deadline_seconds=settings.sweep.shard_seconds,
    )


def _cluster(arguments: argparse.Namespace, settings: ArgoSettings) -> Cluster:
    from trading_runtime.argo.client import open_cluster

    kubeconfig = None if arguments.kubeconfig is None else Path(arguments.kubeconfig)
    return open_cluster(settings.namespaces.research, kubeconfig=kubeconfig, context=arguments.context)


def _followed(cluster: Cluster, progress: Progress, is_json: bool) -> Progress:
    """Show a workflow's progress until it ends. Whoever stops looking stops nothing."""
    from trading_runtime.argo.submit import follow

    try:
        return follow(cluster, progress.name, _show(is_json))
    except KeyboardInterrupt:
        print(f"{progress.name} goes on without being watched", file=sys.stderr)
        raise


def _show(is_json: bool) -> Any:
    import json

    def show(progress: Progress) -> None:
        if is_json:
            print(json.dumps(progress.to_json(), ensure_ascii=False), flush=True)
            return
        message = f": {progress.message}" if progress.message else ""
        print(f"{progress.name}: {progress.phase}, {progress.done}/{progress.planned} pods{message}", flush=True)

    return show


def _exit_code(progress: Progress) -> int:
    return EXIT_FINDING if progress.is_ended and not progress.has_succeeded else EXIT_DONE


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    add_argo_settings(parser)
    parser.add_argument("--kubeconfig", metavar="FILE", help="how to reach the cluster ($KUBECONFIG, ~/.kube/config)")
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig (its current one)")


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", metavar="ADDRESS", help="the object store (sweep.store.address of the settings)")


def add_argo_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the settings of manifests."""
    parser.add_argument(
        "--settings", default=_SETTINGS_DEFAULT, metavar="FILE", help=f"settings of the manifests ({_SETTINGS_DEFAULT})"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting; may be given several times",
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= SHARDS_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {SHARDS_MAX}, not {text[:20]!r}")
    return int(text)
