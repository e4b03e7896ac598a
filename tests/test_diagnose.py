"""``diagnose``: why there was no trade, from journals that cycles and crashes have written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cycle_world import HOUR_MS, START_MS, World
from operator_world import loaded, write_paper_config
from recorded_sessions import Crashing, Killed, journal_of
from told_samples import Telling

from trading_runtime.cli.arguments import Parser, parse
from trading_runtime.cli.diagnose import add_parser
from trading_runtime.core.errors import StoreDamaged, TradingRuntimeError
from trading_runtime.core.timeframes import DAY_MS, iso_time
from trading_runtime.cycle.build import open_parts
from trading_runtime.cycle.diagnose import TITLES, Diagnosis, Period, diagnose, newest_slot
from trading_runtime.cycle.recorded import sessions_in_time
from trading_runtime.cycle.run import run_cycle
from trading_runtime.stores.documents import Document
from trading_runtime.stores.journal import START, Journal
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.telemetry.log import EventLog

DAY = Period("day", "2024-01-01", START_MS, START_MS + DAY_MS)


def slot_period(index: int) -> Period:
    slot = START_MS + index * HOUR_MS
    return Period("slot", iso_time(slot), slot, slot + 1)


def run_slots(world: World, count: int, first: int = 0, **options: Any) -> None:
    for index in range(first, first + count):
        if index:
            world.to_slot(START_MS + index * HOUR_MS)
        report = world.cycle(START_MS + index * HOUR_MS, **options)
        assert report.exit_code == 0, (index, report.status, report.reason)


@pytest.fixture(scope="module")
def traded() -> World:
    """A day and two hours of a strategy that tells facts and refusals."""
    world = World(strategy=Telling)
    run_slots(world, 26)
    return world


def gates_of(found: Diagnosis, title: str) -> dict[str, int]:
    return {one.gate: one.count for one in found.gates[title]}


def hours(found: Callable[[int], bool]) -> list[int]:
    """Hours of that first day for which ``found`` holds, as the strategy counts them."""
    return [hour for hour in range(24) if found(START_MS // HOUR_MS + hour)]


def test_a_day_is_answered_by_section_and_gate(traded: World) -> None:
    found = diagnose(journal_of(traded), DAY)

    assert found.decisions == 24
    assert gates_of(found, "BTC Core") == {"btc_dca_buy_valuation_gate_off": 24}
    assert gates_of(found, "Runtime") == {"odd": 24}
    assert gates_of(found, "Trend Rotation") == {
        "trend_no_selected_candidate": len(hours(lambda hour: bool(hour % 5))),
        "trend_buy_paused_degraded_mode": 4,
    }
    (gate,) = found.gates["BTC Core"]
    assert gate.symbols == ["BTC/USDT"]
    assert gate.last_slot == "2024-01-01T23:00:00Z"
    assert gate.last_detail.endswith(f"{START_MS // HOUR_MS + 23}")
    assert [one["title"] for one in found.to_json()["sections"]] == list(TITLES)
    assert found.slots_without_decision["count"] == 0


def test_the_trades_of_a_day_are_those_of_the_venue(traded: World) -> None:
    found = diagnose(journal_of(traded), DAY)
    both = diagnose(journal_of(traded), DAY._replace(end=START_MS + 2 * DAY_MS))

    buys = len(hours(lambda hour: hour % 5 == 0))
    assert [one["side"] for one in found.trades].count("buy") == buys > 3
    assert "there were trades" in found.answer
    assert len({one["order_id"] for one in both.trades}) == len(traded.venue.accepted)
    assert all(float(one["quantity"]) > 0 and one["symbol"] == "BTC/USDT" for one in found.trades)


def test_candidates_are_told_for_a_slot_and_counted_for_a_day(traded: World) -> None:
    assert diagnose(journal_of(traded), DAY).candidates == [
        {"symbol": "ETH/USDT", "decisions": 24, "selected": 24, "reasons": {}},
        {"symbol": "SOL/USDT", "decisions": 24, "selected": 24, "reasons": {}},
        {"symbol": "LTC/USDT", "decisions": 24, "selected": 0, "reasons": {"relative_score_lte_zero": 24}},
    ]
    of_slot = diagnose(journal_of(traded), slot_period(2)).candidates
    assert [(one["symbol"], one["selected"], one["reasons"], one["relative_score"]) for one in of_slot] == [
        ("ETH/USDT", True, [], 4.5),
        ("SOL/USDT", True, [], 2.6),
        ("LTC/USDT", False, ["relative_score_lte_zero"], -0.725),
    ]
    assert of_slot[0]["absolute_momentum"] is None


def test_degraded_times_are_told_as_spans(traded: World) -> None:
    spans = diagnose(journal_of(traded), DAY).degraded
    assert [(one["source_kind"], one["decisions"]) for one in spans] == [("static", 3), ("static", 1)]
    assert (spans[0]["first"], spans[0]["last"]) == ("2024-01-01T03:00:00Z", "2024-01-01T05:00:00Z")


def test_a_slot_without_a_trade_names_what_kept_it_away(traded: World) -> None:
    quiet = next(
        index
        for index in range(24)
        if not diagnose(journal_of(traded), slot_period(index)).trades and (START_MS // HOUR_MS + index) % 5
    )
    found = diagnose(journal_of(traded), slot_period(quiet))
    assert found.decisions == 1
    assert found.answer.startswith("no trade: BTC Core: btc_dca_buy_valuation_gate_off (1 of 1")


def test_a_period_that_nothing_is_recorded_of_says_so(traded: World) -> None:
    for first in (START_MS - 30 * DAY_MS, START_MS + 30 * DAY_MS):
        found = diagnose(journal_of(traded), DAY._replace(label="then", first=first, end=first + DAY_MS))
        assert found.is_empty
        assert found.answer.startswith("nothing is recorded for then")
    empty = Journal(MemoryDocuments(), "main", "Nothing")
    assert newest_slot(empty) is None
    assert diagnose(empty, DAY).answer == "nothing is recorded for 2024-01-01"


def test_the_newest_slot_is_the_last_one_worked(traded: World) -> None:
    assert newest_slot(journal_of(traded)) == START_MS + 25 * HOUR_MS


def test_every_session_counts_and_each_only_once() -> None:
    world = World(strategy=Telling)
    run_slots(world, 5)
    world.identity = lambda: {"commit": "1" * 40}
    run_slots(world, 5, first=5)
    journal = journal_of(world)

    assert len(journal.sessions()) == 2
    found = diagnose(journal, DAY)
    assert found.decisions == 10
    assert gates_of(found, "Runtime") == {"odd": 10}
    for index in range(10):
        assert diagnose(journal, slot_period(index)).decisions == 1, index


@pytest.mark.parametrize("names", [("a-11111111", "a-99999999"), ("a-99999999", "a-11111111")])
def test_two_sessions_of_one_slot_stand_in_the_order_in_which_they_began(names: tuple[str, str]) -> None:
    documents = MemoryDocuments()
    journal = Journal(documents, "main", "Telling")
    times = ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.500Z")  # as texts the second would come first
    for name, time in zip(names, times, strict=True):
        journal.append(name, START, "session", 0, time, {"start_slot": 0, "timeframe": "1h", "previous": None})
    assert journal.sessions() == sorted(names)
    assert tuple(sessions_in_time(journal)) == names
    # One that names the other as the one before it is the later one, whatever the clock said.
    content = {"start_slot": 0, "timeframe": "1h", "previous": {"session": names[1], "head": None}}
    journal.append("0-early", START, "session", 0, "2020-01-01T00:00:00Z", content)
    assert tuple(sessions_in_time(journal)) == (names[1], "0-early", names[0])


def test_slots_that_passed_without_a_decision_are_counted() -> None:
    world = World(strategy=Telling)
    run_slots(world, 3)
    world.to_slot(START_MS + 10 * HOUR_MS)
    report = world.cycle(START_MS + 10 * HOUR_MS, missed_slots_max=2)
    assert len(report.skipped_slots) == 5
    found = diagnose(journal_of(world), DAY)
    assert found.decisions == 6
    assert found.slots_without_decision == {
        "count": 5,
        "first": "2024-01-01T03:00:00Z",
        "last": "2024-01-01T07:00:00Z",
    }
    alone = diagnose(journal_of(world), slot_period(5))
    assert alone.answer == "nothing is recorded for 2024-01-01T05:00:00Z: 1 slot(s) passed without a decision"


def test_cycles_that_came_to_no_decision_are_told_by_status() -> None:
    world = World(strategy=Telling)
    run_slots(world, 2)
    for _ in range(3):
        assert world.cycle().status == "nothing_new"
    found = diagnose(journal_of(world), DAY)
    assert {status: one["count"] for status, one in found.undecided.items()} == {"nothing_new": 3}
    recorded = [entry for session in journal_of(world).sessions() for entry in journal_of(world).entries(session)]
    statuses = [entry.content["status"] for entry in recorded if entry.kind == "cycle"]
    assert statuses.count("nothing_new") == sum(one["count"] for one in found.undecided.values())


def test_a_decision_that_no_cycle_acted_on_does_not_count() -> None:
    counts = set()
    for write in range(1, 25):
        for is_written in (False, True):
            world = World(strategy=Telling)
            run_slots(world, 3)
            slot = START_MS + 3 * HOUR_MS  # buys
            world.to_slot(slot)
            try:
                world.cycle(slot, documents=Crashing(world.documents, write, is_written=is_written))
            except Killed:
                world.clock.sleep(120)  # the lease of the dead process ends
            else:
                continue
            report = world.cycle(slot)
            assert report.exit_code == 0, report.reason
            run_slots(world, 1, first=4)
            journal = journal_of(world)
            entries = [one for name in journal.sessions() for one in journal.entries(name) if one.kind == "decision"]
            counts.add(len(entries))
            found = diagnose(journal, DAY)
            assert (found.decisions, gates_of(found, "Runtime")) == (5, {"odd": 5}), (write, is_written)
            assert len({one["order_id"] for one in found.trades}) == len(world.venue.accepted), (write, is_written)
    assert counts == {5, 6}  # some crashes left a decision behind that was made again


def test_only_the_entries_of_the_period_are_read(traded: World) -> None:
    reads: list[str] = []

    class Counting:
        def read(self, path: str) -> Document | None:
            reads.append(path)
            return traded.documents.read(path)

        def names(self, collection: str, **narrowed: Any) -> list[str]:
            return traded.documents.names(collection, **narrowed)

    journal = Journal(Counting(), "main", "Telling")
    total = journal.head(journal.sessions()[0]).sequence
    reads.clear()
    diagnose(journal, slot_period(20))
    assert len(reads) < total / 2


def test_a_damaged_entry_is_an_error_and_not_a_gap(traded: World) -> None:
    world = World(strategy=Telling)
    run_slots(world, 3)
    journal = journal_of(world)
    session = journal.sessions()[0]
    path = f"journal/{journal.name}/sessions/{session}/entries/00000004"
    document = world.documents.read(path)
    assert document is not None
    world.documents.replace(path, document.content.replace(b"0", b"1", 1), document.version)
    with pytest.raises(StoreDamaged):
        diagnose(journal, DAY)


def test_no_secret_is_in_the_answer() -> None:
    documents = MemoryDocuments()
    journal = Journal(documents, "main", "S")
    refusal = {"gate": "g", "category": "data", "symbol": "", "leg": "", "detail": "signature=hush-hush"}
    content = {"seen": {"instruments": {}}, "decision": {"refusals": [refusal]}}
    head = START
    begun = {"timeframe": "1h", "start_slot": START_MS, "previous": None}
    for kind, one in (
        ("session", begun),
        ("decision", content),
        ("events", {"events": [{"number": 1, "event": "slot_decided", "slot": START_MS}]}),
        ("cycle", {"status": "no_decision", "reason": "no hush-hush"}),
        ("cycle", {"status": "no_decision", "reason": "no hush-hush"}),
    ):
        head = journal.append("2024", head, kind, START_MS, "", one)
    found = diagnose(journal, DAY, environment={"BINANCE_API_SECRET": "hush-hush"})
    assert found.undecided["no_decision"]["count"] == 1
    assert found.gates["Runtime"][0].last_detail.startswith("signature=***")
    assert "hush" not in json.dumps(found.to_json())


# --- the command


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A paper account of a strategy without facts that has run for thirty hours."""
    path = write_paper_config(tmp_path_factory.mktemp("paper"))
    parts = open_parts(loaded(path), "paper", {}, "test", EventLog(level="off"))
    try:
        for number in range(30):
            report = run_cycle(parts.job, None, f"run {number}")
            assert report.status == "done", report.reason
    finally:
        parts.documents.close()
    return path


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def command(*words: str, path: Path = config) -> str:
        parser = Parser(prog="trading-runtime")
        add_parser(parser.add_subparsers(dest="verb"))
        arguments = parse(parser, ["diagnose", "--config", str(path), *words])
        assert arguments.handler(arguments) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return command


