"""Every setting of the rendered manifests: names, image, namespaces, schedules, sizes. No secret is a setting: secrets
are named, and live in the cluster.

Only reading and checking is here; what settings turn into is built in the files beside this one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field

from trading_runtime.argo.schedules import schedule_problem
from trading_runtime.config.checking import SettingError, check_tree
from trading_runtime.config.files import read_tree
from trading_runtime.config.layers import Layers
from trading_runtime.config.schema import Section
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.sweep.shards import SHARDS_MAX

SETTINGS_NAME = "settings.yaml"
# The name of a run is that of its CronWorkflow, "-" and ten digits; Argo allows 52 for a CronWorkflow (its validation).
CRON_NAME_MAX = 52
# A run of a sweep is called NAME-<16 digits of the sweep>-<two digits>; Argo allows 63 for a Workflow.
SWEEP_NAME_MAX = 43
# What the templates of these WorkflowTemplates are called; the one that is named by the setting is another.
_SWEEP_TEMPLATES = ("plan", "shard", "gather", "planned")
_BUILD_TEMPLATES = ("check-source", "push")
# Set from sweep.store.secret: given twice, nobody could say which one counts.
_OWN_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID_FILE", "AWS_SECRET_ACCESS_KEY_FILE")
# Each alone says where the store is.
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# What Argo's own containers ask for beside ours, by the executor's sizes of the controllers' ConfigMap.
_EXECUTOR_CPU, _EXECUTOR_MEMORY = 0.05, 256 * 2**20
_SCALES = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", start=1)
}
_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}")

_NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(?!\n)$"
Name = Annotated[str, Meta(pattern=_NAME_PATTERN, extra={"form": "a DNS label: a-z, 0-9 and -, at most 63"})]
ImageText = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9._-]{1,128})?(@sha256:[0-9a-f]{64})?(?!\n)$",
        extra={"form": "registry/name:tag or registry/name@sha256:64 hexadecimal digits"},
    ),
]
Quantity = Annotated[
    str,
    Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi|Ti)?(?!\n)$", extra={"form": "a quantity such as 250m or 1Gi"}),
]
# Without a unit, or with m, it would be bytes or less: a pod that is killed before it begins.
Memory = Annotated[
    str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)(?!\n)$", extra={"form": "memory such as 512Mi or 1Gi"})
]
Cidr = Annotated[str, Meta(pattern=r"^[0-9.]+/[0-9]{1,2}(?!\n)$", extra={"form": "addresses such as 10.0.0.0/8"})]
Schedule = Annotated[str, Meta(description="five fields of cron, in UTC")]
Seconds = Annotated[int, Meta(ge=30, le=604_800)]
Port = Annotated[int, Meta(ge=1, le=65_535)]


class SizeSettings(Section, frozen=True, kw_only=True):
    """What a pod asks for. Memory is request and limit, so that running out of it is predictable; there is no limit of
    processor time, because throttling would fall into the minute that matters.
    """

    cpu: Quantity
    memory: Memory
    scratch: Annotated[Memory, Meta(description="size of the writable folders /tmp and /mnt/out")] = "256Mi"


class NamespaceSettings(Section, frozen=True, kw_only=True):
    """Where things run: money and research never share a namespace, nor a builder with either."""

    live: Name = "trading-live"
    research: Name = "trading-research"
    build: Name = "trading-build"
    controllers: Annotated[
        list[Name],
        Meta(
            min_length=1,
            description="namespaces of Argo's controllers: one on a small node, else one for each of the above",
        ),
    ] = field(default_factory=lambda: ["argo"])


class ExchangeKeysSettings(Section, frozen=True, kw_only=True):
    """The Secret that holds the exchange's credentials, mounted as files, and what the variables of them begin with."""

    secret: Name = "exchange-credentials"
    variables: Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9]*(?!\n)$", extra={"form": "such as BINANCE"})] = "BINANCE"


class GoogleSettings(Section, frozen=True, kw_only=True):
    """Workload Identity Federation without keys: a projected token and the ConfigMap with its external_account JSON."""

    audience: Annotated[
        str, Meta(pattern=r"^//iam\.googleapis\.com/\S+(?!\n)$", extra={"form": "//iam.googleapis.com/..."})
    ]
    config_map: Name = "google-federation"


