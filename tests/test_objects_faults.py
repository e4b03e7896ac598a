"""A store behind a network that loses, delays, refuses and spoils: what is written, what is told, how long it tries."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from s3_faults import KEYS, FaultyProxy
from s3_server import SECRET, S3Server, environment_for, s3_server  # noqa: F401 - a fixture, used by its name

from trading_runtime.core.errors import EXIT_TEMPORARY, ConfigurationError
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.objects.blobs import get_blob, put_blob
from trading_runtime.objects.gcs import open_gcs
from trading_runtime.objects.many import create_many
from trading_runtime.objects.open import open_objects
from trading_runtime.objects.port import ObjectDamaged, ObjectMissing, ObjectStore, ObjectsUnavailable
from trading_runtime.objects.remote import ATTEMPTS_MAX, WAIT_SECONDS_FIRST, WAIT_SECONDS_MAX
from trading_runtime.objects.s3 import open_s3
from trading_runtime.objects.seal import seal, unseal

# Nobody waits for the first: a busy machine must not make a fault of its own. The second is for answers that are late.
REQUEST_SECONDS = 30.0
IMPATIENT_SECONDS = 0.5
LATE_SECONDS = 0.7
# One page of S3 and a bit.
MANY = 1_004
KEY = "cells/ab/cell.json"
CONTENT = seal({"cell_id": "ab", "digest": "0" * 64})


class Wires:
    """One bucket: ``store`` behind the proxy, ``truth`` straight at the server."""

    def __init__(self, server: S3Server, kind: str) -> None:
        self.bucket = server.new_bucket()
        self.proxy = FaultyProxy(server.endpoint, late_seconds=LATE_SECONDS, google=kind == "gs")
        self.waits: list[float] = []
        self.truth = open_objects(f"s3://{self.bucket}/p", server.environment)
        self.kind = kind
        self.store = self.opened(self.bucket)

    def opened(self, bucket: str, request_seconds: float = REQUEST_SECONDS) -> ObjectStore:
        wait = self.waits.append
        if self.kind == "s3":
            return open_s3(
                bucket, "p", environment_for(self.proxy.endpoint), request_seconds=request_seconds, wait=wait
            )
        emulator = {"STORAGE_EMULATOR_HOST": self.proxy.endpoint}
        return open_gcs(bucket, "p", emulator, request_seconds=request_seconds, wait=wait)

    def count(self, method: str, key: str = "cell") -> int:
        return self.proxy.count(method, key)


@pytest.fixture(params=["s3", "gs"])
def wires(request: pytest.FixtureRequest, s3_server: S3Server) -> Iterator[Wires]:  # noqa: F811 - the fixture of that name
    made = Wires(s3_server, request.param)
    yield made
    made.proxy.stop()


@pytest.fixture
def s3_wires(s3_server: S3Server) -> Iterator[Wires]:  # noqa: F811 - the fixture of that name
    made = Wires(s3_server, "s3")
    yield made
    made.proxy.stop()


@pytest.mark.parametrize("fault", ["lost_answer", "written_503"])
def test_a_create_whose_answer_was_lost_is_found_by_reading_and_told_as_written(wires: Wires, fault: str) -> None:
    wires.proxy.fail("PUT", fault, path="cell")
    assert wires.store.create(KEY, CONTENT) is True
    assert wires.truth.get(KEY) == CONTENT
    assert (wires.count("PUT"), wires.count("GET")) == (2, 1)
    assert wires.store.create(KEY, CONTENT) is False


@pytest.mark.parametrize("fault", ["lost_request", "slow_down", "conflict"])
def test_a_create_that_did_not_arrive_is_sent_again(s3_wires: Wires, fault: str) -> None:
    s3_wires.proxy.fail("PUT", fault, 2, path="cell")
    assert s3_wires.store.create(KEY, CONTENT) is True
    assert s3_wires.truth.get(KEY) == CONTENT
    assert s3_wires.count("PUT") == 3


@pytest.mark.parametrize("fault", ["lost_request", "lost_answer", "written_503", "slow_down", "conflict"])
def test_a_create_never_writes_over_another_writers_object(wires: Wires, fault: str) -> None:
    wires.truth.create(KEY, b"another's")
    wires.proxy.fail("PUT", fault, path="cell")
    assert wires.store.create(KEY, CONTENT) is False
    assert wires.truth.get(KEY) == b"another's"


def test_equal_bytes_of_another_writer_count_as_written_when_an_answer_was_lost(s3_wires: Wires) -> None:
    s3_wires.truth.create(KEY, CONTENT)
    s3_wires.proxy.fail("PUT", "lost_request", path="cell")
    assert s3_wires.store.create(KEY, CONTENT) is True


def test_a_create_that_stays_unanswered_is_unavailable_and_can_be_repeated(s3_wires: Wires) -> None:
    s3_wires.proxy.fail("PUT", "written_503", path="cell")
    s3_wires.proxy.fail("PUT", "slow_down", ATTEMPTS_MAX, path="cell")
    with pytest.raises(ObjectsUnavailable, match=rf"{KEY}: answered 503 SlowDown \({ATTEMPTS_MAX} attempts\)"):
        s3_wires.store.create(KEY, CONTENT)
    assert s3_wires.count("PUT") == ATTEMPTS_MAX
    s3_wires.proxy.faults.clear()
    assert s3_wires.store.create(KEY, CONTENT) is False
    assert s3_wires.truth.get(KEY) == CONTENT


def is_missing(store: ObjectStore, key: str) -> bool:
    with pytest.raises(ObjectMissing):
        store.get(key)
    return True


QUESTIONS: dict[str, tuple[str, Callable[[ObjectStore], object], object]] = {
    "get": ("GET", lambda store: store.get(KEY), CONTENT),
    "get nothing": ("GET", lambda store: is_missing(store, "cells/none"), True),
    "exists": ("HEAD", lambda store: store.exists(KEY), True),
    "exists not": ("HEAD", lambda store: store.exists("cells/none"), False),
    "keys": ("GET", lambda store: list(store.keys("cells/")), [KEY]),
    "put": ("PUT", lambda store: store.put(KEY, CONTENT), None),
    "delete": ("DELETE", lambda store: store.delete(KEY), None),
}


@pytest.mark.parametrize(
    ("question", "fault"),
    [
        (question, fault)
        for question, (method, _, _) in QUESTIONS.items()
        for fault in ("lost_request", "lost_answer", "slow_down", "written_503", "cut")
        if fault != "cut" or method == "GET"  # other answers have no body to be cut
    ],
)
def test_an_answer_is_the_same_after_faults(s3_wires: Wires, question: str, fault: str) -> None:
    method, ask, expected = QUESTIONS[question]
    s3_wires.truth.create(KEY, CONTENT)
    s3_wires.proxy.fail(method, fault, 2)
    assert ask(s3_wires.store) == expected
    assert s3_wires.truth.exists(KEY) is (question != "delete")
    assert s3_wires.proxy.faults[0].times == 0
    assert len(s3_wires.waits) == 2


@pytest.mark.parametrize("question", ["get", "exists", "keys", "put", "delete"])
def test_what_stays_away_is_unavailable_after_limited_attempts_and_growing_waits(
    s3_wires: Wires, question: str
) -> None:
    method, ask, _ = QUESTIONS[question]
    s3_wires.proxy.fail(method, "slow_down", 1_000)
    with pytest.raises(ObjectsUnavailable) as caught:
        ask(s3_wires.store)
    assert caught.value.exit_code == EXIT_TEMPORARY
    assert_shows_no_secret(caught.value)
    assert s3_wires.proxy.count(method) == ATTEMPTS_MAX
    assert len(s3_wires.waits) == ATTEMPTS_MAX - 1
    for turn, seconds in enumerate(s3_wires.waits):
        longest = min(WAIT_SECONDS_FIRST * 2**turn, WAIT_SECONDS_MAX)
        assert longest / 2 <= seconds <= longest


def test_a_server_that_is_not_there_is_unavailable(s3_wires: Wires) -> None:
    s3_wires.proxy.stop()
    for ask in (lambda: s3_wires.store.exists(KEY), lambda: s3_wires.store.create(KEY, CONTENT)):
        with pytest.raises(ObjectsUnavailable, match="no connection"):
            ask()


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(s3_wires: Wires) -> None:
    impatient = s3_wires.opened(s3_wires.bucket, IMPATIENT_SECONDS)
    for method, key in (("PUT", "cell"), ("GET", "cell")):
        s3_wires.proxy.fail(method, "late", path=key)
    assert impatient.create(KEY, CONTENT) is True
    assert impatient.get(KEY) == CONTENT
    assert [fault.times for fault in s3_wires.proxy.faults] == [0, 0]
    assert len(s3_wires.waits) >= 2


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "InvalidRequest", "refused the request (400 InvalidRequest)"),
        (400, "ExpiredToken", "refused the request (400 ExpiredToken)"),
        (401, "AccessDenied", "the credentials are wrong or do not allow this (401 AccessDenied)"),
        (403, "SignatureDoesNotMatch", "the credentials are wrong or do not allow this (403 SignatureDoesNotMatch)"),
        (403, "RequestTimeTooSkewed", "this machine's clock is wrong"),
        (301, "PermanentRedirect", "AWS_REGION"),
        (404, "NoSuchBucket", "there is no such bucket"),
        (501, "NotImplemented", "refused the request (501 NotImplemented)"),
    ],
)
def test_a_refusal_is_told_at_once_and_shows_no_secret(s3_wires: Wires, status: int, code: str, said: str) -> None:
    for question in ("get", "keys", "put", "delete"):
        method, ask, _ = QUESTIONS[question]
        s3_wires.proxy.faults.clear()
        s3_wires.proxy.requests.clear()
        s3_wires.proxy.fail(method, str(status), 1_000, code=code)
        with pytest.raises(ConfigurationError) as caught:
            ask(s3_wires.store)
        assert said in str(caught.value)
        assert str(caught.value).startswith(f"{s3_wires.store.label}: ")
        assert "\n" not in str(caught.value)
        assert_shows_no_secret(caught.value)
        assert s3_wires.proxy.count(method) == 1
    assert s3_wires.waits == []


def test_temporary_refusals_are_tried_again(s3_wires: Wires) -> None:
    s3_wires.truth.create(KEY, CONTENT)
    for status, code in ((400, "RequestTimeout"), (429, "SlowDown"), (500, "InternalError"), (504, "")):
        s3_wires.proxy.fail("GET", str(status), code=code)
    assert s3_wires.store.get(KEY) == CONTENT
    assert s3_wires.count("GET") == 5


def test_a_bucket_that_is_not_there_is_told_by_every_question(wires: Wires) -> None:
    for question in ("get", "exists", "keys", "put"):
        store = wires.opened("no-such-bucket")
        with pytest.raises(ConfigurationError, match="there is no such bucket"):
            QUESTIONS[question][1](store)
    with pytest.raises(ConfigurationError, match="there is no such bucket"):
        wires.opened("no-such-bucket").create(KEY, CONTENT)


def test_a_server_that_ignores_the_condition_is_refused_before_anything_is_overwritten(wires: Wires) -> None:
    wires.truth.put(KEY, b"a result of last week")
    wires.proxy.fail("PUT", "unconditional", 1_000)
    with pytest.raises(ConfigurationError, match="overwrites objects that must be written once"):
        wires.store.create(KEY, CONTENT)
    assert wires.truth.get(KEY) == b"a result of last week"
    assert wires.count("PUT") == 0


@pytest.mark.parametrize("fault", ["lost_request", "lost_answer", "written_503", "slow_down"])
def test_the_check_of_the_condition_survives_faults_and_leaves_no_key(s3_wires: Wires, fault: str) -> None:
    s3_wires.proxy.fail("PUT", fault, 2, path="absent")
    assert s3_wires.store.create(KEY, CONTENT) is True
    assert list(s3_wires.store.keys("")) == [KEY]


def test_a_body_spoilt_on_its_way_is_read_again_and_damage_at_rest_is_told(s3_wires: Wires) -> None:
    digest = put_blob(s3_wires.truth, b"candles" * 500)
    s3_wires.proxy.fail("GET", "spoilt")
    assert sha256_hex(get_blob(s3_wires.store, digest)) == digest
    s3_wires.proxy.fail("GET", "spoilt", 2)
    with pytest.raises(ObjectDamaged, match=digest):
        get_blob(s3_wires.store, digest)


def test_a_spoilt_document_does_not_unseal(s3_wires: Wires) -> None:
    s3_wires.truth.create(KEY, CONTENT)
    s3_wires.proxy.fail("GET", "spoilt")
    with pytest.raises(ObjectDamaged):
        unseal(KEY, s3_wires.store.get(KEY))
    assert unseal(KEY, s3_wires.store.get(KEY)) == {"cell_id": "ab", "digest": "0" * 64}


def test_a_listing_of_more_than_a_page_is_whole_and_ascending_whatever_fails_between_pages(s3_wires: Wires) -> None:
    keys = [f"cells/{number:05d}" for number in range(MANY)]
    create_many(s3_wires.truth, [(key, b"1") for key in keys])
    assert list(s3_wires.store.keys("cells/")) == keys
    assert s3_wires.proxy.count("GET") == 2
    assert list(s3_wires.store.keys("cells/0100")) == keys[1000:]
    for fault in ("lost_answer", "cut", "slow_down"):
        for page in ("list-type=2&prefix", "continuation-token"):
            s3_wires.waits.clear()
            s3_wires.proxy.fail("GET", fault, path=page)
            assert list(s3_wires.store.keys("cells/")) == keys
            assert s3_wires.proxy.faults.pop().times == 0
            assert len(s3_wires.waits) == 1


def test_a_bucket_that_lists_out_of_order_is_refused(s3_wires: Wires) -> None:
    create_many(s3_wires.truth, [(f"cells/{number}", b"1") for number in range(5)])
    s3_wires.proxy.fail("GET", "backwards")
    with pytest.raises(ConfigurationError, match="out of order"):
        list(s3_wires.store.keys("cells/"))


def test_a_random_storm_of_faults_changes_no_object_and_no_answer(s3_wires: Wires) -> None:
    seed = 5_11_2026
    chance = random.Random(seed)
    wanted = {f"cells/{number:02d}": b"%d" % number * 50 for number in range(25)}
    for method, actions in {
        "PUT": ("lost_request", "lost_answer", "written_503", "slow_down", "conflict"),
        "GET": ("lost_request", "lost_answer", "slow_down", "cut"),
        "HEAD": ("lost_request", "slow_down"),
    }.items():
        for _ in range(15):
            key = chance.choice([*wanted])
            s3_wires.proxy.fail(method, chance.choice(actions), path=key)
    written = create_many(s3_wires.store, wanted.items(), threads=4)
    assert written == [True] * len(wanted), seed
    assert create_many(s3_wires.truth, wanted.items()) == [False] * len(wanted), seed
    assert {key: s3_wires.store.get(key) for key in s3_wires.store.keys("cells/")} == wanted, seed


def assert_shows_no_secret(error: BaseException) -> None:
    """Neither the error nor what it is chained to, as far as it is shown, holds what was in the answer."""
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    for shown in (str(error), repr(error)):
        assert SECRET not in shown
        assert not any(part in shown for part in KEYS.split())
