"""Firestore when requests or answers are lost, rights are missing, or somebody works in the console.

A server in front of the emulator passes calls on and loses, delays or refuses those it is told to.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import grpc
import pytest
from firestore_emulator import Emulator, firestore_emulator, firestore_project  # noqa: F401 - a fixture, used by its name
from google.cloud.firestore_v1.types import RunQueryRequest, StructuredQuery

from trading_runtime.core.errors import ConfigurationError, StoreDamaged, StoreUnavailable
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Conflict, Document
from trading_runtime.stores.firestore import ATTEMPTS_MAX, FirestoreDocuments
from trading_runtime.stores.journal import START, Journal
from trading_runtime.stores.open import open_documents

ROOT = Path(__file__).resolve().parent.parent
CODE = grpc.StatusCode


class Fault(NamedTuple):
    """What happens to one call: ``before`` it is not passed on, ``after`` its answer is lost. ``then`` is done first
    in the one case and last in the other. No code: it hangs, until the client gives up.
    """

    when: Literal["before", "after", "empty"]
    code: grpc.StatusCode | None = None
    then: Callable[[], object] | None = None


class Between(grpc.GenericRpcHandler):
    """Passes Firestore's calls on to the emulator, byte for byte, unless a fault waits for the next one."""

    def __init__(self, emulator: str) -> None:
        self._channel = grpc.insecure_channel(emulator)
        self._over = threading.Event()
        self.faults: dict[str, list[Fault]] = {"Commit": [], "BatchGetDocuments": [], "RunQuery": []}
        self.requests: dict[str, list[bytes]] = {name: [] for name in self.faults}
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=(self,))
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        name = details.method.rpartition("/")[2]
        metadata = [pair for pair in details.invocation_metadata if pair[0].startswith("x-goog-request-params")]

        def answers(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self.requests[name].append(request)
            fault = self.faults[name].pop(0) if self.faults[name] else None
            if fault is not None and fault.when == "before":
                self._end(fault, context)
            if fault is not None and fault.when == "empty":
                return
            call = self._channel.unary_unary if name == "Commit" else self._channel.unary_stream
            try:
                answer = call(details.method)(request, metadata=metadata)
                passed = [answer] if name == "Commit" else list(answer)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            if fault is not None:
                self._end(fault, context)
            yield from passed

        if name == "Commit":
            return grpc.unary_unary_rpc_method_handler(lambda request, context: next(answers(request, context)))
        return grpc.unary_stream_rpc_method_handler(answers)

    def _end(self, fault: Fault, context: grpc.ServicerContext) -> None:
        if fault.then is not None:
            fault.then()
        if fault.code is None:
            self._over.wait(30)
            context.abort(CODE.CANCELLED, "the client gave up long ago")
        context.abort(fault.code, "as the test wishes")

    def stop(self) -> None:
        self._over.set()
        self._server.stop(None).wait()
        self._channel.close()


@pytest.fixture
def between(
    firestore_emulator: Emulator,  # noqa: F811 - the fixture of that name
    firestore_project: str,  # noqa: F811 - the fixture of that name
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Between]:
    server = Between(firestore_emulator.host)
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
    yield server
    server.stop()


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def documents(between: Between, firestore_project: str, waited: list[float]) -> Iterator[FirestoreDocuments]:  # noqa: F811 - the fixture of that name
    opened = FirestoreDocuments(firestore_project, wait=waited.append)
    yield opened
    opened.close()


UNKNOWN = [CODE.DEADLINE_EXCEEDED, CODE.UNAVAILABLE, CODE.ABORTED, CODE.INTERNAL, CODE.UNKNOWN, CODE.CANCELLED]


# --- a write is sent once, and its fate asked for


@pytest.mark.parametrize("code", [*UNKNOWN, CODE.ALREADY_EXISTS, CODE.FAILED_PRECONDITION])
def test_a_write_whose_answer_was_lost_is_found_written(
    documents: FirestoreDocuments, between: Between, code: grpc.StatusCode
) -> None:
    between.faults["Commit"] = [Fault("after", code), Fault("after", code)]
    first = documents.create("state/a", b"1")
    second = documents.replace("state/a", b"1", first)
    assert documents.read("state/a") == (b"1", second)
    assert first != second
    assert len(between.requests["Commit"]) == 2


@pytest.mark.parametrize("code", [*UNKNOWN, CODE.RESOURCE_EXHAUSTED])
def test_a_write_that_was_lost_is_unknown_and_not_sent_again(
    documents: FirestoreDocuments, between: Between, code: grpc.StatusCode
) -> None:
    version = documents.create("state/a", b"1")
    between.faults["Commit"] = [Fault("before", code), Fault("before", code)]
    with pytest.raises(StoreUnavailable, match="it is not known whether state/b was written"):
        documents.create("state/b", b"1")
    with pytest.raises(StoreUnavailable, match="it is not known whether state/a was written"):
        documents.replace("state/a", b"2", version)
    assert len(between.requests["Commit"]) == 3
    assert documents.read("state/b") is None
    assert documents.replace("state/a", b"2", version) != version


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_write_without_any_answer_ends_at_its_deadline(
    between: Between,
    firestore_project: str,  # noqa: F811 - the fixture of that name
    when: Literal["before", "after"],
) -> None:
    documents = FirestoreDocuments(firestore_project, request_seconds=0.5)
    documents.create("state/other", b"1")
    between.faults["Commit"] = [Fault(when)]
    if when == "after":
        version = documents.create("state/a", b"1")
        assert documents.read("state/a") == (b"1", version)
    else:
        with pytest.raises(StoreUnavailable, match="not known whether state/a was written"):
            documents.create("state/a", b"1")
    assert len(between.requests["Commit"]) == 2
    documents.close()


def test_a_write_whose_fate_cannot_be_asked_for_is_unknown(documents: FirestoreDocuments, between: Between) -> None:
    between.faults["Commit"] = [Fault("after", CODE.UNAVAILABLE)]
    between.faults["BatchGetDocuments"] = [Fault("before", CODE.UNAVAILABLE)] * ATTEMPTS_MAX
    with pytest.raises(StoreUnavailable):
        documents.create("state/a", b"1")
    with pytest.raises(Conflict):
        documents.create("state/a", b"1")


def test_the_same_bytes_of_somebody_else_are_not_taken_for_ours(
    documents: FirestoreDocuments,
    between: Between,
    firestore_project: str,  # noqa: F811 - the fixture of that name
) -> None:
    """Two processes claim with the same content: one of them wins, whatever gets lost."""
    other = FirestoreDocuments(firestore_project)
    other.create("state/warm", b"1")
    versions: list[str] = []
    between.faults["Commit"] = [
        Fault("before", CODE.UNAVAILABLE, lambda: versions.append(other.create("state/a", b"claim")))
    ]
    with pytest.raises(StoreUnavailable):
        documents.create("state/a", b"claim")
    assert documents.read("state/a") == (b"claim", versions[0])
    between.faults["Commit"] = [
        Fault("before", CODE.UNAVAILABLE, lambda: other.replace("state/a", b"claim", versions[0]))
    ]
    with pytest.raises(StoreUnavailable):
        documents.replace("state/a", b"claim", versions[0])
    other.close()


def test_an_append_to_the_journal_is_repeated_after_its_answer_was_lost(
    documents: FirestoreDocuments, between: Between
) -> None:
    journal = Journal(documents, "main", "sma_cross")
    head = journal.append("s", START, "begun", 1, "time", {})
    between.faults["Commit"] = [Fault("after", CODE.UNAVAILABLE)]
    between.faults["BatchGetDocuments"] = [Fault("before", CODE.UNAVAILABLE)] * ATTEMPTS_MAX
    with pytest.raises(StoreUnavailable):
        journal.append("s", head, "sent", 1, "time", {})
    head = journal.append("s", head, "sent", 1, "time", {})
    assert (journal.head("s"), journal.verify("s", head)) == (head, [])


# --- questions


def test_a_question_is_repeated_a_few_times_and_then_the_store_is_unavailable(
    documents: FirestoreDocuments, between: Between, waited: list[float]
) -> None:
    version = documents.create("state/a", b"1")
    for name, ask, answer in (
        ("BatchGetDocuments", lambda: documents.read("state/a"), Document(b"1", version)),
        ("RunQuery", lambda: documents.names("state"), ["a"]),
        ("RunQuery", lambda: documents.names("state", newest=1), ["a"]),
    ):
        waited.clear()
        between.faults[name] = [Fault("before", CODE.UNAVAILABLE)] * (ATTEMPTS_MAX - 1)
        assert ask() == answer
        assert waited == [0.25, 0.5, 1.0]
        between.faults[name] = [Fault("after", CODE.UNAVAILABLE)] * ATTEMPTS_MAX
        with pytest.raises(StoreUnavailable, match=r"^firestore demo-.*/\(default\): ServiceUnavailable"):
            ask()
        assert between.faults[name] == []


def test_no_answer_at_all_is_not_a_document_that_is_missing(documents: FirestoreDocuments, between: Between) -> None:
    """A control document that looks missing would mean: nobody has halted."""
    Control(documents, "main").halt("ann", "why", 0)
    between.faults["BatchGetDocuments"] = [Fault("empty")] * ATTEMPTS_MAX
    with pytest.raises(StoreUnavailable, match="0 answers"):
        documents.read("control/main")
    between.faults["BatchGetDocuments"] = [Fault("empty")] * ATTEMPTS_MAX
    view = Control(documents, "main").read(0)
    assert (view.allows_risk, view.unreadable) == (False, True)


# --- rights and settings


@pytest.mark.parametrize("code", [CODE.PERMISSION_DENIED, CODE.UNAUTHENTICATED])
def test_missing_rights_name_the_role_and_are_not_tried_again(
    documents: FirestoreDocuments, between: Between, code: grpc.StatusCode
) -> None:
    between.faults = {name: [Fault("before", code)] for name in between.faults}
    for ask in (
        lambda: documents.read("state/a"),
        lambda: documents.create("state/a", b"1"),
        lambda: documents.names("state"),
    ):
        with pytest.raises(ConfigurationError, match=r"roles/datastore\.user") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert [len(sent) for sent in between.requests.values()] == [1, 1, 1]


def test_a_database_that_is_not_there_is_a_setting(documents: FirestoreDocuments, between: Between) -> None:
    between.faults["BatchGetDocuments"] = [Fault("before", CODE.NOT_FOUND)] * 2
    with pytest.raises(ConfigurationError, match="there is no such database"):
        documents.read("state/a")
    between.faults["Commit"] = [Fault("before", CODE.NOT_FOUND)]
    with pytest.raises(ConfigurationError, match="there is no such database"):
        documents.create("state/a", b"1")


@pytest.mark.parametrize("content", [None, "no JSON", "{}"])
def test_missing_credentials_are_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    credentials = tmp_path / "credentials.json"
    if content is not None:
        credentials.write_text(content)
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
    with pytest.raises(ConfigurationError, match="no valid credentials") as caught:
        open_documents("firestore", project="demo-x").read("state/a")
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1")  # nobody listens there
    documents = FirestoreDocuments("demo-x", wait=lambda seconds: None, request_seconds=2.0)
    for ask in (lambda: documents.read("state/a"), lambda: documents.create("state/a", b"1")):
        with pytest.raises(StoreUnavailable):
            ask()
    assert not Control(documents, "main").read(0).allows_risk
    documents.close()


def test_a_prefix_that_could_be_no_name_is_a_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"store\.prefix"):
        FirestoreDocuments("demo-x", collection_prefix="a/b/")


