"""What people are told: each kind of message, both languages, no secret, and never twice what is told once."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from cycle_world import World
from hypothesis import given, settings
from hypothesis import strategies as st
from live_strategies import EntryExit
from recorded_sessions import Crashing, Killed
from told_samples import BTC_ORDER, ETH_ORDER, FACTS, SLOT, decision_of, report_of, told_cycle
from venue.faults import Faults, error, lost_answer

from trading_runtime.artifacts.ladder import Ladder
from trading_runtime.artifacts.payload import PayloadRules
from trading_runtime.cli.main import main
from trading_runtime.core.errors import EXIT_DEFECT, StoreUnavailable
from trading_runtime.cycle.context import Patience
from trading_runtime.cycle.messages import CRASH_LENGTH_MAX, QUIET_GATES, messages_of
from trading_runtime.cycle.report import EXIT_OF, CycleReport
from trading_runtime.cycle.told.phrases import PHRASES, in_language
from trading_runtime.cycle.told.record import ToldRecord
from trading_runtime.cycle.told.status_message import hint_of, status_bucket
from trading_runtime.cycle.told.telling import channels_of, tell
from trading_runtime.cycle.told.wording import LANGUAGES, Wording
from trading_runtime.notify import telegram
from trading_runtime.notify.port import Delivery, Message, delivery_of
from trading_runtime.stores.documents import Document
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.telemetry.log import EventLog

ROOT = Path(__file__).parents[1]
HOUR_MS = 3_600_000
SECRET = "hush-hush-hush"
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
QUIET = EventLog(level="off")


def of_kind(report: CycleReport, kind: str, language: str = "en", **options: Any) -> Message | None:
    found = [message for message in messages_of(report, language, **options) if message.kind == kind]
    assert len(found) < 2
    return found[0] if found else None


def text_of(report: CycleReport, kind: str, language: str = "en", **options: Any) -> str:
    message = of_kind(report, kind, language, **options)
    assert message is not None, kind
    return message.text


def with_facts(**changes: Any) -> CycleReport:
    """A report whose decision has other facts in some parts."""
    facts = {**FACTS, **{name: {**FACTS[name], **part} for name, part in changes.items()}}
    return report_of(decisions=[decision_of(facts=facts)])


# --- each kind


def test_a_trade_is_told_with_price_budget_weight_and_score() -> None:
    assert text_of(report_of(), "trade").splitlines() == [
        "main LivePool [live] 2026-03-15T00:00:00Z: trade",
        "bought 0.19 ETH/USDT at 2500 (budget 483.14, weight 0.5556, relative score 4.5000, selected candidate)",
        "bought 0.0004 BTC/USDT at 60000 (budget 30.00, ahr999 0.7000, BTC is cheap by ahr999)",
    ]
    assert text_of(report_of(), "trade", "zh").splitlines() == [
        "main LivePool [live] 2026-03-15T00:00:00Z：成交",
        "买入 0.19 ETH/USDT，价格 2500（预算 483.14, 权重 0.5556, 相对得分 4.5000, 入选候选）",
        "买入 0.0004 BTC/USDT，价格 60000（预算 30.00, ahr999 0.7000, ahr999 偏低）",
    ]


def test_gates_that_blocked_an_entry_are_told_and_those_that_are_no_news_are_not() -> None:
    report = report_of()
    assert text_of(report, "skipped").splitlines()[1:] == [
        "SOL/USDT trend_buy: trend budget is below the minimum: budget 9.1, not more than 15"
    ]
    refusals = [{"gate": gate, "category": "trend", "symbol": "", "leg": "", "detail": ""} for gate in QUIET_GATES]
    assert of_kind(report_of(decisions=[decision_of(refusals=refusals)]), "skipped") is None
    refusals = [{"gate": f"g{n}", "category": "data", "symbol": f"S{n}", "leg": "", "detail": "x"} for n in range(40)]
    lines = text_of(report_of(decisions=[decision_of(refusals=refusals)]), "skipped").splitlines()
    assert (len(lines), lines[1], lines[-1]) == (14, "S0: g0: x", "and 28 more")


def test_an_order_that_failed_is_told_with_the_error_and_not_as_a_trade() -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", error(400, -2010))
    report = told_cycle(world, exchange=world.exchange(faults))

    assert report.rejected[0]["detail"] in text_of(report, "failed_order")
    assert of_kind(report, "trade") is None


def test_an_order_of_unknown_fate_is_told_with_how_the_cycle_ended() -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", lost_answer())
    faults.then("order", *[error(503)] * 50)
    report = told_cycle(world, exchange=world.exchange(faults), patience=Patience(confirm_seconds=1.0))

    assert f"fate unknown: {report.orders[0]['order_id']}" in text_of(report, "unresolved")
    assert f"结果未知：{report.orders[0]['order_id']}" in text_of(report, "unresolved", "zh")


def test_a_movement_of_savings_that_was_not_done_is_told() -> None:
    report = report_of()
    moved = {"kind": "redeem", "asset": "USDT", "amount": "12.5", "cause": "buffer"}
    report.happened += [
        {"event": "savings_planned", "movement": 5, **moved},
        {"event": "savings_claimed", "movement": 5},
        {"event": "savings_refused", "movement": 5, "reason": "funds", "detail": "too little"},
        {"event": "savings_not_moved", "movement": 5, **moved, "reason": "funds"},
        {"event": "savings_planned", "movement": 6, **moved},
        {"event": "savings_claimed", "movement": 6},
    ]
    assert text_of(report, "failed_order").splitlines()[1:] == [
        "savings, redeem 12.5 USDT not done: too little",
        "savings, fate unknown: redeem 12.5 USDT",
    ]


def test_the_breaker_is_told_with_its_loss_in_the_cycle_it_trips_in() -> None:
    loss = {"profit": -60.0, "base": 1000.0, "profit_fraction": -0.06, "latched": True}
    tripped = text_of(with_facts(breaker={**loss, "tripped": True}), "breaker")
    assert "trend sleeve today: -60.00 of 1,000.00 USDT (-6.00 %)" in tripped
    assert of_kind(with_facts(breaker={**loss, "tripped": False}), "breaker") is None


def test_a_crash_is_told_with_the_beginning_of_its_error() -> None:
    report = report_of(defect="Traceback ...")
    report.close("failed", "a defect: " + "x" * 500, EXIT_DEFECT)
    (head, line) = text_of(report, "crash").splitlines()
    assert head.endswith(": system crash")
    assert line.startswith("a defect: xxx")
    assert len(line) == CRASH_LENGTH_MAX


@pytest.mark.parametrize(
    ("pool", "title"),
    [
        ({"source_kind": "static", "degraded": True, "version": "static-fallback", "as_of_date": ""},
         "INCIDENT: trading by the built-in universe"),
        ({"source_kind": "last_known_good", "degraded": True}, "degraded: the pool did not come fresh from upstream"),
        ({"source_kind": ""}, "INCIDENT: there is no pool"),
    ],
)  # fmt: skip
def test_a_pool_that_is_not_fresh_is_an_incident(pool: dict[str, Any], title: str) -> None:
    message = of_kind(with_facts(pool=pool), "artifact")
    assert message is not None
    assert message.text.splitlines()[0].endswith(title)
    assert message.once.startswith("2026-03-15 ")


def test_the_ladder_says_why_the_pool_is_not_fresh() -> None:
    report = with_facts(pool={"source_kind": "static", "degraded": True})
    report.publication = {
        "source_kind": "static",
        "degraded": True,
        "messages": ["one", "two", "three", "stale: 46 days"],
    }
    text = text_of(report, "artifact")
    assert "stale: 46 days" in text
    assert "one" not in text
    report.decisions = []  # no decision, but the ladder was asked
    assert "INCIDENT" in text_of(report, "artifact")


def test_a_fresh_pool_is_no_news() -> None:
    assert of_kind(report_of(), "artifact") is None


def test_missed_bars_are_told() -> None:
    report = report_of(missed_slots=[1, 2], skipped_slots=[0])
    assert "2 missed bar(s) worked off without new risk, 1 skipped" in text_of(report, "missed")


@pytest.mark.parametrize("status", [*EXIT_OF, "failed"])
def test_every_end_of_a_cycle_has_its_words(status: str) -> None:
    report = CycleReport("run", "live", "main", "S", {})
    report.close(status, "because", 3)
    quiet = status in ("done", "already_done", "nothing_new", "not_mine", "warming_up")
    for language in LANGUAGES:
        messages = messages_of(report, language)
        assert [message.kind for message in messages] == ([] if quiet else [status])
        assert Wording(language).named("status", status) != status or language == "en"
        assert quiet or "because" in messages[0].text


def test_nothing_is_told_when_nothing_happened() -> None:
    assert messages_of(CycleReport("run", "live", "main", "S", {}), status_hours=1) == []


# --- the periodic status


def test_the_status_message_says_how_things_stand() -> None:
    report = with_facts(breaker={"profit_fraction": 0.0123})
    assert text_of(report, "status", status_hours=24).splitlines() == [
        "main LivePool [live] 2026-03-15T00:00:00Z: status",
        "total equity: 1,030.00 USDT",
        "trend equity: 869.64 USDT (today +1.23 %)",
        "BTC price: 60,000.00 USDT",
        "regime gate: on",
        "ahr999: 0.7000",
        "zscore: 1.2000, trigger 2.5000",
        "BTC target: 15.6 %",
        "hint: low value",
    ]


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_what_is_not_known_is_unknown_and_never_zero(language: str) -> None:
    facts = {"pool": FACTS["pool"], "allocation": {}, "btc": {"price": None, "zscore": "high"}, "breaker": {}}
    report = report_of(decisions=[decision_of(facts=facts)])
    assert of_kind(report, "status", language, status_hours=1) is not None
    lines = text_of(report, "status", language, status_hours=1).splitlines()[1:]
    unknown = Wording(language)("unknown")
    assert [line.count(unknown) for line in lines] == [1, 2, 1, 1, 1, 2, 1, 1]
    assert not any(re.search(r"\b0\b", line) for line in lines)


@pytest.mark.parametrize(
    ("ahr999", "zscore", "trigger", "hint"),
    [
        (0.44, 9.0, 2.5, "hint_deep_value"),
        (0.45, 9.0, 2.5, "hint_low_value"),
        (0.8, 2.5, 2.5, "hint_take_profit"),
        (0.8, 2.25, 2.5, "hint_near_take_profit"),
        (0.8, 2.24, 2.5, "hint_neutral"),
        (None, 3.0, 2.5, "unknown"),
        (1.0, None, 2.5, "unknown"),
        (1.0, 1.0, None, "unknown"),
        (0.3, None, None, "hint_deep_value"),
        (float("nan"), 1.0, 2.5, "unknown"),
    ],
)
def test_the_hint_is_the_first_rule_that_holds(
    ahr999: float | None, zscore: float | None, trigger: float | None, hint: str
) -> None:
    assert hint_of({"ahr999": ahr999, "zscore": zscore, "sell_trigger": trigger}) == hint


@pytest.mark.parametrize(
    ("hours", "due"),
    [(24, [0]), (12, [0, 12]), (7, [0, 7, 14, 21]), (1, list(range(24))), (0, []), (-3, [])],
)
def test_the_status_is_due_at_multiples_of_its_interval(hours: int, due: list[int]) -> None:
    buckets = [status_bucket(SLOT + hour * HOUR_MS, hours) for hour in range(24)]
    assert [hour for hour, bucket in enumerate(buckets) if bucket] == due
    assert [bucket for bucket in buckets if bucket] == [f"20260315{hour:02}" for hour in due]


def test_a_strategy_without_such_facts_has_no_status_message() -> None:
    assert of_kind(report_of(decisions=[decision_of(facts={})]), "status", status_hours=1) is None


# --- both languages


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_every_text_is_in_every_language_with_the_same_placeholders() -> None:
    english = LANGUAGES["en"]
    for name, texts in LANGUAGES.items():
        assert list(texts) == list(english), name
        differing = [key for key in texts if placeholders(texts[key]) != placeholders(english[key])]
        assert differing == [], name
        assert [key for key, text in texts.items() if not text.strip()] == [], name


def test_the_chinese_texts_are_chinese() -> None:
    own = {
        "head", "reason", "ahr999", "zscore", "crash", "with_facts", "blocked", "blocked_detail", "rung",
        "status_ahr999",
    }  # fmt: skip
    english, chinese = LANGUAGES["en"], LANGUAGES["zh"]
    same = [key for key in chinese if key not in own and not re.search(r"[\u4e00-\u9fff]", chinese[key])]
    assert [key for key in same if key != "status_zscore"] == []
    assert [key for key in english if re.search(r"[\u4e00-\u9fff]", english[key])] == []


def numbers(text: str) -> list[str]:
    return re.findall(r"[-+]?\d[\d,.:TZ-]*\d|\d", text)


def test_numbers_look_the_same_in_both_languages() -> None:
    report = with_facts(breaker={"profit": -60.5, "profit_fraction": -0.0605, "tripped": True}, pool={"degraded": True})
    english, chinese = (messages_of(report, language, status_hours=1) for language in ("en", "zh"))
    assert [message.kind for message in english] == ["breaker", "trade", "artifact", "skipped", "status"]
    assert [(one.kind, one.once, one.slot) for one in english] == [(one.kind, one.once, one.slot) for one in chinese]
    own_words = ("sma60",)
    for one, other in zip(english, chinese, strict=True):
        texts = [one.text, other.text]
        for word in own_words:
            texts = [text.replace(word, "") for text in texts]
        assert numbers(texts[0]) == numbers(texts[1]), one.kind


def test_every_gate_and_reason_of_the_strategy_has_its_words() -> None:
    """What the live-pool strategy's own code names has a text in both languages."""
    files = sorted((ROOT / "trading_runtime/strategies/live_pool").glob("*.py"))
    assert len(files) > 3
    words = {
        node.value
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    legs = {"trend_buy", "trend_sell"}
    gates = {word for word in words if re.fullmatch(r"(trend|btc_dca|circuit_breaker)_[a-z_]+", word)} - legs
    gates = {gate for gate in gates if gate not in {"trend_value", "trend_cash", "trend_rotation"}}
    assert len(gates) >= 15
    for language, texts in LANGUAGES.items():
        assert sorted(gate for gate in gates if f"gate_{gate}" not in texts) == [], language
    assert sorted(gate for gate in QUIET_GATES if gate not in gates) == []


def test_every_kind_of_message_is_documented() -> None:
    """Each kind that the file of messages gives has its row in docs/reports.md."""
    source = (ROOT / "trading_runtime/cycle/messages.py").read_text(encoding="utf-8")
    kinds = set(re.findall(r'_message\(report, wording, "(\w+)"', source))
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/reports.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(kinds) >= 8
    assert sorted(kinds - set(rows)) == []


SAYING = (
    "artifacts/ladder.py", "artifacts/payload.py", "artifacts/manifest.py", "artifacts/sources.py",
    "cycle/watch.py", "artifacts/decision.py",
)  # fmt: skip
# Parts of texts, what only defects say, and what is found by itself within another sentence.
NO_SENTENCES = {
    " ", ", ", "; ", " or ", "{} {}", "{}-{}", "{}/{}", "{} {}…", "{}: {}", "a {}", "0 s", "([A-Z0-9]{1,30}){}",
    r"(\d{4}-\d{2}-\d{2})(?:[T ].*)?", "a verdict that is ok has a payload",
}  # fmt: skip


def sentences_of(path: str) -> set[str]:
    """Texts with a space that a file's code holds, with {} for what is filled in; not its docstrings."""
    tree = ast.parse((ROOT / "trading_runtime" / path).read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inner |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            found.add("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            found.add(node.value)
    return {text for text in found if " " in text} - NO_SENTENCES


@pytest.mark.parametrize("path", SAYING)
def test_every_sentence_of_the_ladder_and_the_watcher_is_in_every_language(path: str) -> None:
    sentences = sentences_of(path)
    assert sentences
    for language in set(LANGUAGES) - {"en"}:
        assert sorted(sentences - set(PHRASES[language])) == [], language
    assert set(PHRASES) == set(LANGUAGES)


def test_every_phrase_keeps_what_is_filled_in_and_is_chinese() -> None:
    for english, chinese in PHRASES["zh"].items():
        count = english.count("{}")
        assert {name for name in placeholders(chinese) if name} <= {str(number) for number in range(count)}, english
        assert re.search(r"[\u4e00-\u9fff]", chinese), english
        values = [f"«{number}»" for number in range(count)]
        told = in_language(english.format(*values), "zh")
        assert told == chinese.format(*values), english
        assert in_language(english, "en") == english


@given(st.text(alphabet="a {}:();,\n0", max_size=60))
def test_any_text_can_be_looked_up(text: str) -> None:
    assert isinstance(in_language(text, "zh"), str)
    assert in_language(text, "en") == text


def test_the_ladder_and_the_excluded_symbols_are_told_in_the_language_of_the_message() -> None:
    report = with_facts(pool={"source_kind": "static", "degraded": True})
    ladder = Ladder(PayloadRules(), upstream=None)
    resolution = ladder.resolve(SLOT, None)
    report.publication = {**resolution.to_json(), "excluded": {"ETHUSDT": "reserved: fees are paid with it"}}
    for kind in ("artifact", "excluded"):
        chinese = text_of(report, kind, "zh").splitlines()[1:]
        assert all(re.search(r"[\u4e00-\u9fff]", line) for line in chinese), chinese
        assert not re.search(r"[a-z]+ [a-z]+", " ".join(chinese)), chinese
    assert "static: nothing that upstream published could be used" in text_of(report, "artifact")


def test_an_unknown_language_is_an_error() -> None:
    with pytest.raises(ValueError, match="no language 'fr'"):
        messages_of(report_of(), "fr")


# --- no secret


def test_a_secret_in_an_error_reaches_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET)
    report = with_facts(pool={"degraded": True, "version": SECRET})
    report.rejected = [{"order_id": ETH_ORDER, "leg": "x", "reason": "y", "detail": f"x/?signature={SECRET}"}]
    report.notes = [{"event": "order_dropped", "order_id": BTC_ORDER, "detail": "z" * 390 + SECRET}]
    report.mismatches = [{"detail": f"bot{TOKEN}", "blocks": "all"}]
    report.defect, report.reason = "Traceback", "a" * (CRASH_LENGTH_MAX - 5) + SECRET
    report.status, report.exit_code = "failed", EXIT_DEFECT
    report.decisions[0]["refusals"][0]["detail"] = f"Authorization: Bearer {SECRET}"
    for language in LANGUAGES:
        messages = messages_of(report, language, status_hours=1)
        assert len(messages) == 6
        for message in messages:
            assert SECRET[:6] not in message.text, message.kind
            assert TOKEN[-10:] not in message.text


# --- telling


class Channel:
    """A channel that keeps what it got, and acknowledges it or not."""

    def __init__(self, name: str = "telegram:X", *, works: bool = True) -> None:
        self.channel = name
        self.works = works
        self.got: list[Message] = []

    def send(self, message: Message) -> Delivery:
        self.got.append(message)
        return delivery_of(message, self.channel, delivered=self.works, detail="" if self.works else "no", attempts=1)

    def kinds(self) -> list[str]:
        kinds = [message.kind for message in self.got]
        self.got.clear()
        return kinds


def told(documents: Any, *channels: Channel, report: CycleReport | None = None) -> CycleReport:
    report = report_of(decisions=[decision_of(refusals=[])], fills=[]) if report is None else report
    tell(report, channels, ToldRecord(documents, "main", "LivePool"), QUIET, status_hours=24)
    return report


def test_a_status_is_sent_once_in_its_bucket_and_again_where_it_was_not_acknowledged() -> None:
    documents = MemoryDocuments()
    one, other = Channel("telegram:A"), Channel("telegram:B", works=False)
    told(documents, one, other)
    assert (one.kinds(), other.kinds()) == (["status"], ["status"])
    told(documents, one, other)
    assert (one.kinds(), other.kinds()) == ([], ["status"])
    other.works = True
    told(documents, one, other)
    told(documents, one, other)
    assert (one.kinds(), other.kinds()) == ([], ["status"])
    next_day = report_of(slot=SLOT + 24 * HOUR_MS, fills=[])
    next_day.decisions = [decision_of(slot="2026-03-16T00:00:00Z", refusals=[])]
    told(documents, one, other, report=next_day)
    assert (one.kinds(), other.kinds()) == (["status"], ["status"])


def test_a_gate_that_blocks_all_day_is_told_once_and_a_new_one_at_once() -> None:
    documents, channel = MemoryDocuments(), Channel()
    for hour in range(1, 4):
        report = report_of(slot=SLOT + hour * HOUR_MS, fills=[])
        report.decisions = [decision_of(slot=f"2026-03-15T0{hour}:00:00Z")]
        if hour == 3:
            report.decisions[0]["refusals"][0]["gate"] = "another"
        told(documents, channel, report=report)
        assert channel.kinds() == ([] if hour == 2 else ["skipped"])


def test_a_trade_is_told_every_time() -> None:
    documents, channel = MemoryDocuments(), Channel()
    for _ in range(2):
        told(documents, channel, report=report_of())
        assert "trade" in channel.kinds()


def test_what_became_of_a_message_is_kept_and_its_text_is_not() -> None:
    report = told(MemoryDocuments(), Channel(works=False), report=report_of())
    text = json.dumps(report.to_json()["notifications"])
    assert [(one["kind"], one["delivered"]) for one in report.notifications] == [
        ("trade", False), ("skipped", False), ("status", False),
    ]  # fmt: skip
    assert all(set(one) == {"kind", *Delivery._fields} for one in report.notifications)
    assert "bought" not in text
    assert (report.status, report.exit_code) == ("done", 0)


class Broken:
    """A store that cannot be asked, or not be written."""

    def __init__(self, *, reads: bool = False) -> None:
        self._reads = reads

    def read(self, path: str) -> Document | None:
        if self._reads:
            return None
        raise StoreUnavailable("the store is gone")

    def create(self, path: str, content: bytes) -> str:
        raise StoreUnavailable("the store is gone")


@pytest.mark.parametrize("reads", [False, True])
def test_a_record_that_cannot_be_used_keeps_nobody_from_being_told(reads: bool) -> None:
    documents, channel = Broken(reads=reads), Channel()
    for _ in range(2):
        told(documents, channel)
        assert channel.kinds() == ["status"]


def test_a_damaged_record_is_replaced_and_one_of_a_newer_program_is_left_alone() -> None:
    documents, channel = MemoryDocuments(), Channel()
    path = ToldRecord(documents, "main", "LivePool").path
    assert path == "told/main.LivePool"
    documents.create(path, b"{damaged")
    told(documents, channel)
    told(documents, channel)
    assert channel.kinds() == ["status"]
    from trading_runtime.stores.envelope import seal

    newer = MemoryDocuments()
    raw, _ = seal(path, {"channels": {"telegram:X": {"status": "2026031500"}}}, 2)
    newer.create(path, raw)
    told(newer, channel)
    assert channel.kinds() == ["status"]
    document = newer.read(path)
    assert document is not None
    assert document.content == raw


def test_two_processes_that_tell_at_once_lose_nothing() -> None:
    documents = MemoryDocuments()
    records = [ToldRecord(documents, "main", "LivePool") for _ in range(2)]
    messages = [Message("status", "x", SLOT, "one"), Message("skipped", "x", SLOT, "two")]
    for record, message in zip(records, messages, strict=True):
        assert not record.is_told("telegram:X", message)  # both have read
        record.note("telegram:X", message)
    for record in records:
        record.save()
        assert record.trouble == ""
    assert all(ToldRecord(documents, "main", "LivePool").is_told("telegram:X", message) for message in messages)


@pytest.mark.parametrize("is_written", [False, True])
def test_a_process_that_ends_while_it_writes_leaves_a_record_that_can_be_read(is_written: bool) -> None:
    documents = MemoryDocuments()
    with pytest.raises(Killed):
        told(Crashing(documents, 1, is_written=is_written), Channel())
    channel = Channel()
    told(documents, channel)
    assert channel.kinds() == ([] if is_written else ["status"])


def test_a_defect_in_making_texts_changes_nothing_but_is_told() -> None:
    channel = Channel()
    report = report_of(decisions=[{"slot": "2026-03-15T00:00:00Z"}])  # no refusals: not as a cycle writes it
    told(MemoryDocuments(), channel, report=report)
    assert channel.got == []
    assert [(one["delivered"], one["detail"]) for one in report.notifications] == [
        (False, "the messages of this cycle failed: KeyError")
    ]
    assert (report.status, report.exit_code) == ("done", 0)


def test_a_dry_run_sends_to_no_chat_and_says_so() -> None:
    environment = {"TG_TOKEN": TOKEN, "TG_CHAT_ID": "-1"}
    names = [one.channel for one in channels_of("live", QUIET, environment, telegram=True)]
    assert names == ["log", "telegram:TG_CHAT_ID"]
    assert [one.channel for one in channels_of("live", QUIET, environment, telegram=False)] == ["log"]
    dry = channels_of("dry-run", QUIET, environment, telegram=True)
    assert [one.channel for one in dry] == names
    report = report_of(mode="dry-run")
    tell(report, dry[1:], None, QUIET)
    assert {(one["delivered"], one["detail"]) for one in report.notifications} == {(False, "dry run: not sent")}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(sorted({name for part in FACTS.values() if isinstance(part, dict) for name in part}))


@settings(max_examples=150)
@given(
    st.dictionaries(st.sampled_from(list(FACTS)), JSON | st.dictionaries(NAMES, JSON, max_size=4)),
    st.sampled_from(list(LANGUAGES)),
)
def test_whatever_a_strategy_calls_its_facts_people_are_told(facts: dict[str, Any], language: str) -> None:
    messages = messages_of(report_of(decisions=[decision_of(facts=facts)]), language, status_hours=1)
    assert {"trade", "skipped"} <= {message.kind for message in messages}
    assert all(len(message.text) < 6_000 for message in messages)


# --- through the command


@pytest.mark.parametrize("mode", ["paper", "dry-run"])
def test_a_telegram_that_fails_changes_neither_status_nor_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    requests: list[Message] = []

    class Failing(Channel):
        def send(self, message: Message) -> Delivery:
            requests.append(message)
            raise RuntimeError(f"https://api.telegram.org/bot{TOKEN}/sendMessage")

    monkeypatch.setattr(telegram, "telegram_notifiers", lambda environment: [Failing("telegram:TG_CHAT_ID")])
    monkeypatch.setenv("TRADING_RUNTIME_LOG", "off")
    (tmp_path / "buyer.py").write_text(BUYER)
    content = json.loads((ROOT / "trading_runtime/local/paper.json").read_text(encoding="utf-8"))
    content["strategy"] = {"class": "buyer.py:Buyer"}
    content["feed"]["files"] = [{"path": str(ROOT / "tests/data/parts/BTC-USDT-1h.parquet")}]
    content |= {"store": {"kind": "sqlite", "path": "state.sqlite"}, "output": {"folder": "cycles"}}
    content["notify"] = {"telegram": True}
    (tmp_path / "paper.json").write_text(json.dumps(content))

    words = ["cycle", "--config", str(tmp_path / "paper.json"), "--mode", mode, "--json"]
    if mode == "paper":  # a paper order fills at the next bar
        assert main(words) == 0
        capsys.readouterr()
        requests.clear()
    code = main(words)

    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (code, report["exit_code"], report["status"]) == (0, 0, "done")
    assert report["fills"]
    failed = [one for one in report["notifications"] if one["channel"] == "telegram:TG_CHAT_ID"]
    assert all(not one["delivered"] for one in failed)
    if mode == "paper":
        assert len(requests) == len(failed) > 0
        assert failed[0]["detail"] == "the channel failed: RuntimeError"
        stages = [one["stage"] for one in report["error_summary"]["errors"]]
        assert stages == ["notification_delivery"] * len(failed)
    else:
        assert requests == []
        assert report["error_summary"]["errors"] == []
    assert TOKEN not in captured.out + captured.err


BUYER = """
from trading_runtime.core.intents import market
from trading_runtime.core.strategy import Proposal, Strategy


class Buyer(Strategy):
    def decide(self, inputs):
        return Proposal([market(inputs.symbol, "buy", notional=100.0, leg="entry")])
"""