class LiveSettings(Section, frozen=True, kw_only=True):
    """The cycle that decides once for every closed bar."""

    name: Name = "live-cycle"
    configuration: Annotated[
        str, Meta(min_length=1, description="a cycle's configuration, relative to this file; becomes the ConfigMap")
    ]
    config_map: Name = "live-cycle-settings"
    account: Annotated[
        str, Meta(pattern=r"^[a-z0-9-]{1,32}(?!\n)$", extra={"form": "account.name of the configuration"})
    ]
    mode: Literal["dry-run", "paper", "live"] = "dry-run"
    schedule: Schedule = "2 * * * *"
    suspend: Annotated[bool, Meta(description="true until an operator resumes it")] = True
    starting_deadline_seconds: Seconds = 600
    pod_seconds: Annotated[Seconds, Meta(description="deadline of the pod")] = 600
    workflow_seconds: Annotated[Seconds, Meta(description="deadline of the workflow, retries included")] = 900
    grace_seconds: Annotated[int, Meta(ge=10, le=300, description="from SIGTERM to SIGKILL")] = 60
    exchange: ExchangeKeysSettings | None = field(default_factory=ExchangeKeysSettings)
    telegram_secret: Annotated[Name | None, Meta(description="Secret with keys token and chat-id")] = "telegram"
    google: GoogleSettings | None = None
    size: SizeSettings = field(default_factory=lambda: SizeSettings(cpu="250m", memory="512Mi"))


class LookSettings(Section, frozen=True, kw_only=True):
    """A job that only looks: watch and reconcile."""

    name: Name
    schedule: Schedule
    suspend: bool = True
    pod_seconds: Seconds = 240
    size: SizeSettings = field(default_factory=lambda: SizeSettings(cpu="100m", memory="384Mi"))


class ObjectStoreSettings(Section, frozen=True, kw_only=True):
    """Where data and results of sweeps are, and how a pod reaches it."""

    address: Annotated[
        str,
        Meta(pattern=r"^(s3|gs)://[A-Za-z0-9._/-]+(?!\n)$", extra={"form": "s3://bucket/prefix or gs://bucket/prefix"}),
    ]
    variables: Annotated[
        dict[str, str],
        Meta(description="environment of the pods: AWS_ENDPOINT_URL, AWS_REGION and the like; no secret"),
    ] = field(default_factory=dict)
    secret: Annotated[
        Name | None,
        Meta(description="Secret with keys access-key-id and secret-access-key; null with workload identity"),
    ] = "object-store"
    google: GoogleSettings | None = None


class SweepSettings(Section, frozen=True, kw_only=True):
    """The fan-out of a sweep."""

    name: Name = "backtest"
    store: ObjectStoreSettings
    configuration: Annotated[
        str | None,
        Meta(description="a sweep's configuration inside the image, planned when nobody names another one"),
    ] = None
    shards: Annotated[int, Meta(ge=1, le=SHARDS_MAX)] = 4
    workers: Annotated[int, Meta(ge=1, le=64, description="processes of one shard")] = 1
    parallelism: Annotated[int, Meta(ge=1, le=500, description="pods of one sweep at once")] = 4
    plan_seconds: Seconds = 1_800
    shard_seconds: Seconds = 3_600
    gather_seconds: Seconds = 3_600
    workflow_seconds: Seconds = 86_400
    plan_size: SizeSettings = field(default_factory=lambda: SizeSettings(cpu="500m", memory="1Gi"))
    shard_size: SizeSettings = field(default_factory=lambda: SizeSettings(cpu="1", memory="1Gi"))
    gather_size: SizeSettings = field(default_factory=lambda: SizeSettings(cpu="500m", memory="2Gi"))


class BuildSettings(Section, frozen=True, kw_only=True):
    """Building the image inside the cluster, for those who do not build it elsewhere."""

    name: Name = "build-push-ghcr"
    repository: Annotated[
        str, Meta(pattern=r"^https://[A-Za-z0-9./_-]+\.git(?!\n)$", extra={"form": "https://host/owner/name.git"})
    ]
    image: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9./_-]+(?!\n)$", extra={"form": "registry/name without tag"})]
    builder: ImageText
    push_secret: Annotated[Name, Meta(description="Secret of type kubernetes.io/dockerconfigjson that may push")] = (
        "ghcr-push"
    )
    pod_seconds: Seconds = 3_600
    size: SizeSettings = field(default_factory=lambda: SizeSettings(cpu="1", memory="4Gi", scratch="16Gi"))


class NetworkSettings(Section, frozen=True, kw_only=True):
    """What pods may reach. The API server is the address behind its Service: policies see what was translated."""

    api_server: Cidr = "0.0.0.0/0"
    api_server_port: Port = 6443
    object_store: Cidr = "0.0.0.0/0"
    object_store_port: Port = 443