def test_the_command_answers_for_the_newest_slot_a_day_and_a_month(run: Callable[..., str]) -> None:
    newest, day = run(), run("--day", "2023-06-04")
    assert "slot 2023-06-04T20:00:00Z (UTC)" in newest
    assert "no trade: the strategy wanted none, no gate refused one" in newest
    assert "decisions  21" in day
    month = json.loads(run("--month", "2023-06", "--json"))
    assert (month["period"]["first"], month["period"]["end"]) == ("2023-06-01T00:00:00Z", "2023-07-01T00:00:00Z")
    assert month["decisions"] == 30
    assert [one["side"] for one in month["trades"]] == ["buy"]
    assert "Trades" in run("--month", "2023-06")


def test_an_empty_period_says_so_and_is_no_error(run: Callable[..., str]) -> None:
    assert "nothing is recorded for 2022-02-28" in run("--day", "2022-02-28")
    assert "nothing is recorded for 2022-02" in run("--month", "2022-02")
    assert json.loads(run("--slot", "2023-06-03T10:30:00Z", "--json"))["decisions"] == 0


def test_the_table_of_a_day_has_every_section(traded: World, capsys: pytest.CaptureFixture[str]) -> None:
    from trading_runtime.cli.diagnose import diagnosis_text

    text = diagnosis_text(diagnose(journal_of(traded), DAY))
    for word in (*TITLES, "Candidates", "Trades", "degraded", "btc_dca_buy_valuation_gate_off", "LTC/USDT"):
        assert word in text, word
    assert max(map(len, text.splitlines())) < 400


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--day", "yesterday"], "--day: 'yesterday' is not a day such as 2023-06-05"),
        (["--day", "2023-02-30"], "--day: "),
        (["--month", "2023-13"], "--month: "),
        (["--month", "2023"], "--month: '2023' is not a month such as 2023-06"),
        (["--slot", "soon"], "--slot: "),
    ],
)
def test_a_date_that_is_none_is_told_with_its_option(run: Callable[..., str], words: list[str], what: str) -> None:
    with pytest.raises(TradingRuntimeError) as caught:
        run(*words)
    assert caught.value.exit_code == 77
    assert str(caught.value).startswith(what)


def test_looking_makes_no_store(tmp_path: Path, run: Callable[..., str]) -> None:
    path = write_paper_config(tmp_path)
    with pytest.raises(TradingRuntimeError):
        run(path=path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_every_command_of_the_document_is_one() -> None:
    text = (Path(__file__).parents[1] / "docs/reports.md").read_text(encoding="utf-8")
    commands = [line.split(" #")[0].split() for line in text.splitlines() if line.startswith("trading-runtime ")]
    assert len(commands) == 4
    for words in commands:
        parser = Parser(prog="trading-runtime")
        add_parser(parser.add_subparsers(dest="verb"))
        assert parse(parser, words[1:]).handler is not None
