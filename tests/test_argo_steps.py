"""The container commands of the rendered sweep, run in the order Argo would run them, against the results made here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from argo_manifests import workflows
from argo_steps import run_workflow
from s3_server import s3_server  # noqa: F401 - a fixture, used by its name
from sweep_samples import write_sweep

from trading_runtime.cli.main import main

TEMPLATE = "workflowtemplate-backtest.yaml"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store that the commands can reach."""
    if request.param == "folder":
        return str(tmp_path / "objects")
    server = request.getfixturevalue("s3_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{server.new_bucket()}/research"


def rendered(store: str) -> dict[str, Any]:
    """The rendered template with the store of the test: the one word in which it differs from a cluster's."""
    if store.startswith("s3://"):
        return workflows(f"sweep.store.address={store}")[TEMPLATE]
    body = workflows()[TEMPLATE]
    for template in body["spec"]["templates"]:
        if "container" in template:
            words = template["container"]["args"]
            words[words.index("--store") + 1] = store
    return body


def locally(config: Path, folder: Path) -> str:
    results = folder / "results"
    assert main(["sweep", "run", "--config", str(config), "--store", str(folder), "--folder", str(results)]) == 0
    return str(json.loads((results / "sweep.json").read_text())["root_digest"])


def fetched(store: str, sweep: str, folder: Path) -> dict[str, Any]:
    assert main(["argo", "fetch-results", "--sweep", sweep, "--store", store, "--folder", str(folder)]) == 0
    told: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    return told


def command(codes: list[tuple[str, int | None]], lost: str = "") -> Callable[[str, list[str]], int | None]:
    """Return what runs a container; the pod whose words hold ``--shard LOST`` is lost before it begins."""

    def run(name: str, words: list[str]) -> int | None:
        is_lost = bool(lost) and "--shard" in words and words[words.index("--shard") + 1] == lost
        code = None if is_lost else main(words)
        codes.append((name, code))
        return code

    return run


def test_the_containers_of_the_workflow_make_the_same_sweep_as_one_process(store: str, tmp_path: Path) -> None:
    config = write_sweep(tmp_path / "sweep")
    codes: list[tuple[str, int | None]] = []
    given = {"configuration": str(config), "shards": "3"}
    phases = run_workflow(rendered(store), "backtest", given, tmp_path, command(codes), is_backwards=True)
    assert phases == {"plan": "Succeeded", "shards": "Succeeded", "gather": "Succeeded"}
    assert codes == [("plan", 0), ("shard", 0), ("shard", 0), ("shard", 0), ("gather", 0)]
    sweep = (tmp_path / "sweep-id").read_text().strip()
    told = fetched(store, sweep, tmp_path / "fetched")
    assert told["counts"]["done"] == told["counts"]["planned"] == 60
    assert told["root_digest"] == locally(config, tmp_path / "here")


def test_a_lost_shard_is_reported_from_facts_and_made_up_for_by_another_run(store: str, tmp_path: Path) -> None:
    config = write_sweep(tmp_path / "sweep")
    codes: list[tuple[str, int | None]] = []
    given = {"configuration": str(config), "shards": "3"}
    phases = run_workflow(rendered(store), "backtest", given, tmp_path, command(codes, lost="1"))
    assert phases == {"plan": "Succeeded", "shards": "Failed", "gather": "Failed"}
    assert codes[-1] == ("gather", 3)
    sweep = (tmp_path / "sweep-id").read_text().strip()
    told = fetched(store, sweep, tmp_path / "first")
    assert (told["counts"]["done"], told["counts"]["missing"]) == (40, 20)
    codes.clear()
    phases = run_workflow(rendered(store), "planned", {"sweep": sweep, "shards": "2"}, tmp_path, command(codes))
    assert phases == {"shards": "Succeeded", "gather": "Succeeded"}
    told = fetched(store, sweep, tmp_path / "second")
    assert told["counts"]["done"] == 60
    assert told["root_digest"] == locally(config, tmp_path / "here")


def test_a_plan_that_fails_starts_no_shard(store: str, tmp_path: Path) -> None:
    codes: list[tuple[str, int | None]] = []
    given = {"configuration": str(tmp_path / "none.json"), "shards": "3"}
    phases = run_workflow(rendered(store), "backtest", given, tmp_path, command(codes))
    assert phases == {"plan": "Failed", "shards": "Omitted", "gather": "Omitted"}
    assert codes == [("plan", 77)]
