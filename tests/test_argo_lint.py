"""Every mistake that the check of manifests must find is planted into our own manifests, one at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from argo_manifests import Document, check, documents, parsed, template, workflows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trading_runtime.argo.lint.expressions import ExpressionError, names_of
from trading_runtime.argo.lint.tags import Scope, tag_problems
from trading_runtime.cli.main import main

Documents = dict[str, Document]
CRON, LIVE = "cronworkflow-live-cycle.yaml", "workflowtemplate-live-cycle.yaml"
SWEEP, BUILD = "workflowtemplate-backtest.yaml", "workflowtemplate-build-push-ghcr.yaml"
WATCH = "workflowtemplate-watch.yaml"


def rename(holder: dict[str, Any], old: str, new: str) -> None:
    holder[new] = holder.pop(old)


def cycle(found: Documents) -> dict[str, Any]:
    return template(found[LIVE], "cycle")


def shard(found: Documents) -> dict[str, Any]:
    return template(found[SWEEP], "shard")


def task(found: Documents, name: str, dag: str = "backtest") -> dict[str, Any]:
    return next(one for one in template(found[SWEEP], dag)["dag"]["tasks"] if one["name"] == name)


def plant(path: str, value: Any) -> Callable[[Documents], None]:
    """Return what sets one value: ``file: spec.key.key``."""

    def planted(found: Documents) -> None:
        file, _, place = path.partition(": ")
        holder: Any = found[file]
        *before, last = place.split(".")
        for word in before:
            holder = template(found[file], word[1:]) if word.startswith("@") else holder.setdefault(word, {})
        if value is REMOVED:
            del holder[last]
        else:
            holder[last] = value

    return planted


REMOVED = object()

# The 20 mistakes that no single tool of the field catches all of, in the words of the file they are planted into.
TWENTY: list[tuple[str, Callable[[Documents], None], str, str, str]] = [
    (
        "a misspelt field",
        lambda found: rename(found[CRON]["spec"], "concurrencyPolicy", "concurencyPolicy"),
        CRON,
        "spec.concurencyPolicy",
        "did you mean concurrencyPolicy?",
    ),
    (
        "a word that is none",
        plant(f"{CRON}: spec.concurrencyPolicy", "Never"),
        CRON,
        "spec.concurrencyPolicy",
        "must be one of Allow, Forbid, Replace",
    ),
    (
        "an impossible minute",
        plant(f"{CRON}: spec.schedules", ["61 * * * *"]),
        CRON,
        "spec.schedules[0]",
        "is no schedule of five fields",
    ),
    (
        "an entrypoint that is no template",
        plant(f"{LIVE}: spec.entrypoint", "cycl"),
        LIVE,
        "spec.entrypoint",
        "there is no template 'cycl'; did you mean cycle?",
    ),
    (
        "an input nobody declared",
        lambda found: shard(found)["container"]["args"].append("{{inputs.parameters.nope}}"),
        SWEEP,
        "spec.templates[shard].container.args[12]",
        "have no parameter 'nope'",
    ),
    (
        "a field Argo 4 removed",
        lambda found: rename(found[CRON]["spec"], "schedules", "schedule"),
        CRON,
        "spec.schedule",
        "removed in Argo 4.0",
    ),
    (
        "a lock Argo 4 removed",
        lambda found: rename(found[LIVE]["spec"]["synchronization"], "mutexes", "mutex"),
        LIVE,
        "spec.synchronization.mutex",
        "removed in Argo 4.0",
    ),
    ("a number as a text", plant(f"{SWEEP}: spec.parallelism", "16"), SWEEP, "spec.parallelism", "valid integer"),
    (
        "a unit that is none",
        plant(f"{SWEEP}: @shard.container.resources.limits.memory", "512MB"),
        SWEEP,
        "spec.templates[shard].container.resources.limits.memory",
        "is no quantity",
    ),
    (
        "a task that waits for none",
        lambda found: task(found, "gather").update(depends="shrads.Succeeded"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather]",
        "which is no task here; did you mean shards?",
    ),
    (
        "two ways to wait",
        lambda found: task(found, "gather").update(dependencies=["shards"]),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather]",
        "has depends and dependencies",
    ),
    (
        "a name too long for a run",
        plant(f"{CRON}: metadata.name", "a" * 60),
        CRON,
        "metadata.name",
        "has 60 characters; Argo allows 52",
    ),
    (
        "a retry expression that cannot be read",
        plant(f"{SWEEP}: @shard.retryStrategy.expression", "asInt(lastRetry.exitCode ="),
        SWEEP,
        "spec.templates[shard].retryStrategy.expression",
        "is no expression",
    ),
    (
        "a retry policy that is none",
        plant(f"{LIVE}: @cycle.retryStrategy.retryPolicy", "OnErrors"),
        LIVE,
        "spec.templates[cycle].retryStrategy.retryPolicy",
        "did you mean OnError?",
    ),
    (
        "container and script at once",
        plant(f"{SWEEP}: @shard.script", {"image": "x:1", "source": "pass", "command": ["python"]}),
        SWEEP,
        "spec.templates[shard]",
        "is container and script at once",
    ),
    (
        "a budget as a text",
        plant(f"{LIVE}: spec.podDisruptionBudget.minAvailable", "9999"),
        LIVE,
        "spec.podDisruptionBudget.minAvailable",
        "not the text '9999'",
    ),
    (
        "a misspelt security field",
        lambda found: rename(
            cycle(found)["container"]["securityContext"], "readOnlyRootFilesystem", "readonlyRootFilesystem"
        ),
        LIVE,
        "spec.templates[cycle].container.securityContext.readonlyRootFilesystem",
        "did you mean readOnlyRootFilesystem?",
    ),
    (
        "two templates of one name",
        lambda found: found[SWEEP]["spec"]["templates"].append(shard(found)),
        SWEEP,
        "spec.templates[shard]",
        "there are two templates 'shard'",
    ),
    (
        "two loops at once",
        lambda found: task(found, "shards").update(withItems=["1"]),
        SWEEP,
        "spec.templates[backtest].dag.tasks[shards]",
        "has withItems and withSequence",
    ),
    (
        "a patch that is no YAML",
        plant(f"{LIVE}: @cycle.podSpecPatch", '{"terminationGracePeriodSeconds": 60'),
        LIVE,
        "spec.templates[cycle].podSpecPatch",
        "is not YAML",
    ),
    (
        "no image",
        plant(f"{SWEEP}: @shard.container.image", REMOVED),
        SWEEP,
        "spec.templates[shard].container.image",
        "is missing",
    ),
]

SAFETY: list[tuple[str, Callable[[Documents], None], str, str, str]] = [
    (
        "a cycle that is retried on errors",
        plant(f"{LIVE}: @cycle.retryStrategy", {"limit": 2, "retryPolicy": "OnError"}),
        LIVE,
        "spec.templates[cycle].retryStrategy",
        "could send an order again",
    ),
    (
        "a cycle that is always retried",
        plant(f"{LIVE}: @cycle.retryStrategy", {"limit": 2, "retryPolicy": "Always"}),
        LIVE,
        "spec.templates[cycle].retryStrategy",
        "could send an order again",
    ),
    (
        "a cycle retried after an unknown fate",
        plant(f"{LIVE}: @cycle.retryStrategy.expression", "asInt(lastRetry.exitCode) >= 75"),
        LIVE,
        "spec.templates[cycle].retryStrategy",
        "could send an order again",
    ),
    (
        "a cycle retried after 75 or a lost pod",
        plant(
            f"{LIVE}: @cycle.retryStrategy.expression", "asInt(lastRetry.exitCode) == 75 || lastRetry.status == 'Error'"
        ),
        LIVE,
        "spec.templates[cycle].retryStrategy",
        "could send an order again",
    ),
    (
        "a retry over all of a live workflow",
        plant(f"{LIVE}: spec.retryStrategy", {"limit": 1, "expression": "asInt(lastRetry.exitCode) == 75"}),
        LIVE,
        "spec.retryStrategy",
        "stands over a pod that sends orders",
    ),
    (
        "a default retry over a live workflow",
        plant(f"{LIVE}: spec.templateDefaults", {"retryStrategy": {"limit": 1}}),
        LIVE,
        "spec.templateDefaults.retryStrategy",
        "stands over a pod that sends orders",
    ),
    (
        "a retry of whatever happened",
        plant(f"{SWEEP}: @shard.retryStrategy.expression", REMOVED),
        SWEEP,
        "spec.templates[shard].retryStrategy",
        "repeats wrong words and wrong configuration as well",
    ),
    (
        "a retry without an end",
        plant(f"{SWEEP}: @shard.retryStrategy.limit", REMOVED),
        SWEEP,
        "spec.templates[shard].retryStrategy.limit",
        "for ever",
    ),
    (
        "a retry that asks a name that is none",
        plant(f"{SWEEP}: @shard.retryStrategy.expression", "asInt(lastRetry.exitcode) == 3"),
        SWEEP,
        "spec.templates[shard].retryStrategy.expression",
        "did you mean lastRetry.exitCode?",
    ),
    (
        "a live workflow that may overlap",
        plant(f"{CRON}: spec.concurrencyPolicy", "Replace"),
        CRON,
        "spec.concurrencyPolicy",
        "must be Forbid for what sends orders",
    ),
    (
        "a live workflow without its lock",
        plant(f"{LIVE}: spec.synchronization", REMOVED),
        LIVE,
        "spec.synchronization.mutexes",
        "would overlap",
    ),
    (
        "no deadline of a pod",
        plant(f"{SWEEP}: @gather.activeDeadlineSeconds", REMOVED),
        SWEEP,
        "spec.templates[gather].activeDeadlineSeconds",
        "is missing",
    ),
    (
        "no deadline of a workflow",
        plant(f"{LIVE}: spec.activeDeadlineSeconds", REMOVED),
        LIVE,
        "spec.activeDeadlineSeconds",
        "is missing",
    ),
    ("no time zone", plant(f"{CRON}: spec.timezone", REMOVED), CRON, "spec.timezone", "is missing"),
    ("a time zone that is none", plant(f"{CRON}: spec.timezone", "Etc/UCT2"), CRON, "spec.timezone", "is no time zone"),
    (
        "ticks that get lost",
        plant(f"{CRON}: spec.startingDeadlineSeconds", 0),
        CRON,
        "spec.startingDeadlineSeconds",
        "would be lost",
    ),
    (
        "a root file system one can write",
        plant(f"{LIVE}: @cycle.container.securityContext.readOnlyRootFilesystem", False),
        LIVE,
        "spec.templates[cycle].container.securityContext.readOnlyRootFilesystem",
        "must be true",
    ),
    (
        "capabilities that were kept",
        plant(f"{SWEEP}: @plan.container.securityContext.capabilities", REMOVED),
        SWEEP,
        "spec.templates[plan].container.securityContext.capabilities",
        "must drop ALL",
    ),
    (
        "more rights later",
        plant(f"{SWEEP}: @plan.container.securityContext.allowPrivilegeEscalation", REMOVED),
        SWEEP,
        "spec.templates[plan].container.securityContext.allowPrivilegeEscalation",
        "must be false",
    ),
    (
        "root",
        lambda found: (
            found[SWEEP]["spec"]["securityContext"].update(runAsUser=0),
            template(found[SWEEP], "plan")["securityContext"].update(runAsUser=0),
        ),
        SWEEP,
        "spec.templates[plan].securityContext.runAsUser",
        "or root",
    ),
    (
        "an unconfined pod",
        plant(f"{SWEEP}: @plan.securityContext.seccompProfile.type", "Unconfined"),
        SWEEP,
        "spec.templates[plan].securityContext.seccompProfile.type",
        "must be RuntimeDefault",
    ),
    (
        "no request of memory",
        plant(f"{SWEEP}: @plan.container.resources.requests.memory", REMOVED),
        SWEEP,
        "spec.templates[plan].container.resources.requests.memory",
        "is missing",
    ),
    (
        "no command",
        plant(f"{SWEEP}: @plan.container.command", REMOVED),
        SWEEP,
        "spec.templates[plan].container.command",
        "ask the registry",
    ),
    (
        "the API token in the command's sight",
        lambda found: cycle(found)["container"]["volumeMounts"].pop(2),
        LIVE,
        "spec.templates[cycle].container.volumeMounts",
        "must not see the API token",
    ),
    (
        "a folder of the node",
        lambda found: cycle(found)["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
        LIVE,
        "spec.templates[cycle].volumes[node]",
        "is a hostPath",
    ),
    (
        "a mount of nothing",
        lambda found: cycle(found)["volumes"].pop(0),
        LIVE,
        "spec.templates[cycle].container.volumeMounts",
        "there is no volume 'tmp'",
    ),
    (
        "the default account",
        plant(f"{LIVE}: spec.serviceAccountName", "default"),
        LIVE,
        "spec.serviceAccountName",
        "not default",
    ),
    (
        "an image without a version",
        plant(f"{LIVE}: @cycle.container.image", "ghcr.io/owner/trading-runtime"),
        LIVE,
        "spec.templates[cycle].container.image",
        "names no version",
    ),
    (
        "a secret as a parameter",
        lambda found: found[SWEEP]["spec"]["arguments"]["parameters"].append({"name": "api-key", "value": "x"}),
        SWEEP,
        "spec.arguments.parameters[api-key]",
        "is a secret as a parameter",
    ),
    (
        "a secret as an input",
        lambda found: template(found[SWEEP], "plan")["inputs"]["parameters"].append(
            {"name": "github_token", "value": "x"}
        ),
        SWEEP,
        "spec.templates[plan].inputs.parameters[github_token]",
        "is a secret as a parameter",
    ),
    (
        "a secret in a variable",
        lambda found: cycle(found)["container"]["env"].append({"name": "BINANCE_API_SECRET", "value": "abc"}),
        LIVE,
        "spec.templates[cycle].container.env[BINANCE_API_SECRET]",
        "holds a secret in the manifest",
    ),
    (
        "a token in an argument",
        lambda found: cycle(found)["container"]["args"].append("ghp_" + "a" * 36),
        LIVE,
        "spec.templates[cycle].container.args[9]",
        "looks like a secret",
    ),
]

HIDDEN: list[tuple[str, Callable[[Documents], None], str, str, str]] = [
    (
        "a patch that takes rights back",
        plant(f"{LIVE}: @cycle.podSpecPatch", '{"securityContext": {"runAsUser": 0}}'),
        LIVE,
        "spec.templates[cycle].podSpecPatch",
        "must not change securityContext",
    ),
    (
        "a patch over all pods",
        plant(f"{LIVE}: spec.podSpecPatch", "hostNetwork: true"),
        LIVE,
        "spec.podSpecPatch",
        "must not change hostNetwork",
    ),
    (
        "a sidecar",
        plant(f"{LIVE}: @cycle.sidecars", [{"name": "more", "image": "x:1"}]),
        LIVE,
        "spec.templates[cycle].sidecars",
        "nobody checks",
    ),
    (
        "a template inside a task",
        lambda found: (
            task(found, "gather").pop("template"),
            task(found, "gather").update(inline={"container": {"image": "x:1"}}),
        ),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather].inline",
        "nobody checks",
    ),
    (
        "a live template that another workflow retries",
        lambda found: template(found[SWEEP], "planned").update(
            retryStrategy={"limit": 1, "retryPolicy": "Always"},
            dag={
                "tasks": [{"name": "trade", "templateRef": {"name": "live-cycle", "template": "cycle"}}],
            },
        ),
        SWEEP,
        "spec.templates[planned].retryStrategy",
        "could send an order again",
    ),
    (
        "a cycle inside a shell",
        lambda found: shard(found)["container"].update(
            command=["sh", "-c"], args=["trading-runtime cycle --config x --mode live"]
        ),
        SWEEP,
        "spec.templates[shard].retryStrategy",
        "could send an order again",
    ),
    (
        "a deadline on what runs no pod",
        plant(f"{SWEEP}: @planned.activeDeadlineSeconds", 60),
        SWEEP,
        "spec.templates[planned].activeDeadlineSeconds",
        "belongs on what runs a pod",
    ),
    (
        "a task that goes on in two ways",
        lambda found: task(found, "gather").update(continueOn={"failed": True}),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather]",
        "has depends and continueOn",
    ),
]

REFERENCES: list[tuple[str, Callable[[Documents], None], str, str, str]] = [
    (
        "an exit handler that is no template",
        plant(f"{LIVE}: spec.onExit", "notfiy"),
        LIVE,
        "spec.onExit",
        "did you mean notify?",
    ),
    (
        "a task without an argument",
        lambda found: task(found, "gather").update(arguments={"parameters": []}),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather].arguments",
        "needs a value for 'sweep'",
    ),
    (
        "a task with an argument too many",
        lambda found: task(found, "gather")["arguments"]["parameters"].append({"name": "swep", "value": "1"}),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather].arguments",
        "did you mean sweep?",
    ),
    (
        "a task that calls no template",
        lambda found: task(found, "gather").update(template="gahter"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather].template",
        "did you mean gather?",
    ),
    (
        "a workflow parameter nobody declared",
        lambda found: task(found, "shards")["withSequence"].update(count="{{workflow.parameters.shard}}"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[shards].withSequence.count",
        "did you mean shards?",
    ),
    (
        "an output that its task has not",
        lambda found: task(found, "shards")["arguments"]["parameters"][0].update(
            value="{{tasks.plan.outputs.parameters.id}}"
        ),
        SWEEP,
        "spec.templates[backtest].dag.tasks[shards].arguments.parameters[sweep].value",
        "has no outputs.parameters.id",
    ),
    (
        "an output of a task that comes later",
        lambda found: task(found, "plan")["arguments"]["parameters"][0].update(value="{{tasks.gather.status}}"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[plan].arguments.parameters[configuration].value",
        "is no task that has ended by then",
    ),
    (
        "an item where there is no loop",
        lambda found: task(found, "gather")["arguments"]["parameters"][0].update(value="{{item}}"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather].arguments.parameters[sweep].value",
        "there is no item here",
    ),
    (
        "a status before the end",
        lambda found: cycle(found)["container"]["args"].append("{{workflow.status}}"),
        LIVE,
        "spec.templates[cycle].container.args[9]",
        "is known only to exit handlers",
    ),
    (
        "braces that never close",
        lambda found: cycle(found)["container"]["args"].append("{{workflow.name"),
        LIVE,
        "spec.templates[cycle].container.args[9]",
        "never closes",
    ),
    (
        "a task that waits for itself",
        lambda found: task(found, "plan").update(depends="gather.Succeeded"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[plan]",
        "depends on itself",
    ),
    (
        "a result no task has",
        lambda found: task(found, "gather").update(depends="shards.Succeded || shards.Failed"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[gather].depends",
        "did you mean Succeeded?",
    ),
    (
        "more pods than a workflow holds",
        lambda found: task(found, "shards")["withSequence"].update(count=5000),
        SWEEP,
        "spec.templates[backtest].dag.tasks[shards].withSequence.count",
        "use larger shards",
    ),
    (
        "a number of pods that is none",
        lambda found: task(found, "shards")["withSequence"].update(count="many"),
        SWEEP,
        "spec.templates[backtest].dag.tasks[shards].withSequence.count",
        "must be a whole number",
    ),
    (
        "a schedule of a template that is not there",
        plant(f"{CRON}: spec.workflowSpec.workflowTemplateRef.name", "live-cylce"),
        CRON,
        "spec.workflowSpec.workflowTemplateRef",
        "did you mean live-cycle?",
    ),
    (
        "what a run may not set",
        plant(f"{CRON}: spec.workflowSpec.serviceAccountName", "live-cycle"),
        CRON,
        "spec.workflowSpec.serviceAccountName",
        "belongs on the template",
    ),
    (
        "a parameter its template has not",
        plant(f"{CRON}: spec.workflowSpec.arguments", {"parameters": [{"name": "slot", "value": "1"}]}),
        CRON,
        "spec.workflowSpec.arguments",
        "has no parameter 'slot'",
    ),
    (
        "two objects of one name",
        lambda found: found[WATCH].update(metadata={**found[WATCH]["metadata"], "name": "live-cycle"}),
        WATCH,
        "metadata.name",
        "is in ",
    ),
    (
        "another version of the API",
        plant(f"{LIVE}: apiVersion", "argoproj.io/v1"),
        LIVE,
        "apiVersion",
        "must be argoproj.io/v1alpha1",
    ),
]


@pytest.mark.parametrize(
    ("plant_it", "file", "path", "words"),
    [one[1:] for one in [*TWENTY, *SAFETY, *HIDDEN, *REFERENCES]],
    ids=[one[0] for one in [*TWENTY, *SAFETY, *HIDDEN, *REFERENCES]],
)
def test_a_planted_mistake_is_found_where_it_is(
    plant_it: Callable[[Documents], None], file: str, path: str, words: str, tmp_path: Path
) -> None:
    found = workflows()
    plant_it(found)
    # What is checked together is applied together; the other manifests have nothing to do with these.
    findings = check(tmp_path, {name: found[name] for name in dict.fromkeys((CRON, LIVE, file))})
    told = [str(one) for one in findings]
    here = [one.message for one in findings if (Path(one.file).name, one.path) == (file, path)]
    assert any(words in message for message in here), told
    assert all("\n" not in line for line in told)


def test_there_are_the_twenty_mistakes_of_the_field() -> None:
    assert len(TWENTY) == 21  # one of them, what Argo 4 removed, is planted twice


def test_nothing_is_found_where_nothing_is_wrong(tmp_path: Path) -> None:
    assert check(tmp_path, documents()) == []


@pytest.mark.parametrize(
    ("file", "name", "change", "words"),
    [
        (LIVE, "cycle", lambda args: [*args, "--mod", "live"], "has no option --mod; did you mean --mode?"),
        (LIVE, "cycle", lambda args: ["cycel", *args[1:]], "did you mean cycle?"),
        (
            LIVE,
            "cycle",
            lambda args: [word.replace("dry-run", "dry") for word in args],
            "must be one of dry-run, paper, live",
        ),
        (WATCH, "watch", lambda args: [*args, "--every", "soon"], "must be seconds"),
        (SWEEP, "shard", lambda args: [word.replace("--shards", "--shard-count") for word in args], "--shard-count"),
        (
            SWEEP,
            "shard",
            lambda args: [word.replace("{{inputs.parameters.shard}}", "{{inputs.parameters.sweep}}") for word in args],
            "--shard",
        ),
    ],
)
def test_a_command_that_our_own_parser_refuses_is_found(
    file: str, name: str, change: Callable[[list[str]], list[str]], words: str, tmp_path: Path
) -> None:
    found = workflows()
    container = template(found[file], name)["container"]
    container["args"] = change(container["args"])
    findings = check(tmp_path, {file: found[file], CRON: found[CRON], LIVE: found[LIVE]}, refusal=parsed)
    assert len(findings) == 1
    assert findings[0].path == f"spec.templates[{name}].container.args"
    assert words in findings[0].message


def test_an_image_by_tag_is_found_only_in_production(tmp_path: Path) -> None:
    found = {LIVE: workflows()[LIVE]}
    assert check(tmp_path, found) == []
    told = [one.message for one in check(tmp_path, found, is_production=True)]
    assert len(told) == 2
    assert all("production needs @sha256:DIGEST" in one for one in told)


@pytest.mark.parametrize(
    ("plant_it", "words"),
    [
        (
            lambda found: found["base/role-trading-live-executor.yaml"]["rules"][0].update(verbs=["*"]),
            "allows everything",
        ),
        (
            lambda found: found["base/role-trading-live-executor.yaml"]["rules"].append(
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
            ),
            "lets an account read secrets",
        ),
        (lambda found: found["base/namespace-trading-live.yaml"]["metadata"].pop("labels"), "any pod would be let in"),
        (lambda found: found["base/kustomization.yaml"]["resources"].pop(), "would not be applied"),
        (lambda found: found["base/kustomization.yaml"]["resources"].append("gone.yaml"), "which is not there"),
        (
            lambda found: found["overlays/generic/resourcequota-trading-research-pods.yaml"]["metadata"].update(
                name="x"
            ),
            "changes ResourceQuota 'x', which is not there",
        ),
        (
            lambda found: found["base/serviceaccount-trading-live-watch.yaml"]["metadata"].pop("namespace"),
            "wherever the context points",
        ),
        (
            lambda found: found["base/role-trading-live-executor.yaml"].update(
                {"apiVersion": "v1", "kind": "Secret", "data": {"token": "eA=="}}
            ),
            "secrets are made in the cluster",
        ),
    ],
)
def test_a_planted_mistake_in_a_plain_object_is_found(
    plant_it: Callable[[Documents], None], words: str, tmp_path: Path
) -> None:
    found = documents()
    plant_it(found)
    told = [str(one) for one in check(tmp_path, found)]
    assert [line for line in told if words in line], told


def test_a_document_whose_fields_are_wrong_hides_no_other_and_raises_no_false_alarm(tmp_path: Path) -> None:
    found = workflows()
    found[LIVE]["spec"]["parallelism"] = "16"
    found[SWEEP]["spec"]["entrypoint"] = "nothing"
    told = {(Path(one.file).name, one.path) for one in check(tmp_path, found)}
    assert told == {(LIVE, "spec.parallelism"), (SWEEP, "spec.entrypoint")}


def test_quantities_may_be_numbers_as_kubernetes_takes_them(tmp_path: Path) -> None:
    found = {SWEEP: workflows()[SWEEP]}
    template(found[SWEEP], "plan")["container"]["resources"]["requests"]["cpu"] = 1
    assert check(tmp_path, found) == []


def test_the_command_says_each_finding_in_a_line_and_ends_with_three(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {LIVE: workflows()[LIVE]}
    del cycle(found)["activeDeadlineSeconds"]
    check(tmp_path, found)
    assert main(["argo", "lint", str(tmp_path / LIVE)]) == 3
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / LIVE}: spec.templates[cycle].activeDeadlineSeconds: "
        "is missing: a pod that hangs would hang for ever"
    ]
    assert main(["argo", "lint", str(tmp_path / LIVE), "--json", "--production"]) == 3
    assert capsys.readouterr().out.count('"message"') == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("kind: [", "not YAML"),
        ("kind: A\nkind: B\n", "key 'kind' is given twice"),
        ("- 1\n", "holds list, not a manifest"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    assert main(["argo", "lint", str(path)]) == 77
    told = capsys.readouterr().err
    assert words in told
    assert str(path) in told
    assert len(told.splitlines()) == 1
    assert main(["argo", "lint", str(tmp_path / "gone.yaml")]) == 77
    assert "no such file" in capsys.readouterr().err


def places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [before] if before else []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*before, key))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_whatever_stands_in_a_manifest_is_judged_and_never_a_crash(tmp_path: Path, data: st.DataObject) -> None:
    found = workflows()
    file = data.draw(st.sampled_from([LIVE, CRON, SWEEP, BUILD]))
    *way, last = data.draw(st.sampled_from(places(found[file])))
    holder: Any = found[file]
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(
        st.sampled_from([None, "", "x", "{{x}}", 0, -1, 1.5, True, [], {}, [None], [{}], {"x": None}])
    )
    for finding in check(tmp_path, {name: found[name] for name in dict.fromkeys((CRON, LIVE, file))}):
        assert finding.message


# --- expressions and tags


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("asInt(lastRetry.exitCode) == 75", ["lastRetry.exitCode", "asInt()"]),
        ("a || !b && c.d", ["a", "b", "c.d"]),
        ("x in ['1', \"2\"] ? y : -3.5", ["x", "y"]),
        ("workflow['parameters']['a-b'] not in [1]", ["workflow.parameters.a-b"]),
        ("sprig.regexMatch('^a', item.name)", ["item.name", "sprig.regexMatch()"]),
        ("true and not nil", []),
    ],
)
def test_an_expression_names_what_it_reads(text: str, names: list[str]) -> None:
    assert sorted(names_of(text)) == sorted(names)


@pytest.mark.parametrize(
    "text", ["", "a =", "a = b", "(a", "a)", "f(a,", "a b", "a..b", "'open", "a ? b", "1 +", "a & b"]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        names_of(text)


@given(st.text(alphabet="ab.()[]'\"!=<>&|+-?:, 01", max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        names = names_of(text)
    except ExpressionError as error:
        names = [str(error)]
    assert all(names)


@given(st.text(alphabet="ab.{}=item workflowname'", max_size=40))
def test_any_tags_are_judged(text: str) -> None:
    for problem in tag_problems(text, Scope(frozenset())):
        assert problem


@pytest.mark.parametrize(
    "name", ["workflow.name", "workflow.scheduledTime", "workflow.labels.app", "workflow.creationTimestamp.RFC3339"]
)
def test_what_every_workflow_knows_may_be_asked_anywhere(name: str) -> None:
    assert list(tag_problems(f"{{{{{name}}}}} {{{{={name}}}}}", Scope(frozenset()))) == []
