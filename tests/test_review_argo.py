"""A second look at the cluster side: mistakes of an operator, of a settings file, of a kubeconfig, of a second try."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from argo_manifests import SETTINGS, Document, check, documents, parsed, template
from argo_server import NAMESPACE, ApiServer

from trading_runtime.argo.client import Cluster, open_cluster
from trading_runtime.argo.lint.run import lint
from trading_runtime.argo.schedules import schedule_problem
from trading_runtime.argo.settings import ArgoSettings, amount, load_argo_settings
from trading_runtime.argo.submit import submit
from trading_runtime.cli.main import main
from trading_runtime.core.errors import ConfigurationError, TemporaryError

pytest_plugins = ["argo_fixtures"]  # its fixtures: server, cluster, settings, words
LIVE = "workflowtemplate-live-cycle.yaml"
SWEEP = "workflowtemplate-backtest.yaml"
BUILD = "workflowtemplate-build-push-ghcr.yaml"
CRON = "cronworkflow-live-cycle.yaml"
SWEEP_ID = "0123456789abcdef"
NAME = f"backtest-{SWEEP_ID}"
TOKEN = "stolen" + "token"

Documents = dict[str, Document]
Plant = Callable[[Documents], object]


def cycle(found: Documents) -> Document:
    return template(found[LIVE], "cycle")


def shard(found: Documents) -> Document:
    return template(found[SWEEP], "shard")


def context(found: Documents) -> Document:
    return cycle(found)["container"]["securityContext"]


def tasks(found: Documents) -> list[Document]:
    return template(found[SWEEP], "planned")["dag"]["tasks"]


def spec(found: Documents, file: str) -> Document:
    return found[file]["spec"]


def binding(found: Documents) -> Document:
    return found["base/rolebinding-trading-live-executor.yaml"]


def rules(found: Documents, role: str) -> list[Document]:
    return found[f"base/role-trading-live-{role}.yaml"]["rules"]


def egress(found: Documents) -> Document:
    return found["base/networkpolicy-trading-live-allow-internet.yaml"]["spec"]


def schedule(text: str) -> Plant:
    return lambda found: spec(found, CRON).update(schedules=[text])


def without_denial(found: Documents) -> None:
    del found["base/networkpolicy-trading-live-default-deny.yaml"]
    found["base/kustomization.yaml"]["resources"].remove("networkpolicy-trading-live-default-deny.yaml")


def without_slot(found: Documents) -> None:
    args = cycle(found)["container"]["args"]
    place = args.index("--slot")
    del args[place : place + 2]


def by_shell(found: Documents) -> None:
    line = "trading-runtime sweep run --sweep {{inputs.parameters.sweep}}"
    shard(found)["container"].update(command=["/bin/sh", "-c"], args=[line])


# What it is, how it is planted, what the check must say.
MISTAKES: list[tuple[str, Plant, str]] = [
    ("a container that is root", lambda f: context(f).update(runAsUser=0), "is root"),
    ("a container that takes back its user", lambda f: context(f).update(runAsNonRoot=False), "takes back"),
    (
        "a container without a profile",
        lambda f: context(f).update(seccompProfile={"type": "Unconfined"}),
        "must be RuntimeDefault, not Unconfined",
    ),
    ("the kernel's files", lambda f: context(f).update(procMount="Unmasked"), "must be Default"),
    (
        "a builder with rights",
        lambda f: template(f[BUILD], "push")["container"]["securityContext"].update(privileged=True),
        "rootless means no rights",
    ),
    (
        "a limit below its request",
        lambda f: shard(f)["container"]["resources"]["limits"].update(memory="512Mi"),
        "is below the request 1Gi",
    ),
    (
        "a cycle that is killed first",
        lambda f: cycle(f)["container"]["resources"]["limits"].update(memory="4Gi"),
        "is not the request 512Mi",
    ),
    ("the seventh day", schedule("0 0 * * 7"), "days of the week are 0 to 6"),
    ("the last day", schedule("0 0 L * *"), "Argo cannot read 'L'"),
    ("the first monday", schedule("0 0 * * mon#1"), "Argo cannot read 'mon#1'"),
    ("a day that never comes", schedule("0 0 30 2 *"), "never comes"),
    ("hours backwards", schedule("0 22-2 * * *"), "22-2 ends before it begins"),
    (
        "a duration in words",
        lambda f: cycle(f)["retryStrategy"]["backoff"].update(duration="30sec"),
        "'30sec' is no duration",
    ),
    (
        "a factor in words",
        lambda f: cycle(f)["retryStrategy"]["backoff"].update(factor="two"),
        "must be a number, not 'two'",
    ),
    (
        "a delay in words",
        lambda f: spec(f, LIVE)["podGC"].update(deleteDelayDuration="600 seconds"),
        "'600 seconds' is no duration",
    ),
    (
        "a folder mounted twice",
        lambda f: cycle(f)["container"]["volumeMounts"].append({"mountPath": "/tmp", "name": "out"}),
        "/tmp is mounted twice",
    ),
    (
        "a variable given twice",
        lambda f: cycle(f)["container"]["env"].append({"name": "HOME", "value": "/root"}),
        "is given twice",
    ),
    (
        "a volume given twice",
        lambda f: cycle(f)["volumes"].append({"name": "tmp", "emptyDir": {"sizeLimit": "1Mi"}}),
        "is there twice",
    ),
    ("a folder without a limit", lambda f: cycle(f)["volumes"][0].update(emptyDir={}), "fill the node's disk"),
    (
        "an output on the read-only root",
        lambda f: template(f[SWEEP], "plan")["outputs"]["parameters"][0]["valueFrom"].update(path="/opt/sweep-id"),
        "is on the read-only root",
    ),
    (
        "an account that is not there",
        lambda f: spec(f, LIVE).update(serviceAccountName="live-cycel"),
        "there is no ServiceAccount 'live-cycel' in trading-live; did you mean live-cycle?",
    ),
    (
        "a priority that is not there",
        lambda f: spec(f, LIVE).update(podPriorityClassName="trading-lvie"),
        "there is no PriorityClass 'trading-lvie'",
    ),
    (
        "settings that are not there",
        lambda f: cycle(f)["volumes"][-1]["configMap"].update(name="live-cycle-setings"),
        "did you mean live-cycle-settings?",
    ),
    (
        "a lock of one's own",
        lambda f: spec(f, LIVE)["synchronization"].update(mutexes=[{"name": "cycle-{{workflow.name}}"}]),
        "differs from run to run",
    ),
    ("nobody who is told", lambda f: spec(f, LIVE).pop("onExit"), "nobody would be told"),
    ("an exit handler that trades", lambda f: spec(f, LIVE).update(onExit="cycle"), "would trade beside the cycle"),
    (
        "a hook that trades",
        lambda f: spec(f, LIVE).update(hooks={"running": {"template": "cycle", "expression": "true"}}),
        "would trade beside the cycle",
    ),
    ("no budget", lambda f: spec(f, LIVE).pop("podDisruptionBudget"), "draining a node would cut a cycle off"),
    ("pods that stay", lambda f: spec(f, LIVE).pop("podGC"), "ended pods would stay for ever"),
    ("workflows that stay", lambda f: spec(f, SWEEP).pop("ttlStrategy"), "fill the cluster's store"),
    ("a cycle that never ends", lambda f: cycle(f).update(daemon=True), "has no place over a pod that sends orders"),
    ("a cycle without its slot", without_slot, "has no --slot"),
    ("a schedule in local time", lambda f: spec(f, CRON).update(timezone="Europe/Berlin"), "must be Etc/UTC"),
    (
        "a breaker that latches",
        lambda f: spec(f, CRON).update(stopStrategy={"expression": "cronworkflow.failed >= 3"}),
        "stops cycles where nobody looks",
    ),
    ("a tick of yesterday", lambda f: spec(f, CRON).update(startingDeadlineSeconds=86_400), "from 1 to 3600"),
    ("a pod beyond its workflow", lambda f: cycle(f).update(activeDeadlineSeconds=3600), "end of the whole workflow"),
    (
        "a parameter given twice",
        lambda f: spec(f, SWEEP)["arguments"]["parameters"].append({"name": "sweep", "value": ""}),
        "parameters[sweep]: is given twice",
    ),
    (
        "an input given twice",
        lambda f: shard(f)["inputs"]["parameters"].append({"name": "sweep"}),
        "parameters[sweep]: is given twice",
    ),
    (
        "an entrypoint that nobody gives a value",
        lambda f: spec(f, SWEEP).update(entrypoint="shard"),
        "needs a value for 'shard', which nobody gives",
    ),
    (
        "too many pods by their end",
        lambda f: tasks(f)[0].update(withSequence={"start": "0", "end": "10000"}),
        "10001 pods",
    ),
    (
        "too many pods by a parameter",
        lambda f: spec(f, SWEEP)["arguments"]["parameters"][2].update(value="5000"),
        "5000 pods",
    ),
    (
        "no pods by a parameter",
        lambda f: spec(f, SWEEP)["arguments"]["parameters"][2].update(value="0"),
        "nothing would be done",
    ),
    (
        "pods in words",
        lambda f: spec(f, SWEEP)["arguments"]["parameters"][2].update(value="many"),
        "begins as no whole number",
    ),
    (
        "everything a Secret holds",
        lambda f: cycle(f)["container"].update(envFrom=[{"secretRef": {"name": "exchange-credentials"}}]),
        "takes whatever the Secret holds",
    ),
    (
        "a secret for everybody",
        lambda f: template(f[BUILD], "push")["volumes"][-1]["secret"].update(defaultMode=0o644),
        "0644 lets others read a secret",
    ),
    ("a parameter that a shell runs", by_shell, "would be run as a part of the program"),
    (
        "a pod with the cluster's rights",
        lambda f: binding(f).update(
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        ),
        "cluster-admin allows everything",
    ),
    (
        "a role that is not there",
        lambda f: binding(f)["roleRef"].update(name="executer"),
        "there is no Role 'executer'; did you mean executor?",
    ),
    (
        "a subject that is not there",
        lambda f: binding(f)["subjects"][0].update(name="live-cycl"),
        "its workflows would be Running for ever",
    ),
    (
        "a role into pods",
        lambda f: rules(f, "executor").append({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}),
        "a pod needs no more",
    ),
    (
        "a role that becomes others",
        lambda f: rules(f, "operator").append({"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}),
        "more rights than it has",
    ),
    ("nothing denied", without_denial, "no network policy that denies everything first"),
    ("everything open", lambda f: egress(f).update(egress=[{}]), "all addresses would be open"),
    (
        "the metadata server",
        lambda f: egress(f)["egress"][0]["to"][0]["ipBlock"].pop("except"),
        "where clouds hand out credentials",
    ),
    (
        "money beside privileged pods",
        lambda f: f["base/namespace-trading-live.yaml"]["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "privileged"}
        ),
        "must be restricted, not privileged",
    ),
    ("a label that is none", lambda f: f[LIVE]["metadata"]["labels"].update({"a": "b c!"}), "is no label"),
    (
        "a DAG that does nothing",
        lambda f: template(f[SWEEP], "planned").update(dag={"tasks": []}),
        "without doing anything",
    ),
    (
        "a patch of every template",
        lambda f: spec(f, LIVE).update(templateDefaults={"podSpecPatch": '{"hostNetwork": true}'}),
        "must not change hostNetwork",
    ),
    ("a parallelism of none", lambda f: spec(f, SWEEP).update(parallelism=0), "lets no pod start"),
    (
        "a grace in words",
        lambda f: cycle(f).update(podSpecPatch='{"terminationGracePeriodSeconds": "sixty"}'),
        "must be a whole number",
    ),
    (
        "results only of success",
        lambda f: tasks(f)[1].update(depends="shards.Succeeded"),
        "Skipped, Failed, Errored is not among",
    ),
    (
        "one lost pod that stops all",
        lambda f: template(f[SWEEP], "planned")["dag"].update(failFast=True),
        "one lost pod must not stop the others",
    ),
    (
        "half a digest",
        lambda f: cycle(f)["container"].update(image="ghcr.io/x/y:1@sha256:" + "ab" * 31),
        "ends in no digest",
    ),
]


@pytest.mark.parametrize(("plant_it", "words"), [one[1:] for one in MISTAKES], ids=[one[0] for one in MISTAKES])
def test_a_planted_mistake_is_found(plant_it: Plant, words: str, tmp_path: Path) -> None:
    found = documents()
    plant_it(found)
    told = [str(finding) for finding in check(tmp_path, found)]
    assert any(words in one for one in told), told
    assert all("\n" not in one for one in told)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("base/role-trading-live-executor.yaml", {"rules": 5}, "rules: must be a list, not '5'"),
        ("base/role-trading-live-executor.yaml", {"rules": [{"verbs": "*"}]}, "rules[0].verbs: must be a list"),
        ("base/rolebinding-trading-live-executor.yaml", {"roleRef": "executor"}, "roleRef: must be a mapping"),
        ("base/rolebinding-trading-live-executor.yaml", {"subjects": [[]]}, "subjects[0]: must be a mapping"),
        (
            "base/namespace-trading-live.yaml",
            {"metadata": {"name": "trading-live", "labels": "x"}},
            "must be a mapping",
        ),
        ("base/networkpolicy-trading-live-default-deny.yaml", {"spec": "all"}, "spec: must be a mapping"),
        ("base/networkpolicy-trading-live-default-deny.yaml", {"spec": {"policyTypes": [{}]}}, "must be a text"),
        ("base/kustomization.yaml", {"resources": [1]}, "resources[0]: must be a text, not '1'"),
        ("base/kustomization.yaml", {"patches": 1}, "patches: must be a list"),
    ],
)
def test_a_plain_object_of_another_shape_is_a_finding_and_no_crash(
    file: str, change: Document, words: str, tmp_path: Path
) -> None:
    found = documents()
    found[file].update(change)
    assert any(words in str(one) for one in check(tmp_path, found))


@pytest.mark.parametrize(
    "overrides",
    [
        ("live.name=" + "l" * 52, "sweep.name=" + "s" * 43, "watch.name=w", "reconcile.name=r"),
        ("namespaces.live=" + "a" * 63, "namespaces.research=" + "b" * 63, "namespaces.build=" + "c" * 63),
        ("live.schedule=@hourly", "watch.schedule=*/7 0-23/2 ? jan-mar,DEC MON-fri"),
        ("live.exchange=null", "live.telegram_secret=null", "pull_secret=null", "sweep.store.secret=null"),
        ("live.mode=live", "image=x/y:1@sha256:" + "ab" * 32, "live.google.audience=//iam.googleapis.com/x"),
        (
            "sweep.store.variables.AWS_ENDPOINT_URL=http://10.1.2.3:9000",
            *("network.object_store_port=9000", "network.object_store=10.1.2.3/32"),
        ),
        ("sweep.shards=500", "sweep.parallelism=500", "network.api_server=10.0.0.1/32", "network.api_server_port=443"),
    ],
    ids=lambda overrides: overrides[0][:30],
)
def test_unusual_settings_raise_no_false_alarm(overrides: tuple[str, ...], tmp_path: Path) -> None:
    assert check(tmp_path, documents(*overrides)) == []


def test_a_few_files_alone_raise_no_false_alarm(tmp_path: Path) -> None:
    found = documents()
    alone = [found[CRON], found[LIVE]]
    paths = []
    for number, body in enumerate(alone):
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(yaml.safe_dump(body))
    assert lint(paths, parsed, is_production=False).findings == []


def test_a_parameter_in_an_argument_of_our_own_command_is_no_program(tmp_path: Path) -> None:
    found = documents()
    found[SWEEP]["spec"]["templates"].append(
        {**shard(found), "name": "told", "outputs": {"parameters": [{"name": "x", "valueFrom": {"path": "/tmp/x"}}]}}
    )
    found[SWEEP]["spec"]["hooks"] = {"exit": {"template": "gather"}}
    assert check(tmp_path, found) == []


# --- settings


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sweep.name=" + "s" * 44], "43 leave room for a sweep's id"),
        (["sweep.name=gather"], "what one of its templates is called"),
        (["build.name=push"], "what one of its templates is called"),
        (["live.schedule=61 * * * *"], "no schedule of five fields"),
        (["watch.schedule=0 0 30 2 *"], "never comes"),
        (["live.size.memory=512m"], "must be memory such as"),
        (["clusters.generic.research_memory=128m"], "must be memory such as"),
        (["network.object_store=999.1.1.1/99"], "no range of addresses"),
        (["network.object_store=10.1.2.3/8"], "no range of addresses"),
        (["network.api_server_port=443"], "every private address as well"),
        (["sweep.gather_seconds=604800"], "must exceed sweep.gather_seconds"),
        (["live.grace_seconds=300", "live.pod_seconds=120"], "must be below live.pod_seconds"),
        (["sweep.store.variables.AWS_ENDPOINT_URL=https://user:word@host"], "looks like a secret"),
        (["sweep.store.variables.AWS_ENDPOINT_URL=objects.example.org"], "must be https://host:port"),
        (["sweep.store.variables.AWS_ENDPOINT_URL=https://10.1.2.3"], "not a private address"),
        (["sweep.store.variables.AWS_ENDPOINT_URL=http://10.1.2.3:9000"], "the store answers on port 9000"),
        (["sweep.store.variables.AWS_ACCESS_KEY_ID=x"], "comes from the Secret object-store already"),
        (["sweep.store.variables.A B=x"], "no name of a variable"),
        (["sweep.gather_size.memory=9Gi", "sweep.gather_size.cpu=1"], "no such pod would ever start"),
        (["sweep.plan_size.memory=1Gi", "sweep.plan_size.cpu=64"], "no such pod would ever start"),
    ],
)
def test_settings_that_could_never_run_are_refused_in_one_line(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        load_argo_settings(SETTINGS, overrides)
    assert "\n" not in str(refused.value)
    assert "user:word" not in str(refused.value)


def test_quantities_are_read_as_kubernetes_reads_them() -> None:
    assert [amount(text) for text in ("250m", "1", "0.5", "1Ki", "2Mi", "1k", "1.5G")] == [
        *(0.25, 1.0, 0.5),
        *(1024.0, 2 * 1024.0**2, 1000.0, 1.5e9),
    ]


def test_schedules_are_those_of_argo() -> None:
    fine = ["2 * * * *", "4-54/10 * * * *", "@daily", "0 0 29 2 *", "0 0 ? * SUN", "5/10 * * * *", "0 0 1-7 * 1"]
    assert [text for text in fine if schedule_problem(text)] == []
    wrong = [
        "",
        "* * * * * *",
        "60 * * * *",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 1 13 *",
        "@every 1h",
        "@reboot",
        "a * * * *",
    ]
    assert [text for text in wrong if not schedule_problem(text)] == []


def test_the_store_s_keys_are_files_that_only_the_pod_reads() -> None:
    for name in ("plan", "shard", "gather"):
        pod = template(documents()[SWEEP], name)
        variables = {one["name"]: one.get("value") for one in pod["container"]["env"]}
        assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(variables)
        volume = next(one for one in pod["volumes"] if "secret" in one)
        mount = next(one for one in pod["container"]["volumeMounts"] if one["name"] == volume["name"])
        assert (volume["secret"]["defaultMode"], mount["readOnly"]) == (0o440, True)
        files = {f"{mount['mountPath']}/{one['path']}" for one in volume["secret"]["items"]}
        assert {variables["AWS_ACCESS_KEY_ID_FILE"], variables["AWS_SECRET_ACCESS_KEY_FILE"]} == files


def test_a_workflow_that_says_nothing_ends_and_is_swept_up() -> None:
    data = documents()["base/configmap-argo-workflow-controller-configmap.yaml"]["data"]
    defaults = yaml.safe_load(data["workflowDefaults"])["spec"]
    assert defaults["activeDeadlineSeconds"] > 0
    assert {"podGC", "ttlStrategy", "securityContext"} <= set(defaults)
    assert "retryStrategy" not in json.dumps(defaults)  # it would stand over cycles


# --- the API server


def test_a_run_whose_forerunner_was_swept_up_is_not_started_beside(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    submit(cluster, settings, SWEEP_ID, 4)
    server.advance(NAMESPACE, NAME, phase="Failed")
    assert submit(cluster, settings, SWEEP_ID, 4, is_again=True).progress.name == f"{NAME}-2"
    del server.workflows[NAMESPACE, NAME]  # its time was over
    again = submit(cluster, settings, SWEEP_ID, 4)
    assert (again.is_new, again.progress.name) == (False, f"{NAME}-2")
    with pytest.raises(ConfigurationError, match=f"{NAME}-2 is Pending"):
        submit(cluster, settings, SWEEP_ID, 4, is_again=True)
    server.advance(NAMESPACE, f"{NAME}-2", phase="Failed")
    assert submit(cluster, settings, SWEEP_ID, 4, is_again=True).progress.name == f"{NAME}-3"


def test_the_newest_run_is_what_became_of_a_sweep(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    submit(cluster, settings, SWEEP_ID, 4)
    server.advance(NAMESPACE, NAME, phase="Failed")
    submit(cluster, settings, SWEEP_ID, 4, is_again=True)
    server.advance(NAMESPACE, f"{NAME}-2", phase="Succeeded")
    done = submit(cluster, settings, SWEEP_ID, 4)
    assert (done.is_new, done.progress.name, done.progress.phase) == (False, f"{NAME}-2", "Succeeded")


def test_another_sweep_or_name_is_no_run_of_this_one(
    cluster: Cluster, server: ApiServer, settings: ArgoSettings
) -> None:
    submit(cluster, settings, "f" * 16, 4)
    assert submit(cluster, settings, SWEEP_ID, 4).progress.name == NAME


def test_a_dry_run_of_another_try_keeps_nothing(cluster: Cluster, server: ApiServer, settings: ArgoSettings) -> None:
    submit(cluster, settings, SWEEP_ID, 4)
    server.advance(NAMESPACE, NAME, phase="Failed")
    told = submit(cluster, settings, SWEEP_ID, 4, is_again=True, is_dry_run=True)
    assert (told.is_new, told.progress.name) == (True, f"{NAME}-2")
    assert list(server.workflows) == [(NAMESPACE, NAME)]


def test_what_the_guide_says_after_a_failed_run_is_what_happens(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    root = SETTINGS.parent.parent
    config, store = str(root / "examples/sweep/sma_cross.json"), str(tmp_path / "objects")
    words = ["--store", store, "--settings", str(SETTINGS)]
    assert main(["argo", "submit", "--sweep-config", config, "--shards", "2", *words]) == 0
    [(_, name)] = server.workflows
    sweep = name.removeprefix("backtest-")
    server.advance(NAMESPACE, name, phase="Failed", message="child failed")
    capsys.readouterr()
    guide = (root / "docs/cluster.md").read_text(encoding="utf-8")
    assert "trading-runtime argo submit --sweep SWEEP_ID --again" in guide
    assert main(["argo", "submit", "--sweep", sweep, *words]) == 0
    assert "--again computes what is missing" in capsys.readouterr().out
    assert len(server.workflows) == 1
    assert main(["argo", "submit", "--sweep", sweep, "--again", *words]) == 0
    assert f"{name}-2: created" in capsys.readouterr().out


def test_a_watch_that_always_ends_at_once_is_no_storm_and_no_failure(
    server: ApiServer, settings: ArgoSettings, tmp_path: Path
) -> None:
    waits: list[float] = []
    mine = open_cluster(NAMESPACE, kubeconfig=server.kubeconfig(tmp_path), environment={}, wait=waits.append)
    submit(mine, settings, SWEEP_ID, 4)
    asked = mine.follow(NAME)
    next(asked)
    for number in range(1, 6):
        server.faults = [410]  # as an ended watch: nothing is told
        next(asked)
        assert len(waits) == number


KUBECONFIG = f"""apiVersion: v1
kind: Config
current-context: a
contexts: [{{name: a, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:1"}}}}]
users: [{{name: u, user: {{token: {TOKEN}}}}}]
"""


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"users: [{{token: {TOKEN}: x}}\n", ConfigurationError),
        (f"users:\n\t- token: {TOKEN}\n", ConfigurationError),
        (f"- {TOKEN}\n", ConfigurationError),
        (KUBECONFIG.replace(f"token: {TOKEN}", f'token: "{TOKEN}\\nx"'), ConfigurationError),
        (KUBECONFIG.replace(f"token: {TOKEN}", f'token: "{TOKEN}€"'), ConfigurationError),
        (KUBECONFIG.replace("http://127", f"http://user:{TOKEN}@127"), TemporaryError),
        (KUBECONFIG.replace("http://127.0.0.1:1", f"no server: {TOKEN}"), ConfigurationError),
    ],
    ids=["not YAML", "a tab", "a list", "a line break", "no ASCII", "a password in the address", "no address"],
)
def test_a_kubeconfig_that_cannot_be_used_is_said_in_one_line_without_its_token(
    text: str, error: type[Exception], tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error) as refused:
        open_cluster(NAMESPACE, kubeconfig=path, environment={}, wait=lambda seconds: None).get(NAME)
    assert TOKEN not in str(refused.value)
    assert "\n" not in str(refused.value)
