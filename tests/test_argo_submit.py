"""Sending sweeps to a cluster, against a server on loopback that keeps custom objects as Kubernetes does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from argo_manifests import ROOT, SETTINGS, template, workflows
from argo_server import NAMESPACE, ApiServer
from s3_server import s3_server  # noqa: F401 - a fixture, used by its name
from sweep_samples import write_sweep

from trading_runtime.argo.client import AlreadyThere, Cluster, open_cluster
from trading_runtime.argo.settings import ENDPOINTS, ArgoSettings, load_argo_settings
from trading_runtime.argo.submit import follow, progress_of, submit, sweep_workflow
from trading_runtime.cli.main import main
from trading_runtime.core.errors import ConfigurationError, TemporaryError

pytest_plugins = ["argo_fixtures"]  # its fixtures: server, cluster, settings, words
SWEEP = "0123456789abcdef"
NAME = f"backtest-{SWEEP}"


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
            time.sleep(0.005)  # between two looks for the watch
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
                time.sleep(0.005)  # between two looks for the watch
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


def test_a_list_that_the_server_forgets_half_way_is_read_anew(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    server.page_rows = 2
    sweeps = [f"{number:016x}" for number in range(5)]
    for sweep in sweeps:
        submit(cluster, settings, sweep, 4)
    server.faults = ["fine", 410]
    found = cluster.workflows("app.kubernetes.io/component=sweep")
    assert [progress_of(one).sweep for one in found] == sweeps, "none twice"
    server.faults = ["fine", 410] * 4
    with pytest.raises(TemporaryError, match="forgot the list of workflows half-way, 4 times"):
        cluster.workflows("app.kubernetes.io/component=sweep")


def test_a_change_at_the_same_moment_is_no_taken_name(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    """409 is also what a quota answers that somebody else changed meanwhile."""
    server.faults = [409, "fine", 409]
    assert submit(cluster, settings, SWEEP, 4).is_new
    server.faults = [409] * 4
    with pytest.raises(TemporaryError, match="answered 409, 4 times"):
        cluster.get(NAME)


def test_what_is_no_api_server_is_said(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    for ask in (
        lambda: submit(cluster, settings, SWEEP, 4),
        lambda: cluster.get(NAME),
        lambda: cluster.workflows("a=b"),
    ):
        server.faults = ["page"]
        with pytest.raises(ConfigurationError, match="that is no API server of Kubernetes"):
            ask()


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


# --- the commands


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


def test_a_dry_run_writes_nothing_anywhere(
    server: ApiServer, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, store = str(write_sweep(tmp_path / "sweep")), tmp_path / "objects"
    submitting = ["argo", "submit", "--sweep-config", config, "--store", str(store), *words]
    for more in ([], ["--shards", "2"]):  # measured, and not
        assert main([*submitting, *more, "--dry-run", "server"]) == 0
        told = capsys.readouterr().out
        assert "would be created: 60 cells in" in told
        assert "nothing was kept" in told
        assert not store.exists()
        assert server.workflows == {}
    assert main([*submitting, "--shards", "2", "--dry-run", "server", "--json"]) == 0
    would = json.loads(capsys.readouterr().out)["name"]
    assert main([*submitting, "--shards", "2"]) == 0
    assert list(server.workflows) == [(NAMESPACE, would)], "the name is that of the dry run"


def test_a_dry_run_says_that_the_store_does_not_answer(
    server: ApiServer, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = str(write_sweep(tmp_path / "sweep"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    submitting = ["argo", "submit", "--sweep-config", config, "--shards", "2", "--dry-run", "server", *words]
    assert main([*submitting, "--store", "s3://bucket/sweeps"]) == 77
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: s3: there are no credentials: set AWS_ACCESS_KEY_ID")
    assert server.workflows == {}


def test_the_store_is_reached_from_here_as_the_pods_reach_it(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    s3_server: Any,  # noqa: F811 - the fixture of that name
) -> None:
    """The endpoint is a setting already: exported a second time it could be another one."""
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    endpoint = s3_server.environment["AWS_ENDPOINT_URL"]
    for name, value in s3_server.environment.items():
        if name not in ENDPOINTS:
            monkeypatch.setenv(name, value)
    words += ["--set", f"sweep.store.address=s3://{s3_server.new_bucket()}/sweeps"]
    words += [
        "--set",
        f"sweep.store.variables.AWS_ENDPOINT_URL={endpoint}",
        "--set",
        "network.object_store=127.0.0.1/32",
    ]
    words += ["--set", f"network.object_store_port={urlsplit(endpoint).port}"]
    config = str(write_sweep(tmp_path / "sweep"))
    assert main(["argo", "submit", "--sweep-config", config, "--shards", "2", *words]) == 0
    sweep = capsys.readouterr().out.partition(":")[0].removeprefix("backtest-")
    assert not set(ENDPOINTS) & set(os.environ), "nothing of it stays behind"
    assert main(["argo", "fetch-results", "--sweep", sweep, *words]) == 66
    assert "results/sweep.json is not there: was the sweep gathered? see `argo status`" in capsys.readouterr().err


def optuna(folder: Path) -> str:
    return str(write_sweep(folder, search={"kind": "optuna", "count": 6, "rounds": 2}))


def test_a_search_by_optuna_is_one_shard_and_is_told_to_be(
    server: ApiServer, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, store = optuna(tmp_path / "sweep"), str(tmp_path / "objects")
    said = "12 cells in 1 shard: Optuna learns from every result, so that one pod computes them all"
    submitting = ["argo", "submit", "--sweep-config", config, "--store", store, *words]
    assert main([*submitting, "--dry-run", "server"]) == 0
    assert said in capsys.readouterr().out
    assert main(submitting) == 0
    assert said in capsys.readouterr().out
    [((_, name), workflow)] = server.workflows.items()
    sweep = name.removeprefix("backtest-")
    assert workflow["spec"]["arguments"]["parameters"][1] == {"name": "shards", "value": "1"}
    for shards in ([], ["--shards", "1"]):
        assert main(["argo", "submit", "--sweep", sweep, "--store", store, *shards, *words]) == 0
        assert "there already" in capsys.readouterr().out
    assert main(["sweep", "plan", "--config", config, "--store", store, "--measure"]) == 0
    assert "1 shard: Optuna learns from every result" in capsys.readouterr().out


def test_shards_of_a_search_by_optuna_are_refused_before_anything_is_written(
    server: ApiServer, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, store = optuna(tmp_path / "sweep"), tmp_path / "objects"
    assert main(["argo", "submit", "--sweep-config", config, "--store", str(store), "--shards", "5", *words]) == 77
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("error: --shards 5: Optuna learns from every result, so that one pod computes")
    assert not store.exists()
    assert main(["sweep", "plan", "--config", config, "--store", str(store), "--id-file", str(tmp_path / "id")]) == 0
    sweep = (tmp_path / "id").read_text().strip()
    assert main(["argo", "submit", "--sweep", sweep, "--store", str(store), "--shards", "5", *words]) == 77
    assert "--shards 5: Optuna learns" in capsys.readouterr().err
    assert server.requests == []


def test_a_sweep_that_was_never_planned_is_not_submitted(
    server: ApiServer, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["argo", "submit", "--sweep", SWEEP, "--store", str(tmp_path), *words]) == 77
    assert f"holds no sweep {SWEEP}" in capsys.readouterr().err
    assert server.requests == []
    assert main(["argo", "submit", "--sweep", "../x", "--store", str(tmp_path), *words]) == 77


def test_whoever_stops_watching_is_told_that_the_sweep_goes_on(
    server: ApiServer, cluster: Cluster, settings: ArgoSettings, words: list[str]
) -> None:
    submit(cluster, settings, SWEEP, 4)
    server.advance(NAMESPACE, NAME, phase="Running", progress="1/5")
    command = [sys.executable, "-m", "trading_runtime", "argo", "status", "--sweep", SWEEP, "--watch", *words]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            if server.is_watched():
                break
            time.sleep(0.05)  # until it watches; it has no other way to say so
        watching.send_signal(signal.SIGINT)
        told, error = watching.communicate(timeout=30)
    finally:
        watching.kill()
    assert (watching.returncode, told) == (130, f"{NAME}: Running, 1/5 pods\n")
    assert error.splitlines()[0] == f"{NAME} goes on without being watched"
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("status --settings none.yaml", 77, "none.yaml: there is no such file: --settings names the settings of the"),
        ("submit --sweep-config none.json", 77, "none.json: there is no such file: --sweep-config names a sweep's"),
        ("submit --sweep-config . --shards 2", 77, "is a folder"),
        ("submit --sweep 0123456789ABCDEF", 77, "is no id of a sweep: 16 of 0-9 and a-f"),
        ("submit --sweep-config a.json --shards 0", 2, "must be a whole number from 1 to 500, not '0'"),
        ("submit --sweep-config a.json --shards 501", 2, "must be a whole number from 1 to 500, not '501'"),
        ("submit --sweep-config a.json --shards " + "9" * 5000, 2, "must be a whole number from 1 to 500"),
        ("submit --sweep-config a.json --sweep b", 2, "not allowed with"),
        ("submit --sweep-config a.json --dry-run client", 2, "--dry-run must be one of server, not 'client'"),
        ("submit --watch", 2, "one of the arguments --sweep-config --sweep is required"),
        ("submit --sweep 0123456789abcdef --store s4://x", 77, "no object store begins with s4://"),
        ("submit --sweep 0123456789abcdef --kubeconfig none", 77, "there is no file none; name a kubeconfig"),
        ("submit --sweep 0123456789abcdef --context other", 77, "no cluster can be reached"),
        ("submit --sweep 0123456789abcdef --set sweep.shrads=3", 77, "did you mean 'shards'?"),
        ("submit --sweep 0123456789abcdef --set sweep", 77, "write --set section.key=value"),
        ("status --watch", 77, "--watch follows one sweep: name it by --sweep"),
        ("status --sweep ffffffffffffffff", 77, "has no run of sweep ffffffffffffffff: `argo submit` it"),
        ("statu", 2, "did you mean status?"),
        ("fetch-results", 2, "needs --sweep"),
        ("fetch-results --sweep x", 77, "is no id of a sweep"),
        ("lint none.yaml", 77, "none.yaml: there is no such file or folder"),
        ("render --schedules-as none.json", 77, "none.json: cannot be read"),
        ("check-source --repository git@github.com:x/y.git --commit main", 77, "is no https://host/owner/name.git"),
    ],
)
def test_wrong_words_are_answered_in_one_line_and_start_nothing(
    line: str,
    code: int,
    said: str,
    server: ApiServer,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    more = [] if "--settings" in line or line.startswith("check-source") else words
    assert main(["argo", *line.split(), *more]) == code
    told = [one for one in capsys.readouterr().err.splitlines() if not one.startswith("note: ")]
    assert len(told) == 1
    assert told[0].startswith("error: ")
    assert said in told[0]
    assert len(told[0]) < 400
    assert server.workflows == {}
    assert list(tmp_path.iterdir()) == [tmp_path / "kubeconfig"], "nothing was written"


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