# --- what lies in the database


def test_documents_are_readable_in_the_console_under_their_prefix(
    firestore_project: str,  # noqa: F811 - the fixture of that name
) -> None:
    documents = FirestoreDocuments(firestore_project, "paper", "rt-")
    documents.create("state/main.sma_cross", b'{"cash":1}')
    documents.create("journal/a/sessions/b", b"1")
    client = documents._client()
    fields = client.document("rt-state/main.sma_cross").get().to_dict()
    assert fields is not None
    assert (fields["body"], fields["name"]) == ('{"cash":1}', "main.sma_cross")
    assert fields.keys() == {"body", "sha256", "name", "write_id"}
    assert client.document("rt-journal/a/sessions/b").get().exists
    assert documents.names("state") == ["main.sma_cross"]
    for other in (FirestoreDocuments(firestore_project, "paper"), FirestoreDocuments(firestore_project)):
        assert other.read("state/main.sma_cross") is None
        other.close()
    documents.close()


@pytest.mark.parametrize("change", [{"body": "2"}, {"body": 1}, {"body": None}, {"sha256": "0"}, {"sha256": None}])
def test_a_document_changed_in_the_console_is_damaged(documents: FirestoreDocuments, change: dict[str, Any]) -> None:
    documents.create("state/a", b"1")
    documents._client().document("state/a").update(change)
    with pytest.raises(StoreDamaged, match=r"/\(default\): state/a does not match its checksum"):
        documents.read("state/a")


