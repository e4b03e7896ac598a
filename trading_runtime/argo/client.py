"""Workflows of one namespace through the Kubernetes API: create, get, list, follow. No Argo server is needed.

Rights and addresses come from a kubeconfig, or inside a pod from its service account. Every request has a time limit;
what is worth another try is tried again, limited in attempts. ``kubernetes`` is imported when a cluster is opened.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from trading_runtime.core.errors import ConfigurationError, TemporaryError

GROUP, VERSION, PLURAL = "argoproj.io", "v1alpha1", "workflows"
ATTEMPTS_MAX = 4
# Each next wait is twice as long.
WAIT_SECONDS_FIRST = 1.0
WATCH_SECONDS = 60
_TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
# 409 where it does not say that a name is taken: somebody changed something (a quota, say) at the same moment.
_NOT_NOW = frozenset({408, 409, 429, 500, 502, 503, 504})
_GONE = 410
_CONFLICT = 409
_NOT_FOUND = 404

Answer = TypeVar("Answer")
Workflow = dict[str, Any]


class AlreadyThere(Exception):
    """A workflow of this name is there already."""


def open_cluster(
    namespace: str,
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    environment: Mapping[str, str] | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Cluster:
    """Return the workflows of a namespace: of ``kubeconfig``, else of $KUBECONFIG or ~/.kube/config, else those of the
    cluster this runs in. Raises ConfigurationError when there is none of these, or it cannot be used.
    """
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException
    from yaml import YAMLError

    environment = os.environ if environment is None else environment
    if kubeconfig is not None and not kubeconfig.is_file():
        raise _unreachable(f"there is no file {kubeconfig}")
    settings = client.Configuration()
    loading: Any = config  # has no types
    named = str(kubeconfig) if kubeconfig is not None else environment.get("KUBECONFIG") or None
    try:
        if named is None and context is None and "KUBERNETES_SERVICE_HOST" in environment:
            loading.load_incluster_config(client_configuration=settings)
        else:
            loading.load_kube_config(config_file=named, context=context, client_configuration=settings)
    except YAMLError:  # its own text may quote the line, and a line may be a token
        raise _unreachable(f"{named or 'the kubeconfig'} is not YAML") from None
    except (ConfigException, OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise _unreachable(" ".join(str(error).split())[:200].rstrip(".")) from None
    host = _shown_host(settings.host)
    # The HTTP library quotes a header that it cannot send, and this one is the credential.
    if not all(value.isascii() and value.isprintable() for value in settings.api_key.values()):
        raise _unreachable("its token holds characters that no token has: a line break, perhaps")
    settings.retries = False  # one place decides what is tried again: this file
    return Cluster(client.CustomObjectsApi(client.ApiClient(settings)), namespace, host, wait)


class Cluster:
    """The workflows of one namespace. Methods raise TemporaryError when the API server does not answer well within a
    few attempts, ConfigurationError when it refuses.
    """

    def __init__(self, api: Any, namespace: str, host: str, wait: Callable[[float], None] = time.sleep) -> None:
        self._api = api
        self._host = host
        self._wait = wait
        self.namespace = namespace

    def create(self, workflow: Workflow, *, is_dry_run: bool = False) -> Workflow:
        """Create a workflow; raises AlreadyThere when its name is taken, also by this very call whose answer was lost.

        ``is_dry_run`` lets the server check everything and keep nothing.
        """
        options = {"dry_run": "All"} if is_dry_run else {}
        created: Workflow = self._ask(
            "creating the workflow",
            lambda: self._api.create_namespaced_custom_object(
                *self._place, workflow, field_validation="Strict", _request_timeout=_TIMEOUT_SECONDS, **options
            ),
        )
        return created

    def get(self, name: str) -> Workflow | None:
        """Return a workflow; None when there is none of that name."""
        found: Workflow | None = self._ask(
            f"workflow {name}",
            lambda: self._api.get_namespaced_custom_object(*self._place, name, _request_timeout=_TIMEOUT_SECONDS),
            none_for=_NOT_FOUND,
        )
        return found

    def workflows(self, labels: str) -> list[Workflow]:
        """Return the workflows with these labels by name, however many pages they come in. A list that the server
        forgets half-way is read anew.
        """
        for _ in range(ATTEMPTS_MAX):
            found: list[Workflow] = []
            page = self._page(labels, "")
            while page is not None:
                found += page.get("items") or []
                following = (page.get("metadata") or {}).get("continue") or ""
                if not following:
                    return sorted(found, key=lambda one: str(one["metadata"]["name"]))
                page = self._page(labels, following)
        raise TemporaryError(
            f"{self._host}: the API server forgot the list of workflows half-way, {ATTEMPTS_MAX} times; try again"
        )

    def _page(self, labels: str, following: str) -> dict[str, Any] | None:
        """Return a part of a list, None when the server has forgotten what comes next."""
        page: dict[str, Any] | None = self._ask(
            "the list of workflows",
            lambda: self._api.list_namespaced_custom_object(
                *self._place,
                label_selector=labels,
                limit=500,
                _continue=following,
                _request_timeout=_TIMEOUT_SECONDS,
            ),
            none_for=_GONE,
        )
        return page

    def follow(self, name: str) -> Iterator[Workflow]:
        """Yield a workflow now and after every change, for ever. Raises ConfigurationError when it is gone; an
        interrupted watch is taken up again.
        """
        failures = 0
        while True:
            workflow = self.get(name)
            if workflow is None:
                raise ConfigurationError(f"workflow {name} is not in namespace {self.namespace} any more")
            yield workflow
            is_quiet = True
            try:
                for changed in self._changes(name, workflow["metadata"]["resourceVersion"]):
                    failures, is_quiet = 0, False
                    yield changed
                failures = 0  # a watch that ended in its time worked: failures far apart are no row of failures
                if is_quiet:  # something between may end every watch at once: do not ask in a circle
                    self._wait(WAIT_SECONDS_FIRST)
            except _Interrupted as error:
                failures += 1
                if failures >= ATTEMPTS_MAX:
                    raise TemporaryError(
                        f"{self._host}: following workflow {name} failed {failures} times: {error}"
                    ) from None
                self._wait(WAIT_SECONDS_FIRST * 2 ** (failures - 1))

    def _changes(self, name: str, version: str) -> Iterator[Workflow]:
        from kubernetes import watch
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        watching: Any = watch  # has no types
        try:
            for event in watching.Watch().stream(
                self._api.list_namespaced_custom_object,
                *self._place,
                field_selector=f"metadata.name={name}",
                resource_version=version,
                timeout_seconds=WATCH_SECONDS,
                _request_timeout=(_TIMEOUT_SECONDS[0], WATCH_SECONDS + 15),
            ):
                if event["type"] == "DELETED":
                    return
                yield event["object"]
        except ApiException as error:
            if error.status == _GONE:  # the server has forgotten that version: ask anew
                return
            if error.status not in _NOT_NOW:
                raise self._refused(f"following workflow {name}", error) from None
            raise _Interrupted(f"status {error.status}") from None
        except (HTTPError, OSError, ValueError) as error:
            raise _Interrupted(type(error).__name__) from None

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    def _ask(self, what: str, request: Callable[[], Any], *, none_for: int | None = None) -> Any:
        """Return the answer of the API server, an object; None when its status is ``none_for``."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        problem = ""
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                self._wait(WAIT_SECONDS_FIRST * 2 ** (attempt - 1))
            try:
                answer = request()
            except ApiException as error:
                if error.status == none_for:
                    return None
                if error.status == _CONFLICT and _status(error).get("reason") == "AlreadyExists":
                    raise AlreadyThere from None
                if error.status not in _NOT_NOW:
                    raise self._refused(what, error) from None
                problem = f"answered {error.status}"
            except (HTTPError, OSError) as error:
                problem = f"did not answer ({type(error).__name__})"
            else:
                if not isinstance(answer, dict):  # a proxy, a login page
                    raise ConfigurationError(f"{self._host}: {what}: that is no API server of Kubernetes")
                return answer
        raise TemporaryError(f"{self._host}: {what}: the API server {problem}, {ATTEMPTS_MAX} times; try again")

    def _refused(self, what: str, error: Any) -> ConfigurationError:
        return ConfigurationError(
            f"{self._host}: {what} was refused ({error.status}): {_told(error)}{_advice(error.status)}"
        )


def _unreachable(why: str) -> ConfigurationError:
    return ConfigurationError(f"no cluster can be reached: {why}; name a kubeconfig by --kubeconfig or KUBECONFIG")


def _shown_host(address: str) -> str:
    """Return the address of an API server as messages may show it: without a user's name and password."""
    try:
        parts = urlsplit(address)
        name, port = parts.hostname, parts.port
    except ValueError:
        parts, name, port = urlsplit(""), None, None
    if not name or not re.fullmatch(r"https?://\S+", address):
        raise _unreachable("the server it names is no https://host:port")
    name = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{name}" + ("" if port is None else f":{port}")


class _Interrupted(Exception):
    """A watch that ended before its time."""


def _status(error: Any) -> dict[str, Any]:
    """Return the Status object of a refusal; an empty one when there is none."""
    try:
        status = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _told(error: Any) -> str:
    """Return what the API server says, in one line."""
    return " ".join(str(_status(error).get("message") or error.reason or "no reason given").split())[:400]


def _advice(status: int) -> str:
    if status in (401, 403):
        return "; renew the credentials, or ask for the role submitter"
    if status == _NOT_FOUND:
        return "; is Argo installed there, and is it the right namespace?"
    return ""
