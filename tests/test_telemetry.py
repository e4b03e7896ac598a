"""Log lines: one object for each event, readable by programs and people, without secrets, and never an error."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trading_runtime.telemetry.log import EventLog, Form, log_from_environment
from trading_runtime.telemetry.redact import HIDDEN, Redactor, is_secret_name, redact

ROOT = Path(__file__).resolve().parent.parent
NOON_MS = 1_706_702_403_120  # 2024-01-31T12:00:03.120Z
SECRET = "s3cr3t/with+odd%chars=&é\"'\\"


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def make_log(stream: Any, *, level: str = "info", form: Form = "json", **environment: str) -> EventLog:
    return EventLog(level=level, form=form, stream=stream, environment=environment, now_ms=lambda: NOON_MS)


# --- lines


def test_a_line_is_one_json_object_that_begins_with_what_every_line_has() -> None:
    stream = io.StringIO()
    log = make_log(stream).bind(account="main", slot=1_706_702_400_000, run_id="r1")

    assert log.info("order_sent", symbol="BTC/USDT", quantity=Decimal("0.10"), fill=None, ok=True)

    assert stream.getvalue() == (
        '{"time": "2024-01-31T12:00:03.120Z", "level": "info", "event": "order_sent", "run_id": "r1", '
        '"slot": "2024-01-31T12:00:00Z", "account": "main", "symbol": "BTC/USDT", "quantity": "0.10", '
        '"fill": null, "ok": true}\n'
    )


def test_bound_fields_belong_to_the_bound_log_only() -> None:
    stream = io.StringIO()
    log = make_log(stream)
    bound = log.bind(account="main").bind(slot=1_706_702_400_000)

    log.info("plain")
    bound.info("bound", account="other")

    plain, both = lines_of(stream)
    assert set(plain) == {"time", "level", "event"}
    assert both["slot"] == "2024-01-31T12:00:00Z"
    assert both["account"] == "other"


def test_a_field_cannot_take_the_place_of_time_level_or_event() -> None:
    stream = io.StringIO()
    make_log(stream).bind(event="bound").info("real", time="never", level="loud")

    (line,) = lines_of(stream)
    assert (line["event"], line["level"], line["time"]) == ("real", "info", "2024-01-31T12:00:03.120Z")
    assert (line["event_"], line["time_"], line["level_"]) == ("bound", "never", "loud")


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
        ("off", []),
    ],
)
def test_what_is_below_the_level_is_not_written_and_says_so(level: str, written: list[str]) -> None:
    stream = io.StringIO()
    log = make_log(stream, level=level)

    answers = {name: getattr(log, name)("event") for name in ("debug", "info", "warning", "error")}

    assert [line["level"] for line in lines_of(stream)] == written
    assert [name for name, answer in answers.items() if answer] == written


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'loud' is no level: use debug, info"):
        EventLog(level="loud")


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Full(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


def test_a_value_without_text_costs_only_itself() -> None:
    stream = io.StringIO()

    assert make_log(stream).info("event", broken=Broken(), nested={"in": [Broken()]}, after=1)

    (line,) = lines_of(stream)
    assert line["broken"] == "unreadable (RuntimeError)"
    assert line["nested"] == {"in": "unreadable (RuntimeError)"}
    assert line["after"] == 1


def test_an_event_without_text_still_gives_a_line() -> None:
    stream = io.StringIO()

    assert make_log(stream).error(Broken())

    assert lines_of(stream) == [{"level": "error", "event": "log_line_failed", "problem": "RuntimeError"}]


def test_a_stream_that_takes_nothing_is_no_error() -> None:
    closed = io.StringIO()
    closed.close()

    assert make_log(closed).error("event") is False
    assert make_log(Full()).error("event") is False
    assert make_log(None).bind(x=1).info("to standard error") is True


def test_long_values_are_cut_and_deep_or_circular_ones_end() -> None:
    stream = io.StringIO()
    circular: list[Any] = []
    circular.append(circular)
    deep: Any = "bottom"
    for _ in range(200):
        deep = {"down": deep}

    make_log(stream).info(
        "event", text="x" * 10_000, many=list(range(1000)), circular=circular, deep=deep, huge=2**200, nan=float("nan")
    )

    (line,) = lines_of(stream)
    assert line["text"] == "x" * 4000 + "... (10000 characters)"
    assert (len(line["many"]), line["many"][-1]) == (101, "... 900 more")
    assert line["huge"] == hex(2**200)
    assert line["nan"] == "nan"
    assert len(stream.getvalue()) < 20_000


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.tuples(inner)
        | st.frozensets(st.text() | st.integers(), max_size=3)
    ),
    max_leaves=12,
)


@given(
    event=st.text(),
    fields=st.dictionaries(st.text(), anything, max_size=5),
    form=st.sampled_from(["json", "text"]),
    encoding=st.sampled_from(["utf-8", "ascii", "latin-1"]),
)
@example(event="a\nb", fields={"x": "\x1b[31m\u2028\ud800", "slot": 10**30}, form="text", encoding="utf-8")
def test_whatever_is_logged_is_one_line(event: str, fields: dict[str, Any], form: Form, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True, newline="")

    assert make_log(stream, form=form).write("info", event, fields)

    text = raw.getvalue().decode(encoding)
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    if form == "json":
        line = json.loads(text)
        assert line["level"] == "info"
        assert set(fields) <= {key.removesuffix("_") for key in line} | set(line) | {"slot"}


def test_the_text_form_is_for_people() -> None:
    stream = io.StringIO()
    make_log(stream, form="text").bind(account="main", slot=1_706_702_400_000).warning("bars_stale", text="two words")

    assert stream.getvalue() == (
        '12:00:03 warning bars_stale slot=2024-01-31T12:00:00Z account=main text="two words"\n'
    )


# --- the environment


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "is_json"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"TRADING_RUNTIME_LOG_FORMAT": "json"}, True, True),
        ({"TRADING_RUNTIME_LOG_FORMAT": " TEXT "}, False, False),
    ],
)
def test_a_terminal_gets_text_and_everything_else_json(
    environment: dict[str, str], terminal: bool, is_json: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    log_from_environment(environment, stream).info("event")
    assert stream.getvalue().startswith("{") == is_json


def test_the_environment_chooses_the_level() -> None:
    stream = io.StringIO()
    log = log_from_environment({"TRADING_RUNTIME_LOG": "Error"}, stream)
    log.warning("quiet")
    log.error("loud")
    assert [line["event"] for line in lines_of(stream)] == ["loud"]


def test_a_wrong_setting_of_the_log_is_told_and_ignored() -> None:
    stream = io.StringIO()
    log = log_from_environment({"TRADING_RUNTIME_LOG": "verbose", "TRADING_RUNTIME_LOG_FORMAT": "xml"}, stream)
    log.info("event")
    first, second, third = lines_of(stream)
    assert (first["variable"], first["value"], first["used"]) == ("TRADING_RUNTIME_LOG", "verbose", "info")
    assert (second["variable"], second["used"]) == ("TRADING_RUNTIME_LOG_FORMAT", "json")
    assert third["event"] == "event"


# --- secrets


def test_a_secret_of_the_environment_is_in_no_line() -> None:
    stream = io.StringIO()
    log = make_log(stream, BINANCE_API_SECRET=SECRET, PATH="/usr/bin")
    error = RuntimeError(f"GET https://x/?k={quote(SECRET, safe='')} failed")

    log.bind(at=SECRET).error(
        SECRET, text=f"a {SECRET} b", items=[SECRET, {"in": (SECRET,)}], error=error, **{f"key {SECRET}": "/usr/bin"}
    )

    text = stream.getvalue()
    (line,) = lines_of(stream)
    assert SECRET not in json.loads(json.dumps(text))
    assert "s3cr3t" not in text
    assert line["text"] == f"a {HIDDEN} b"
    assert line["error"] == f"RuntimeError: GET https://x/?k={HIDDEN} failed"
    assert line[f"key {HIDDEN}"] == "/usr/bin"


def test_a_field_that_is_called_a_secret_is_hidden_whatever_it_holds() -> None:
    stream = io.StringIO()
    make_log(stream).info(
        "e", api_key="abc", signature=b"\x00", config={"password": 12345678}, token=7, key="account.cash"
    )

    (line,) = lines_of(stream)
    assert (line["api_key"], line["signature"], line["config"]["password"]) == (HIDDEN, HIDDEN, HIDDEN)
    assert (line["token"], line["key"]) == (7, "account.cash")


@pytest.mark.parametrize(
    "name",
    [
        "TG_TOKEN",
        "BINANCE_API_KEY",
        "BINANCE_API_SECRET",
        "DB_PASSWORD",
        "X_PASSPHRASE",
        "GH_TOKEN",
        "SECRET",
        "binance_api_key",
    ],
)
def test_variables_of_these_names_hold_secrets(name: str) -> None:
    assert redact("it is hush-hush-1, yes", {name: "hush-hush-1"}) == f"it is {HIDDEN}, yes"


@pytest.mark.parametrize("name", ["PATH", "PWD", "TG_CHAT_ID", "BINANCE_API_KEY_FILE", "KEYBOARD", "MONKEY", "TOKENS"])
def test_variables_of_other_names_do_not(name: str) -> None:
    assert redact("it is hush-hush-1, yes", {name: "hush-hush-1"}) == "it is hush-hush-1, yes"


def test_an_empty_or_tiny_secret_does_not_empty_every_text() -> None:
    assert redact("a text of words", {"A_KEY": "", "B_KEY": "  ", "C_TOKEN": "te"}) == "a text of words"


def test_the_longer_of_two_secrets_is_found_first() -> None:
    assert redact("abcdefgh", {"A_KEY": "abcd", "B_KEY": "abcdefgh"}) == HIDDEN


@given(
    secret=st.text(st.characters(exclude_characters="<>*"), min_size=4, max_size=40).filter(
        lambda text: len(text.strip()) >= 4
    ),
    spelled=st.sampled_from(
        [
            str,
            lambda text: quote(text, safe="", errors="replace"),
            lambda text: quote_plus(text, errors="replace"),
            lambda text: json.dumps(text)[1:-1],
            lambda text: repr(text)[1:-1],
        ]
    ),
)
def test_however_a_secret_is_spelled_it_is_not_left(secret: str, spelled: Any) -> None:
    assert redact(f"<{spelled(secret)}>", {"MY_SECRET": secret}) == f"<{HIDDEN}>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /order?symbol=X&signature=0a1b2c&recvWindow=5", f"GET /order?symbol=X&signature={HIDDEN}&recvWindow=5"),
        ("{'X-MBX-APIKEY': 'vmPUZE6mv9SD5VNHk4'}", f"{{'X-MBX-APIKEY': {HIDDEN}}}"),
        ('{"apiKey": "abc def", "side": "buy"}', f'{{"apiKey": {HIDDEN}, "side": "buy"}}'),
        ("apiKey=abc,secret=def", f"apiKey={HIDDEN},secret={HIDDEN}"),
        ('{"apiKey": "abc def', f'{{"apiKey": {HIDDEN}'),
        ("{'secret': 'abc", f"{{'secret': {HIDDEN}"),
        ('"{\\"apiKey\\": \\"abc\\"}"', f'"{{\\"apiKey\\": {HIDDEN}}}"'),
        ("api_secret: abc", f"api_secret: {HIDDEN}"),
        (
            "https://api.telegram.org/bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0/sendMessage",
            f"https://api.telegram.org/bot{HIDDEN}/sendMessage",
        ),
        ("token 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0.", f"token {HIDDEN}."),
        ("Authorization: Bearer eyJhbGciOi.J9", f"Authorization: {HIDDEN}"),
        ("http://me:pass@host:80/x", f"http://me:{HIDDEN}@host:80/x"),
        ("a -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- b", f"a {HIDDEN} b"),
        ("-----BEGIN RSA PRIVATE KEY-----\\nMIIE cut", HIDDEN),
    ],
)
def test_what_looks_like_a_credential_is_hidden_without_being_known(text: str, expected: str) -> None:
    assert Redactor({})(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "account.cash must be above 0, not 0",
        "the lease's token is 17; key=account.cash",
        "order tr-0123456789ab-65ba3f00-entry filled at 12:30:15.250",
        "basic information about secrets and signatures",
        "2024-01-31T12:00:00Z BTC/USDT:USDT 0.00001234",
        "a" * 64,
    ],
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    assert Redactor({})(text) == text


def test_without_an_environment_it_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_EXCHANGE_API_SECRET", "hush-hush-2")
    assert redact("x hush-hush-2 y") == f"x {HIDDEN} y"


def test_a_redactor_does_not_show_what_it_knows() -> None:
    assert "hush" not in repr(Redactor({"A_KEY": "hush-hush"}))


def test_names_of_secrets_are_known_in_any_spelling() -> None:
    names = ("apiKey", "api-key", "API_SECRET", "binance_api_secret", "signature", "Authorization", "password")
    assert [name for name in names if not is_secret_name(name)] == []
    assert [name for name in ("key", "token", "symbol", "keyboard", "settings.key") if is_secret_name(name)] == []


def test_logging_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); from trading_runtime.telemetry.log import log_from_environment; "
        "log_from_environment({}).info('e'); "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split() == ["trading_runtime"]
    assert json.loads(done.stderr)["event"] == "e"


@pytest.mark.parametrize("name", ["token", "key", "sig", "auth", "X-Amz-Credential", "X-Amz-Security-Token"])
def test_secrets_in_the_query_of_an_address_are_hidden(name: str) -> None:
    """Only there: the same words in prose, or in a path, are no secret."""
    address = f"https://example.org/pools/current.json?version=3&{name}=AbC123xyz456&part=2#end"

    assert redact(f"read {address!r}", {}) == f"read {address.replace('AbC123xyz456', '***')!r}"
    assert redact("token=3 key=4 of 5: https://example.org/token/key?tokens=7", {}) == (
        "token=3 key=4 of 5: https://example.org/token/key?tokens=7"
    )