def test_no_query_needs_an_index_that_is_not_there_by_itself(documents: FirestoreDocuments, between: Between) -> None:
    """The emulator asks for none, Firestore does. By itself it has, for one field at a time, both directions; for the
    name of the document the ascending one.
    """
    for number in range(3):
        documents.create(f"state/{number}", b"1")
    for first in ("", "0"):
        for last in (None, "1"):
            for newest in (None, 2):
                assert documents.names("state", first=first, last=last, newest=newest)
    queries = [RunQueryRequest.deserialize(request).structured_query for request in between.requests["RunQuery"]]
    assert len(queries) == 8
    for query in queries:
        fields = {order.field.field_path for order in query.order_by}
        filters = query.where.composite_filter.filters or ([query.where] if query.where else [])
        fields |= {one.field_filter.field.field_path for one in filters if one.field_filter.field.field_path}
        assert fields in ({"__name__"}, {"name"})
        directions = {order.direction for order in query.order_by if order.field.field_path == "__name__"}
        assert directions <= {StructuredQuery.Direction.ASCENDING}
    indexes = json.loads((ROOT / "firestore.indexes.json").read_text())
    assert indexes["indexes"] == []
    assert not [field for field in indexes["fieldOverrides"] if field["fieldPath"] in ("name", "*")]


# --- what is loaded


def test_no_cloud_library_is_loaded_before_a_document_is_asked_for(tmp_path: Path) -> None:
    """A dry run on a local store must not wait for libraries it does not use."""
    modules = sorted(path.stem for path in (ROOT / "trading_runtime" / "stores").glob("[a-z]*.py"))
    assert "firestore" in modules
    program = (
        "import sys\n"
        + "".join(f"import trading_runtime.stores.{module}\n" for module in modules)
        + "from trading_runtime.stores.open import open_documents\n"
        "open_documents('firestore', project='demo-x')\n"
        "open_documents('sqlite', path='store.sqlite').create('a/b', b'1')\n"
        "heavy = {'google', 'grpc', 'numba', 'pyarrow', 'plotly', 'ccxt', 'requests'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"
