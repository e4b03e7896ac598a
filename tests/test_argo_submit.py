"""Sending sweeps to a cluster, against a server on loopback that keeps custom objects as Kubernetes does."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from argo_manifests import ROOT, SETTINGS, template, workflows
from argo_server import ApiServer, api_server
from hypothesis import given
from hypothesis import strategies as st

from trading_runtime.argo.client import AlreadyThere, Cluster, open_cluster
from trading_runtime.argo.results import fetch_results
from trading_runtime.argo.settings import ArgoSettings, load_argo_settings
from trading_runtime.argo.shards import SHARD_SECONDS, SHARDS_MAX, size_shards
from trading_runtime.argo.submit import follow, progress_of, submit, sweep_workflow
from trading_runtime.cli import verbs
from trading_runtime.cli.main import main
from trading_runtime.core.errors import ConfigurationError, DataError, TemporaryError
from trading_runtime.objects.open import open_objects

SWEEP = "0123456789abcdef"
NAME = f"backtest-{SWEEP}"
NAMESPACE = "trading-research"


@pytest.fixture(autouse=True)
def _verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("argo", "sweep"):
        if name not in verbs.VERBS:
            monkeypatch.setitem(verbs.VERBS, name, name)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Cluster:
    return open_cluster(NAMESPACE, kubeconfig=server.kubeconfig(tmp_path), environment={}, wait=lambda seconds: None)


@pytest.fixture(scope="module")
def settings() -> ArgoSettings:
    return load_argo_settings(SETTINGS)


# --- submitting


def test_submitting_twice_is_one_sweep(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    first, second = submit(cluster, settings, SWEEP, 4), submit(cluster, settings, SWEEP, 8)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.progress.name == second.progress.name == NAME
    assert list(server.workflows) == [(NAMESPACE, NAME)]
    kept = server.workflows[NAMESPACE, NAME]
    assert kept["spec"]["arguments"]["parameters"][1] == {"name": "shards", "value": "4"}


def test_what_is_submitted_names_an_entrypoint_and_parameters_that_the_template_has() -> None:
    rendered = workflows()["workflowtemplate-backtest.yaml"]
    spec = sweep_workflow(load_argo_settings(SETTINGS), SWEEP, 3)["spec"]
    assert spec["workflowTemplateRef"]["name"] == rendered["metadata"]["name"]
    assert template(rendered, spec["entrypoint"])["dag"]["tasks"]
    declared = {one["name"] for one in rendered["spec"]["arguments"]["parameters"]}
    assert {one["name"] for one in spec["arguments"]["parameters"]} <= declared
    assert all(isinstance(one["value"], str) for one in spec["arguments"]["parameters"])


def test_submissions_at_once_make_one_workflow(server: ApiServer, tmp_path: Path, settings: ArgoSettings) -> None:
    kubeconfig = server.kubeconfig(tmp_path)
    made: list[bool] = []

    def one() -> None:
        mine = open_cluster(NAMESPACE, kubeconfig=kubeconfig, environment={}, wait=lambda seconds: None)
        made.append(submit(mine, settings, SWEEP, 4).is_new)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]


def test_a_lost_answer_makes_no_second_workflow(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    server.faults = ["fine", "lost"]  # the question what is there, then the creation
    done = submit(cluster, settings, SWEEP, 4)
    assert done.progress.name == NAME
    assert not done.is_new  # nobody can tell whose it is; it is there once
    assert len(server.workflows) == 1
    assert sum(request.startswith("POST") for request in server.requests) == 2


def test_a_server_that_is_not_well_is_asked_again_and_not_for_ever(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    server.faults = [503, "drop", 429]
    assert submit(cluster, settings, SWEEP, 4).is_new
    server.faults = [500] * 9
    with pytest.raises(TemporaryError, match="answered 500, 4 times"):
        cluster.get(NAME)
    assert len(server.faults) == 5


def test_a_server_that_is_gone_is_temporary(server: ApiServer, tmp_path: Path) -> None:
    kubeconfig = server.kubeconfig(tmp_path)
    document = yaml.safe_load(kubeconfig.read_text())
    server.server.server_close()
    document["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    kubeconfig.write_text(yaml.safe_dump(document))
    gone = open_cluster(NAMESPACE, kubeconfig=kubeconfig, environment={}, wait=lambda seconds: None)
    with pytest.raises(TemporaryError, match="did not answer"):
        gone.get(NAME)


def test_wrong_credentials_are_told_once_and_never_shown(server: ApiServer, tmp_path: Path) -> None:
    mine = open_cluster(NAMESPACE, kubeconfig=server.kubeconfig(tmp_path, "stolen-token"), environment={})
    with pytest.raises(ConfigurationError, match=r"refused \(401\): Unauthorized; renew the credentials") as refused:
        mine.get(NAME)
    assert "stolen-token" not in str(refused.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: body["metadata"].update(name="Not_A_Name"), r"refused \(422\).*is invalid"),
        (lambda body: body["spec"]["arguments"]["parameters"][1].update(value=4), r"refused \(422\).*type string"),
        (lambda body: body["spec"].update(entrypont="x"), r"refused \(400\).*unknown field"),
    ],
)
def test_what_the_server_refuses_is_said_in_one_line(
    change: Callable[[Any], None], words: str, cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    body = sweep_workflow(settings, SWEEP, 4)
    change(body)
    with pytest.raises(ConfigurationError, match=words) as refused:
        cluster.create(body)
    assert "\n" not in str(refused.value)
    assert len(server.requests) == 1


def test_a_dry_run_asks_the_server_and_keeps_nothing(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    assert submit(cluster, settings, SWEEP, 4, is_dry_run=True).is_new
    assert server.workflows == {}
    submit(cluster, settings, SWEEP, 4)
    assert not submit(cluster, settings, SWEEP, 4, is_dry_run=True).is_new


def test_a_run_that_ended_is_followed_by_another_only_when_asked(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    submit(cluster, settings, SWEEP, 4)
    with pytest.raises(ConfigurationError, match="--again is for runs that ended"):
        submit(cluster, settings, SWEEP, 4, is_again=True)
    server.advance(NAMESPACE, NAME, phase="Failed", message="shard lost")
    assert not submit(cluster, settings, SWEEP, 4).is_new
    second = submit(cluster, settings, SWEEP, 4, is_again=True)
    assert (second.is_new, second.progress.name) == (True, f"{NAME}-2")
    server.advance(NAMESPACE, f"{NAME}-2", phase="Succeeded")
    assert submit(cluster, settings, SWEEP, 4, is_again=True).progress.name == f"{NAME}-3"


# --- following


def test_a_workflow_is_followed_until_it_ends(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    submit(cluster, settings, SWEEP, 4)
    shown: list[str] = []

    def show(progress: Any) -> None:
        shown.append(f"{progress.phase} {progress.done}/{progress.planned}")
        following = {
            "Pending 0/0": {"phase": "Running", "progress": "0/5"},
            "Running 0/5": {"progress": "3/5"},
            "Running 3/5": {"phase": "Succeeded", "progress": "5/5"},
        }.get(shown[-1])
        if following:
            # Told once the watch is open, as a controller does: later.
            threading.Thread(target=later, args=(following,)).start()

    def later(status: dict[str, str]) -> None:
        end = time.monotonic() + 20
        while not server.is_watched() and time.monotonic() < end:
            time.sleep(0.005)
        server.advance(NAMESPACE, NAME, **status)

    last = follow(cluster, NAME, show)
    assert last.has_succeeded
    assert shown == ["Pending 0/0", "Running 0/5", "Running 3/5", "Succeeded 5/5"]


def test_a_watch_that_breaks_is_taken_up_again(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    submit(cluster, settings, SWEEP, 4)

    def disturb() -> None:
        for status in ({"phase": "Running", "progress": "1/2"}, {"phase": "Failed", "progress": "2/2"}):
            end = time.monotonic() + 20
            while not server.is_watched() and time.monotonic() < end:
                time.sleep(0.005)
            with server.lock:
                for _, _, events in server.watchers:
                    events.put({"type": "BREAK"})
                server.watchers = []
                server.advance(NAMESPACE, NAME, **status)

    thread = threading.Thread(target=disturb)
    thread.start()
    last = follow(cluster, NAME, lambda progress: None)
    thread.join()
    assert (last.phase, last.done) == ("Failed", 2)
    watches = [request for request in server.requests if "watch=true" in request.lower()]
    assert len(watches) >= 2


def test_a_watch_whose_version_is_forgotten_begins_anew(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    submit(cluster, settings, SWEEP, 4)
    server.advance(NAMESPACE, NAME, phase="Running")
    asked = cluster.follow(NAME)
    assert progress_of(next(asked)).phase == "Running"
    server.faults = [410]
    server_side = threading.Thread(target=lambda: server.advance(NAMESPACE, NAME, phase="Succeeded"))
    server_side.start()
    server_side.join()
    assert progress_of(next(asked)).phase == "Succeeded"


def test_a_watch_that_never_works_ends(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    submit(cluster, settings, SWEEP, 4)
    asked = cluster.follow(NAME)
    next(asked)
    # Every watch fails, every question in between is answered.
    server.faults = [503, "fine", 503, "fine", 503, "fine", 503]
    with pytest.raises(TemporaryError, match="failed 4 times"):
        list(asked)


def test_a_workflow_that_was_deleted_is_said(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    submit(cluster, settings, SWEEP, 4)
    server.workflows.clear()
    with pytest.raises(ConfigurationError, match="is not in namespace trading-research any more"):
        follow(cluster, NAME, lambda progress: None)


def test_lists_are_read_page_by_page_in_the_order_of_names(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    server.page_rows = 2
    sweeps = [f"{number:016x}" for number in range(5)]
    for sweep in sweeps:
        submit(cluster, settings, sweep, 4)
    found = cluster.workflows("app.kubernetes.io/component=sweep")
    assert [progress_of(one).sweep for one in found] == sweeps
    assert cluster.workflows("app.kubernetes.io/component=other") == []


def test_a_name_that_is_taken_is_an_outcome(cluster: Cluster, settings: ArgoSettings) -> None:
    body = sweep_workflow(settings, SWEEP, 4)
    cluster.create(body)
    with pytest.raises(AlreadyThere):
        cluster.create(body)


def test_without_a_cluster_one_line_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name a kubeconfig"):
        open_cluster(NAMESPACE, kubeconfig=tmp_path / "none", environment={})
    with pytest.raises(ConfigurationError, match="no cluster can be reached"):
        open_cluster(NAMESPACE, environment={"KUBERNETES_SERVICE_HOST": "127.0.0.1"})


# --- the size of shards


def test_shards_take_about_ten_minutes() -> None:
    assert size_shards(1_000, 60.0).shards == 100
    assert size_shards(1_000, 60.0, workers=4).shards == 25
    assert size_shards(1_000, 0.001).shards == 1
    assert size_shards(10**6, 60.0).shards == SHARDS_MAX
    assert str(size_shards(1_000, 6.0)) == "1000 cells in 10 shard(s) of about 10.0 minutes, at most 100 cells each"
    assert str(size_shards(10, None, wanted=3)) == "10 cells in 3 shard(s) of unknown length, at most 4 cells each"


@given(st.integers(1, 10**7), st.floats(0, 1e6), st.integers(1, 64))
def test_no_shard_is_empty_and_none_is_longer_than_it_must_be(cells: int, cell_seconds: float, workers: int) -> None:
    sizing = size_shards(cells, cell_seconds, workers=workers)
    assert 1 <= sizing.shards <= min(SHARDS_MAX, cells)
    assert sizing.shard_seconds is not None
    if sizing.shards < min(SHARDS_MAX, cells):
        total = cells * cell_seconds / workers
        assert total / sizing.shards <= SHARD_SECONDS * (1 + 1e-12)
        assert sizing.shards == 1 or total / (sizing.shards - 1) > SHARD_SECONDS * (1 - 1e-12)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((0, 1.0), {}, "nothing to share"),
        ((10, 1.0), {"wanted": 11}, "11 shards of 10 cells"),
        ((10, 1.0), {"wanted": 501}, "from 1 to 500"),
        ((10, None), {}, "give --shards N"),
        ((10, float("nan")), {}, "measure it again"),
        ((10, -1.0), {}, "measure it again"),
        ((10, 1.0), {"workers": 0}, "cannot compute"),
        ((10**6, 60.0), {"deadline_seconds": 3600}, "longer than their deadline of 60.0 minutes"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        size_shards(*arguments, **options)


# --- the commands


@pytest.fixture
def words(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return ["--settings", str(SETTINGS)]


def test_a_configuration_is_planned_measured_sized_and_submitted_once(
    server: ApiServer, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, store = str(ROOT / "examples/sweep/sma_cross.json"), str(tmp_path / "objects")
    submitting = ["argo", "submit", "--sweep-config", config, "--store", store, *words]
    assert main([*submitting, "--shards", "2", "--dry-run", "server"]) == 0
    told = capsys.readouterr().out
    assert "would be created" in told
    assert "nothing was kept" in told
    assert server.workflows == {}
    assert main(submitting) == 0
    told = capsys.readouterr().out
    [(_, name)] = server.workflows
    sweep = name.removeprefix("backtest-")
    assert f"{name}: created: " in told
    assert "1 shard(s) of about" in told  # some dozens of cells of milliseconds
    assert main([*submitting, "--shards", "2"]) == 0
    assert "this sweep is there already" in capsys.readouterr().out
    assert main(["argo", "submit", "--sweep", sweep, "--shards", "2", "--store", store, "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["created"], told["sweep"]) == (False, sweep)
    assert main(["argo", "submit", "--sweep", sweep, "--shards", "500", "--store", store, *words]) == 77
    assert "some would have nothing to do" in capsys.readouterr().err


def test_a_sweep_that_was_never_planned_is_not_submitted(
    server: ApiServer, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["argo", "submit", "--sweep", SWEEP, "--store", str(tmp_path), *words]) == 77
    assert f"holds no sweep {SWEEP}" in capsys.readouterr().err
    assert server.requests == []
    assert main(["argo", "submit", "--sweep", "../x", "--store", str(tmp_path), *words]) == 77


def test_status_shows_every_sweep_and_ends_with_three_for_one_that_failed(
    server: ApiServer, cluster: Cluster, settings: ArgoSettings, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["argo", "status", *words]) == 0
    assert "no sweep in namespace trading-research" in capsys.readouterr().out
    submit(cluster, settings, SWEEP, 4)
    submit(cluster, settings, "f" * 16, 4)
    server.advance(NAMESPACE, NAME, phase="Failed", progress="3/5", message="child 'shard' failed\n")
    assert main(["argo", "status", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert [line.split()[1:3] for line in lines[1:]] == [["Failed", "3/5"], ["Pending", "0/0"]]
    assert main(["argo", "status", "--sweep", SWEEP, "--watch", *words]) == 3
    assert capsys.readouterr().out == f"{NAME}: Failed, 3/5 pods: child 'shard' failed\n"
    assert main(["argo", "status", "--sweep", "f" * 16, "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)[0]["phase"] == "Pending"
    assert main(["argo", "status", "--sweep", "e" * 16, *words]) == 77


# --- results


def gathered(folder: Path, sweep: str = SWEEP, **counts: int) -> str:
    store = open_objects(str(folder))
    told = {"sweep_id": sweep, "root_digest": "d" * 64, "counts": {"planned": 2, "done": 2, **counts}}
    store.put(f"sweeps/{SWEEP}/results/sweep.json", json.dumps(told).encode())
    store.put(f"sweeps/{SWEEP}/results/cells.parquet", b"PAR1" * 100)
    store.put(f"sweeps/{SWEEP}/results/sweep.html", b"<html>")
    return str(folder)


def test_results_are_copied_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address, folder = gathered(tmp_path / "objects", missing=1), tmp_path / "results"
    asking = ["argo", "fetch-results", "--sweep", SWEEP, "--store", address, "--folder", str(folder)]
    assert main(asking) == 0
    told = capsys.readouterr().out
    assert "3 file(s)" in told
    assert "3 of them new" in told
    assert "incomplete: 1 missing" in told
    assert (folder / "cells.parquet").read_bytes() == b"PAR1" * 100
    (folder / "cells.parquet").write_bytes(b"PAR2" * 100)
    assert main(asking) == 0
    assert "1 of them new" in capsys.readouterr().out
    assert (folder / "cells.parquet").read_bytes() == b"PAR1" * 100


def test_a_sweep_that_was_not_gathered_has_no_results(tmp_path: Path) -> None:
    store = open_objects(str(tmp_path / "objects"))
    with pytest.raises(DataError, match="was the sweep gathered"):
        fetch_results(store, SWEEP, tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"sweep_id": "other"}'])
def test_results_of_another_sweep_or_damaged_ones_are_refused(content: bytes, tmp_path: Path) -> None:
    store = open_objects(str(tmp_path / "objects"))
    store.put(f"sweeps/{SWEEP}/results/sweep.json", content)
    with pytest.raises(DataError, match="gather the sweep again"):
        fetch_results(store, SWEEP, tmp_path / "results")
    assert not (tmp_path / "results").exists()