class ClusterSettings(Section, frozen=True, kw_only=True):
    """What differs between kinds of clusters: one kustomize overlay each."""

    api_server_port: Port
    parallelism: Annotated[int, Meta(ge=1, le=1000, description="workflows a controller runs at once")]
    creations_per_second: Annotated[int, Meta(ge=1, le=1000, description="pods a controller creates per second")]
    research_cpu: Quantity
    research_memory: Memory
    research_pods: Annotated[int, Meta(ge=1, le=5000)]


class ArgoSettings(Section, frozen=True, kw_only=True):
    """The one settings file of all manifests."""

    environment: Literal["production", "development"]
    image: ImageText
    pull_secret: Name | None = "ghcr-secret"
    priority_prefix: Name = "trading"
    namespaces: NamespaceSettings = field(default_factory=NamespaceSettings)
    live: LiveSettings
    watch: LookSettings = field(default_factory=lambda: LookSettings(name="watch", schedule="8-58/10 * * * *"))
    reconcile: LookSettings = field(default_factory=lambda: LookSettings(name="reconcile", schedule="4-54/10 * * * *"))
    sweep: SweepSettings
    build: BuildSettings
    network: NetworkSettings = field(default_factory=NetworkSettings)
    clusters: dict[str, ClusterSettings]

    @property
    def digest(self) -> str | None:
        """The digest of the image, ``sha256:...``; None when it is named by a tag."""
        _, at, digest = self.image.partition("@")
        return digest if at else None


def load_argo_settings(path: Path, overrides: Sequence[str] = ()) -> ArgoSettings:
    """Return the settings of a file with overrides ``key=value`` applied. Raises ConfigurationError in one line for
    what is missing, unknown, malformed or contradictory. The environment plays no part: manifests are the same
    anywhere.
    """
    if not path.exists():
        raise ConfigurationError(
            f"{path}: there is no such file: --settings names the settings of the manifests, argo/settings.yaml of the "
            "project's folder"
        )
    layers = Layers(read_tree(path), ArgoSettings)
    for text in overrides:
        layers.apply_override(text)
    try:
        settings = check_tree(layers.tree, layers.texts, ArgoSettings)
        _check(settings)
    except SettingError as problem:
        raise ConfigurationError(f"{layers.source_of(problem.key, path)}: {problem.key} {problem.message}") from None
    return settings


def is_by_digest(image: str) -> bool:
    """Return whether an image is named by its digest, which nobody can move."""
    return _DIGEST.fullmatch(image) is not None


def _check(settings: ArgoSettings) -> None:
    """What settings only say together."""
    _check_images(settings)
    _check_names(settings)
    live = settings.live
    if live.pod_seconds >= live.workflow_seconds:
        raise SettingError(
            "live.workflow_seconds", f"must exceed live.pod_seconds {live.pod_seconds}: a retry needs time"
        )
    if live.grace_seconds >= live.pod_seconds:
        raise SettingError("live.grace_seconds", f"must be below live.pod_seconds {live.pod_seconds}")
    if live.mode == "live" and live.exchange is None:
        raise SettingError("live.exchange", "is missing: mode live needs the Secret with the exchange's credentials")
    for key in ("plan_seconds", "shard_seconds", "gather_seconds"):
        seconds = getattr(settings.sweep, key)
        if seconds >= settings.sweep.workflow_seconds:
            raise SettingError("sweep.workflow_seconds", f"must exceed sweep.{key} {seconds}")
    for key in ("live", "watch", "reconcile"):
        schedule = getattr(settings, key).schedule
        problem = schedule_problem(schedule)
        if problem is not None:
            raise SettingError(f"{key}.schedule", f"{schedule!r} {problem}")
    _check_variables(settings)
    _check_network(settings)
    _check_quotas(settings)


def _check_variables(settings: ArgoSettings) -> None:
    store = settings.sweep.store
    for name, value in store.variables.items():
        key = f"sweep.store.variables.{name}"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise SettingError(key, "is no name of a variable: letters, digits and _")
        if looks_secret(name) or re.search(r"://[^/\s]*@", value):
            raise SettingError(key, "looks like a secret: name its Secret in sweep.store.secret")
        if name in _OWN_VARIABLES and store.secret is not None:
            raise SettingError(key, f"comes from the Secret {store.secret} already (sweep.store.secret)")


