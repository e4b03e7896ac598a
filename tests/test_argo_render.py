"""What is rendered: the committed manifests, the fields every pod has, the plain objects and their overlays."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from argo_manifests import (
    ARGO,
    DIGEST,
    PRODUCTION,
    ROOT,
    SETTINGS,
    check,
    documents,
    parsed,
    template,
    texts,
    workflows,
)

from trading_runtime.argo.cluster import base_objects
from trading_runtime.argo.render import differences, render, write_manifests
from trading_runtime.argo.settings import load_argo_settings
from trading_runtime.cli.main import main
from trading_runtime.core import errors
from trading_runtime.core.errors import ConfigurationError

KUBERNETES = "1.33"
# What a command says by its exit code that another attempt would only repeat.
_OWN_WORDS = [
    value for name, value in vars(errors).items() if name.startswith("EXIT_") and 0 < value < 128 and value != 75
]


def pods(*overrides: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path, body in workflows(*overrides).items():
        for one in body["spec"].get("templates", []):
            if "container" in one:
                yield f"{path}/{one['name']}", one, one["container"]


# --- the committed manifests


def test_the_committed_manifests_are_what_the_settings_render_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["argo", "render", "--check", "--settings", str(SETTINGS)]) == 0
    assert "manifests are what" in capsys.readouterr().out


def test_nothing_is_wrong_with_the_committed_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["argo", "lint", str(ARGO), "--settings", str(SETTINGS)]) == 0, capsys.readouterr().out
    assert "nothing found" in capsys.readouterr().out


def test_rendering_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    code = (
        "import sys; from pathlib import Path; from trading_runtime.argo.render import render;"
        "from trading_runtime.argo.settings import load_argo_settings as load; from hashlib import sha256;"
        "path = Path(sys.argv[1]); print(sha256(repr(render(load(path), path.parent)).encode()).hexdigest())"
    )
    digests = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(SETTINGS)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
        )
        digests.add(done.stdout)
    assert len(digests) == 1


def test_check_names_what_differs_is_missing_or_left_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["argo", "render", "--settings", str(SETTINGS), "--folder", str(tmp_path)]
    assert main(words) == 0
    assert main([*words, "--check"]) == 0
    backtest, role = tmp_path / "workflowtemplate-backtest.yaml", tmp_path / "base/role-trading-live-executor.yaml"
    backtest.write_text(backtest.read_text() + " ")
    role.rename(tmp_path / "base/role-renamed.yaml")
    capsys.readouterr()
    assert main([*words, "--check"]) == 3
    assert capsys.readouterr().out.splitlines() == [
        f"{backtest}: is not what the settings render to",
        f"{role}: is missing",
        f"{tmp_path}/base/role-renamed.yaml: is generated no longer",
    ]
    assert main(words) == 0
    assert not (tmp_path / "base/role-renamed.yaml").exists()
    assert main([*words, "--check"]) == 0


def test_what_people_wrote_beside_the_manifests_stays(tmp_path: Path) -> None:
    mine = tmp_path / "base/mine.yaml"
    mine.parent.mkdir()
    mine.write_text("kind: ConfigMap\n")
    write_manifests(texts(), tmp_path)
    assert mine.exists()
    assert differences(texts(), tmp_path) == []


def test_every_file_says_what_it_is_made_from() -> None:
    for path, text in texts().items():
        assert text.startswith("# Generated from " + "../" * path.count("/") + "settings.yaml by "), path
        assert len(list(yaml.safe_load_all(text))) == 1, path


# --- pods


def test_there_is_a_template_for_every_kind_of_work() -> None:
    names = {path for path, _, _ in pods()}
    assert {name.partition("/")[2] for name in names} == {
        *("plan", "shard", "gather", "check-source", "push", "cycle", "notify", "watch", "reconcile"),
    }


def test_every_pod_has_every_field_that_keeps_it_in_its_place() -> None:
    for name, one, container in pods():
        assert one["activeDeadlineSeconds"] > 0, name
        assert container["command"], name
        assert container["image"], name
        assert container["imagePullPolicy"] == "IfNotPresent", name
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name
        assert container["resources"]["limits"] == {"memory": container["resources"]["requests"]["memory"]}, name
        assert one["securityContext"]["runAsNonRoot"] is True, name
        assert one["securityContext"]["runAsUser"] > 0, name
        assert one["retryStrategy"]["limit"] > 0, name
        folders = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        shadow = folders["/var/run/secrets/kubernetes.io/serviceaccount"]
        assert "emptyDir" in next(volume for volume in one["volumes"] if volume["name"] == shadow), name
        if not name.endswith("/push"):  # rootless BuildKit, in a namespace of its own
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert one["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert one["securityContext"]["runAsUser"] == 10001, name


def test_every_command_line_is_one_that_our_own_parser_takes(tmp_path: Path) -> None:
    live = ("live.mode=live", *PRODUCTION)
    assert check(tmp_path, workflows(*live), refusal=parsed) == [], "a production cluster"
    assert check(tmp_path, workflows(), refusal=parsed) == []


def test_a_live_cycle_knows_its_image_its_account_and_reads_its_keys_from_files(tmp_path: Path) -> None:
    body = documents("live.mode=live", *PRODUCTION)["workflowtemplate-live-cycle.yaml"]
    container = template(body, "cycle")["container"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["TRADING_RUNTIME_IMAGE_DIGEST"] == DIGEST
    assert variables["TRADING_RUNTIME_LIVE_ACCOUNT"] == "main"
    for name in ("BINANCE_API_KEY_FILE", "BINANCE_API_SECRET_FILE"):
        assert variables[name].startswith("/etc/trading-runtime-secrets/")
    volume = next(one for one in template(body, "cycle")["volumes"] if one["name"] == "exchange")
    assert volume["secret"]["defaultMode"] == 0o440
    notify = template(body, "notify")
    assert "secret" not in [key for one in notify["volumes"] for key in one]


def test_a_dry_run_is_given_no_keys() -> None:
    text = texts()["workflowtemplate-live-cycle.yaml"]
    assert "API_KEY" not in text
    assert "LIVE_ACCOUNT" not in text


def test_only_the_words_nothing_was_sent_are_retried_near_money() -> None:
    for path in ("live-cycle", "reconcile", "watch"):
        for one in documents()[f"workflowtemplate-{path}.yaml"]["spec"]["templates"]:
            assert one["retryStrategy"]["expression"] == "asInt(lastRetry.exitCode) == 75"
            assert one["retryStrategy"]["retryPolicy"] == "Always"
    assert "retryStrategy" not in documents()["workflowtemplate-live-cycle.yaml"]["spec"]


def is_retried(retry: dict[str, Any], exit_code: str, status: str) -> bool:
    """What Argo decides of a pod that ended so: the policy, then the expression. ``lastRetry.exitCode`` is a text."""
    policies = {"Always": ("Failed", "Error"), "OnFailure": ("Failed",), "OnError": ("Error",)}
    if status not in policies[retry["retryPolicy"]]:
        return False
    expression = retry.get("expression", "true").replace("lastRetry.exitCode", "exit_code").replace("||", "or")
    names = {"asInt": int, "exit_code": exit_code, "true": True}
    return bool(eval(expression, {"__builtins__": {}}, names))  # noqa: S307 - our own manifests


PURE = [("backtest", "plan"), ("backtest", "shard"), ("backtest", "gather"), ("build-push-ghcr", "check-source")]


@pytest.mark.parametrize(
    ("exit_code", "status", "pure", "orders"),
    [
        ("75", "Failed", True, True),  # nothing was sent, the store did not answer, a worker was killed
        ("-1", "Error", True, False),  # the pod was deleted, or never got as far as its command
        ("-1", "Failed", True, False),  # evicted, or its node is lost: nobody knows a code
        ("0", "Error", True, False),  # the command ended well, Argo could not keep its outputs
        ("0", "Failed", True, False),  # the same while its node was shut down
        ("64", "Failed", True, False),  # Argo's executor
        ("65", "Error", True, False),
        ("128", "Failed", True, False),  # the container could not be started
        ("137", "Failed", True, False),  # killed: memory, or the end of its node
        ("143", "Failed", True, False),
        *((str(code), status, False, False) for code in _OWN_WORDS for status in ("Failed", "Error")),
    ],
)
def test_pure_work_is_retried_after_what_may_heal_and_orders_only_after_the_word(
    exit_code: str, status: str, pure: bool, orders: bool
) -> None:
    for path, name in PURE:
        retry = template(documents()[f"workflowtemplate-{path}.yaml"], name)["retryStrategy"]
        assert is_retried(retry, exit_code, status) is pure, name
    retry = template(documents()["workflowtemplate-live-cycle.yaml"], "cycle")["retryStrategy"]
    assert is_retried(retry, exit_code, status) is orders


def test_a_builder_that_is_not_ours_is_retried_whatever_it_ends_with() -> None:
    retry = template(documents()["workflowtemplate-build-push-ghcr.yaml"], "push")["retryStrategy"]
    assert is_retried(retry, "1", "Failed")


# --- schedules of a cluster


def schedules(**suspended: bool | None) -> str:
    items = [
        {
            "kind": "CronWorkflow",
            "metadata": {"namespace": "trading-live", "name": name.replace("_", "-")},
            "spec": {} if is_suspended is None else {"suspend": is_suspended},
        }
        for name, is_suspended in suspended.items()
    ]
    return json.dumps({"kind": "List", "items": items})


def test_schedules_stay_as_they_are_on_the_cluster_whatever_they_are_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "schedules.json"
    # None: Argo takes a schedule that says nothing for one that runs.
    there.write_text(schedules(hourly=False, look=None, reconcile=True, gone=False, gone_too=True))
    settings = ["--settings", str(SETTINGS), "--set", "live.name=hourly", "--set", "watch.name=look"]
    settings += ["--set", "reconcile.suspend=false"]
    words = ["argo", "render", *settings, "--schedules-as", str(there), "--folder", str(tmp_path / "argo")]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert told == "note: schedule trading-live/gone runs on: the settings have it no longer; delete it\n"
    found = {path.stem: yaml.safe_load(path.read_text()) for path in (tmp_path / "argo").glob("cronworkflow-*.yaml")}
    assert {name.removeprefix("cronworkflow-"): one["spec"]["suspend"] for name, one in found.items()} == {
        "hourly": False,
        "look": False,
        "reconcile": True,
    }
    assert main(["argo", "lint", str(tmp_path / "argo"), *settings]) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No resources found",
        "[]",
        "{}",
        '{"kind": "List"}',
        '{"kind": "List", "items": [{}]}',
        '{"kind": "PodList", "items": []}',
        schedules(live=True).replace("true", '"true"'),
        schedules(live=True).replace("CronWorkflow", "Workflow"),
    ],
)
def test_what_is_no_list_of_schedules_is_not_taken_for_none(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "schedules.json").write_text(text)
    folder = tmp_path / "argo"
    words = ["argo", "render", "--settings", str(SETTINGS), "--folder", str(folder)]
    assert main([*words, "--schedules-as", str(tmp_path / "schedules.json")]) == 77
    told = capsys.readouterr().err
    assert "is not what `kubectl get cronworkflows" in told
    assert len(told.splitlines()) == 1
    assert not folder.exists()
    assert main([*words, "--schedules-as", str(tmp_path / "none.json")]) == 77
    assert "cannot be read" in capsys.readouterr().err


def test_the_cron_workflows_are_suspended_until_somebody_resumes_them() -> None:
    for name in ("live-cycle", "watch", "reconcile"):
        spec = documents()[f"cronworkflow-{name}.yaml"]["spec"]
        assert spec["suspend"] is True
        assert spec["concurrencyPolicy"] == "Forbid"
        assert spec["timezone"] == "Etc/UTC"
        assert spec["workflowSpec"] == {"workflowTemplateRef": {"name": name}}


def test_the_live_workflow_has_the_values_that_were_decided() -> None:
    spec = documents()["workflowtemplate-live-cycle.yaml"]["spec"]
    assert spec["activeDeadlineSeconds"] == 900
    assert spec["podDisruptionBudget"] == {"minAvailable": 9999}
    assert spec["synchronization"] == {"mutexes": [{"name": "cycle-main"}]}
    assert spec["onExit"] == "notify"
    cycle = template(documents()["workflowtemplate-live-cycle.yaml"], "cycle")
    assert cycle["activeDeadlineSeconds"] == 600
    assert json.loads(cycle["podSpecPatch"]) == {"terminationGracePeriodSeconds": 60}
    assert cycle["container"]["args"][-4:] == ["--slot", "{{workflow.scheduledTime}}", "--run-id", "{{workflow.name}}"]


def test_gather_runs_whatever_happened_to_the_shards_and_only_ids_travel() -> None:
    body = documents()["workflowtemplate-backtest.yaml"]
    for name in ("backtest", "planned"):
        dag = template(body, name)["dag"]
        assert dag["failFast"] is False
        gather = next(task for task in dag["tasks"] if task["name"] == "gather")
        assert gather["depends"] == "shards.Succeeded || shards.Skipped || shards.Failed || shards.Errored"
    assert {one["name"] for one in body["spec"]["arguments"]["parameters"]} == {"sweep", "configuration", "shards"}


def test_workload_identity_gives_a_token_and_no_key() -> None:
    google = '{"audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k"}'
    body = documents(f"live.google={google}")["workflowtemplate-live-cycle.yaml"]
    cycle = template(body, "cycle")
    sources = next(one for one in cycle["volumes"] if one["name"] == "google")["projected"]["sources"]
    assert sources[0]["serviceAccountToken"]["expirationSeconds"] == 3600
    variables = {one["name"]: one.get("value") for one in cycle["container"]["env"]}
    assert variables["GOOGLE_APPLICATION_CREDENTIALS"] == "/var/run/secrets/google/credentials.json"


def test_the_image_is_built_from_one_exact_commit_without_a_shell() -> None:
    push = template(documents()["workflowtemplate-build-push-ghcr.yaml"], "push")
    words = push["container"]["args"]
    assert "context=https://github.com/owner/trading-runtime.git#{{inputs.parameters.commit}}" in words
    assert "script" not in push
    assert not any(word == "sh" or word == "-c" for word in [*push["container"]["command"], *words])


def test_hera_drops_no_field(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic import ValidationError

    from trading_runtime.argo.models import forbid_unknown_fields

    forbid_unknown_fields()
    from hera.workflows import models

    for model, name in ((models.PodGC, "strategi"), (models.PodSecurityContext, "run_as_nonroot")):
        with pytest.raises(ValidationError, match=name):
            model(**{name: True})


def test_hera_imported_unguarded_is_refused() -> None:
    code = (
        "import hera.workflows\nfrom trading_runtime.argo.models import forbid_unknown_fields\n"
        "try:\n    forbid_unknown_fields()\nexcept Exception as error:\n    print(type(error).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "TradingRuntimeError"


def test_talking_about_manifests_loads_neither_hera_nor_kubernetes() -> None:
    code = (
        "import sys, trading_runtime.cli.argo, trading_runtime.argo.render, trading_runtime.argo.lint.run,"
        "trading_runtime.argo.submit, trading_runtime.argo.results;"
        "print([name for name in ('hera', 'kubernetes', 'pyarrow', 'numba', 'ccxt', 'google') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


# --- plain objects


def test_every_plain_object_has_only_fields_that_kubernetes_knows() -> None:
    checked = 0
    for path, body in documents().items():
        if path.startswith("base/") and body["kind"] != "Kustomization":
            kubernetes_validate.validate(body, KUBERNETES, strict=True)
            checked += 1
    assert checked > 30


def test_an_account_of_pods_may_tell_its_results_and_nothing_else() -> None:
    for path, body in documents().items():
        if body["kind"] == "Role" and body["metadata"]["name"] == "executor":
            assert body["rules"] == [
                {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
            ], path


def test_every_account_a_workflow_runs_as_is_there_and_may_tell_its_results() -> None:
    found = documents()
    accounts = {
        (b["metadata"]["namespace"], b["metadata"]["name"]) for b in found.values() if b["kind"] == "ServiceAccount"
    }
    bound = {
        (subject["namespace"], subject["name"])
        for body in found.values()
        if body["kind"] == "RoleBinding" and body["roleRef"]["name"] == "executor"
        for subject in body["subjects"]
    }
    for path, body in workflows().items():
        if body["kind"] == "WorkflowTemplate":
            account = (body["metadata"]["namespace"], body["spec"]["serviceAccountName"])
            assert account in accounts, path
            assert account in bound, path


def test_every_namespace_denies_traffic_that_no_policy_allows() -> None:
    found = documents()
    spaces = {body["metadata"]["name"] for body in found.values() if body["kind"] == "Namespace"}
    denied = {
        body["metadata"]["namespace"]
        for body in found.values()
        if body["kind"] == "NetworkPolicy" and body["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert denied == spaces == {"trading-live", "trading-research", "trading-build"}
    internet = found["base/networkpolicy-trading-live-allow-internet.yaml"]["spec"]["egress"][0]
    assert "169.254.0.0/16" in internet["to"][0]["ipBlock"]["except"]


def test_only_the_namespace_of_the_builder_is_not_restricted() -> None:
    for name, profile in (("live", "restricted"), ("research", "restricted"), ("build", "privileged")):
        labels = documents()[f"base/namespace-trading-{name}.yaml"]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == profile


def merged(base: Any, patch: Any) -> Any:
    """What kustomize's strategic merge makes of maps and plain lists."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {key: merged(base.get(key), patch[key]) if key in patch else base[key] for key in {**base, **patch}}
    return patch


@pytest.mark.parametrize("cluster", ["microk8s", "generic"])
def test_an_overlay_changes_objects_of_the_base_into_ones_that_kubernetes_knows(cluster: str) -> None:
    found = documents()
    kustomization = found[f"overlays/{cluster}/kustomization.yaml"]
    assert kustomization["resources"] == ["../../base"]
    patches = [found[f"overlays/{cluster}/{one['path']}"] for one in kustomization["patches"]]
    assert len(patches) == 5
    for patch in patches:
        base = [
            body
            for path, body in found.items()
            if path.startswith("base/")
            and body["kind"] == patch["kind"]
            and {**body.get("metadata", {}), "labels": 0} == {**patch["metadata"], "labels": 0}
        ]
        assert len(base) == 1, patch["metadata"]
        result = merged(base[0], patch)
        kubernetes_validate.validate(result, KUBERNETES, strict=True)
        assert result != base[0] or cluster == "generic"
    ports = [p["spec"]["egress"][0]["ports"][0]["port"] for p in patches if p["kind"] == "NetworkPolicy"]
    assert ports == [{"microk8s": 16443, "generic": 6443}[cluster]] * 3


def test_the_kustomizations_list_every_file() -> None:
    found = documents()
    for folder in ("", "base/"):
        beside = {path.removeprefix(folder) for path in found if re.fullmatch(rf"{folder}[^/]+\.yaml", path)}
        assert set(found[f"{folder}kustomization.yaml"]["resources"]) == beside - {"kustomization.yaml"}