def _check_network(settings: ArgoSettings) -> None:
    """Pods that a policy keeps from the store do not fail: they wait until their deadline."""
    network = settings.network
    for key in ("api_server", "object_store"):
        text = getattr(network, key)
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise SettingError(f"network.{key}", f"is no range of addresses: {error}") from None
    ports = {"network.api_server_port": network.api_server_port}
    ports |= {f"clusters.{name}.api_server_port": one.api_server_port for name, one in settings.clusters.items()}
    for key, port in ports.items():
        if port == 443 and ipaddress.ip_network(network.api_server).prefixlen == 0:
            raise SettingError(
                "network.api_server",
                f"must name the API server's address with {key} 443: anywhere on 443 is every private address as well",
            )
    for name in ENDPOINTS:
        address = settings.sweep.store.variables.get(name)
        if address is None:
            continue
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port or {"https": 443, "http": 80}[parts.scheme]
        except (ValueError, KeyError):
            raise SettingError(f"sweep.store.variables.{name}", f"must be https://host:port, not {address!r}") from None
        if port != network.object_store_port:
            raise SettingError(
                "network.object_store_port",
                f"is {network.object_store_port}, but the store answers on port {port} ({name}): "
                "the policy would keep the pods from it",
            )
        try:
            is_private = ipaddress.ip_address(host or "").is_private
        except ValueError:
            continue  # a name: where it leads is not known here
        if ipaddress.ip_network(network.object_store).prefixlen == 0 and is_private:
            raise SettingError(
                "network.object_store",
                f"must name the range of {host} ({name}): anywhere is anywhere on the internet, not a private address",
            )


def _check_quotas(settings: ArgoSettings) -> None:
    """A pod larger than the quota of its namespace is refused for ever."""
    for cluster, quota in settings.clusters.items():
        if not re.fullmatch(_NAME_PATTERN, cluster):
            raise SettingError(f"clusters.{cluster}", "is no name of an overlay: a-z, 0-9 and -")
        for kind in ("plan", "shard", "gather"):
            size: SizeSettings = getattr(settings.sweep, f"{kind}_size")
            for key, asked, allowed in (
                ("cpu", amount(size.cpu) + _EXECUTOR_CPU, quota.research_cpu),
                ("memory", amount(size.memory) + _EXECUTOR_MEMORY, quota.research_memory),
            ):
                if asked > amount(allowed):
                    raise SettingError(
                        f"sweep.{kind}_size.{key}",
                        f"and what Argo adds is more than clusters.{cluster}.research_{key} {allowed} allows a "
                        "namespace: no such pod would ever start",
                    )


def amount(quantity: str) -> float:
    """Return what a quantity says, in cores or bytes: 0.25 for ``250m``."""
    number = quantity.rstrip("mkKMGTi")
    return float(number) * _SCALES[quantity.removeprefix(number)]


def _check_images(settings: ArgoSettings) -> None:
    named = {"image": settings.image, "build.builder": settings.build.builder}
    for key, image in named.items():
        if settings.environment == "production" and not is_by_digest(image):
            raise SettingError(
                key, f"must end in @sha256:DIGEST in environment production, not {image}: a tag can move"
            )
        if ":" not in image.rpartition("/")[2]:
            raise SettingError(key, f"needs a tag or a digest, not {image}")
    if settings.live.mode == "live" and settings.digest is None:
        raise SettingError("image", "must end in @sha256:DIGEST with live.mode live: a cycle must know its image")


def _check_names(settings: ArgoSettings) -> None:
    for key in ("live", "watch", "reconcile"):
        name = getattr(settings, key).name
        if len(name) > CRON_NAME_MAX:
            raise SettingError(
                f"{key}.name", f"has {len(name)} characters; Argo allows {CRON_NAME_MAX} for a CronWorkflow"
            )
    if len(settings.sweep.name) > SWEEP_NAME_MAX:
        raise SettingError(
            "sweep.name",
            f"has {len(settings.sweep.name)} characters; {SWEEP_NAME_MAX} leave room for a sweep's id in a run's name",
        )
    for key, name, taken in (
        ("sweep.name", settings.sweep.name, _SWEEP_TEMPLATES),
        ("build.name", settings.build.name, _BUILD_TEMPLATES),
    ):
        if name in taken:
            raise SettingError(key, f"must not be {name}: that is what one of its templates is called")
    names = [settings.live.name, settings.watch.name, settings.reconcile.name]
    if len(set(names)) < len(names):
        raise SettingError("watch.name", "live, watch and reconcile need different names")
    spaces = [settings.namespaces.live, settings.namespaces.research, settings.namespaces.build]
    if len(set(spaces)) < len(spaces):
        raise SettingError("namespaces", "live, research and build must differ: keys and experiments stay apart")
    if set(spaces) & set(settings.namespaces.controllers):
        raise SettingError("namespaces.controllers", "must not be a namespace that a controller manages")


def looks_secret(name: str) -> bool:
    """Return whether the name of a parameter or variable says that its value is a secret."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    joined = "-".join(words)
    return bool(
        {"secret", "password", "passwd", "token", "credential", "credentials", "passphrase"} & set(words)
        or re.search(r"(api|access|private|secret|signing)-?key(?!-?id$)", joined)
    )