def test_the_controllers_settings_are_texts_of_yaml_without_a_default_retry() -> None:
    data = documents()["base/configmap-argo-workflow-controller-configmap.yaml"]["data"]
    for key, text in data.items():
        assert yaml.safe_load(text) is not None, key
    assert yaml.safe_load(data["executor"])["securityContext"]["runAsNonRoot"] is True
    assert yaml.safe_load(data["workflowRestrictions"]) == {"templateReferencing": "Strict"}
    assert "retry" not in str(data).lower()


# --- settings


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("image=ghcr.io/owner/trading-runtime", "image needs a tag or a digest"),
        ("environment=production", "image must end in @sha256:DIGEST in environment production"),
        ("live.mode=live", "image must end in @sha256:DIGEST with live.mode live"),
        ("namespaces.research=trading-live", "must differ"),
        ("namespaces.controllers=[\"trading-live\"]", "must not be a namespace that a controller manages"),
        ("live.workflow_seconds=600", "live.workflow_seconds must exceed"),
        ("watch.name=live-cycle", "different names"),
        ("live.name=" + "a" * 53, "has 53 characters; Argo allows 52"),
        ("sweep.store.variables.AWS_SECRET_ACCESS_KEY=x", "looks like a secret"),
        ("sweep.store.address=/mnt/data", "sweep.store.address"),
        ("live.schedul=x", "did you mean 'schedule'"),
        ("sweep.shards=501", "sweep.shards"),
        ("build.repository=git@github.com:owner/name.git", "build.repository"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_by_name(override: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_argo_settings(SETTINGS, [override])
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_configuration_of_the_cycle_is_read_before_it_is_put_into_a_config_map(tmp_path: Path) -> None:
    (tmp_path / "cycle.yaml").write_text("strategy: {class: sma_cros}\nmarket: {exchnge: binance}\n")
    settings = load_argo_settings(SETTINGS, ["live.configuration=cycle.yaml"])
    with pytest.raises(ConfigurationError, match="exchnge"):
        base_objects(settings, tmp_path)
    with pytest.raises(ConfigurationError, match=re.escape("account.name is 'main'")):
        render(load_argo_settings(SETTINGS, ["live.account=other"]), ARGO)


def test_a_paper_cycle_whose_state_would_end_with_its_pod_is_refused(tmp_path: Path) -> None:
    text = (ARGO / "configuration/live-cycle.yaml").read_text()
    (tmp_path / "cycle.yaml").write_text(
        text.replace("kind: firestore\n  project: my-project", "kind: sqlite\n  path: x")
    )
    settings = load_argo_settings(SETTINGS, ["live.configuration=cycle.yaml", "live.mode=paper"])
    with pytest.raises(ConfigurationError, match="needs firestore"):
        base_objects(settings, tmp_path)


# --- the commit


@pytest.mark.parametrize(
    ("repository", "commit", "code"),
    [
        ("https://github.com/owner/name.git", "0123456789abcdef0123456789abcdef01234567", 0),
        ("https://github.com/owner/name.git", "main", 77),
        ("https://github.com/owner/name.git", "0123456", 77),
        ("https://github.com/owner/name.git", "0123456789ABCDEF0123456789abcdef01234567", 77),
        ("https://github.com/owner/name.git", "0123456789abcdef0123456789abcdef01234567\n", 77),
        ("https://github.com/owner/name.git", "0123456789abcdef0123456789abcdef01234567#sub;dir", 77),
        ("https://user:secret@github.com/owner/name.git", "0123456789abcdef0123456789abcdef01234567", 77),
        ("git@github.com:owner/name.git", "0123456789abcdef0123456789abcdef01234567", 77),
        ("https://github.com/owner/../name.git", "0123456789abcdef0123456789abcdef01234567", 77),
    ],
)
def test_an_image_is_built_from_a_whole_commit_of_a_plain_address(
    repository: str, commit: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["argo", "check-source", "--repository", repository, "--commit", commit]) == code
    if code == 0:
        assert capsys.readouterr().out.strip() == f"{repository}#{commit}"
