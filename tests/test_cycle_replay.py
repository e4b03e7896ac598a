"""Recorded sessions are read whole and decided again to the same bytes, and what was changed is found by its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cycle_world import HOUR_MS, START_MS, Alternate, Bracket, Resting, World, walk_bars
from hypothesis import given
from hypothesis import strategies as st
from recorded_sessions import (
    Crashing,
    Killed,
    entries_of,
    exported,
    journal_of,
    recorded,
    run_live,
    run_paper,
    written_anew,
)

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError, StoreDamaged
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.cycle.compare_live import compare_session
from trading_runtime.cycle.recorded import (
    DecisionRecorded,
    EventsRecorded,
    read_exported_session,
    session_from_entries,
    standing_events,
)
from trading_runtime.cycle.replay import (
    ABSENT,
    first_difference,
    recorded_strategy,
    replay_session,
    replay_slot,
)
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.strategies.sma_cross import SmaCross


class Cautious(Strategy):
    """Buys less than Alternate does."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        return Proposal([target(inputs.symbol, 0.25, reason="even")])


class FirstOnly(Strategy):
    """Trades the first of its symbols, whichever that is."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.5 if inputs.price_of(inputs.symbols[0]) > 0.0 and inputs.as_of // HOUR_MS % 2 else 0.1
        return Proposal([target(inputs.symbol, weight)])


class Broken(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        raise RuntimeError("out of ideas")


def decision_items(items: list[tuple[str, int | None, Any]]) -> list[Any]:
    return [content for kind, _, content in items if kind == "decision"]


@pytest.mark.parametrize("strategy", [Alternate, Bracket, Resting])
@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT"])
def test_a_live_session_replays_to_the_same_bytes(strategy: type[Strategy], symbol: str) -> None:
    world = World(strategy=strategy, symbol=symbol)
    run_live(world, 30)
    session = recorded(world)
    replay = replay_session(session, recorded_strategy(session))
    assert len(replay.decisions) == 30
    assert sum(len(one.decision["orders"]) for one in session.decisions()) >= 3
    assert replay.differing == []
    assert replay.chain is None
    assert replay.is_same
    assert not replay.is_code_changed


def test_an_exported_file_alone_holds_the_whole_session(tmp_path: Path) -> None:
    world = World(strategy=Bracket)
    run_live(world, 12)
    path = tmp_path / "session.jsonl"
    path.write_bytes(exported(journal_of(world)))
    session = read_exported_session(path)
    other = recorded(world)
    assert session.steps == other.steps
    assert (session.identity, session.head, session.entries) == (other.identity, other.head, other.entries)
    assert session.start.to_json() == other.start.to_json()
    assert replay_session(session, recorded_strategy(session)).is_same


def test_symbols_keep_the_order_of_the_settings_and_not_that_of_the_alphabet() -> None:
    names = ("SOL/USDT", "BTC/USDT", "ETH/USDT")
    bars = {name: walk_bars(name, seed=seed) for seed, name in enumerate(names)}
    journal = run_paper(FirstOnly(), bars, 12)
    session = session_from_entries(entries_of(journal), "paper")
    replay = replay_session(session, recorded_strategy(session))
    assert list(session.decisions()[0].seen["bars"]) == list(names)
    assert {order["symbol"] for one in session.decisions() for order in one.decision["orders"]} == {"SOL/USDT"}
    assert replay.is_same, replay.to_json()


def test_a_changed_decision_is_named_by_the_first_field_that_differs() -> None:
    world = World()
    run_live(world, 6)

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        decision_items(items)[2]["decision"]["orders"][0]["quantity"] += 1000

    session = written_anew(journal_of(world), edit)
    replay = replay_session(session, Alternate())
    assert [one.slot for one in replay.differing] == [START_MS + 2 * HOUR_MS]
    difference = replay.differing[0].difference
    assert difference is not None
    assert difference.path == "orders.0.quantity"
    assert difference.recorded == difference.now + 1000
    assert not replay.is_same


def test_one_decision_seen_on_another_account_comes_out_differently() -> None:
    world = World()
    run_live(world, 6)

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        decision_items(items)[4]["seen"]["state"]["cash"] *= 2

    replay = replay_session(written_anew(journal_of(world), edit), Alternate())
    assert [one.difference.path for one in replay.differing if one.difference] == ["orders.0.quantity"]
    assert replay.chain is not None
    assert replay.chain.slot == START_MS + 4 * HOUR_MS
    assert replay.chain.difference is not None
    assert replay.chain.difference.path == "state.cash"


def test_other_code_is_said_to_be_other_code() -> None:
    world = World()
    run_live(world, 4)
    session = recorded(world)
    name = f"{Cautious.__module__}:{Cautious.__qualname__}"
    replay = replay_session(session, recorded_strategy(session, override=name))
    assert replay.is_code_changed
    assert len(replay.differing) == 4
    assert replay.chain is None


def test_a_strategy_that_fails_now_is_a_difference_and_no_crash() -> None:
    world = World()
    run_live(world, 2)
    replay = replay_session(recorded(world), Broken())
    assert [one.is_same for one in replay.decisions] == [False, False]
    assert "out of ideas" in replay.decisions[0].problem


def test_a_row_that_was_changed_is_found_by_the_hash_of_the_window() -> None:
    world = World(strategy=Alternate)
    run_live(world, 5)

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        decision_items(items)[3]["rows"]["BTC/USDT"][0][5] += 1.0

    replay = replay_session(written_anew(journal_of(world), edit), Alternate())
    assert [one.slot for one in replay.differing] == [START_MS + 3 * HOUR_MS]
    assert replay.differing[0].problem == "the bars of BTC/USDT are not the recorded ones"


def test_a_bar_that_was_never_recorded_is_named() -> None:
    world = World()
    run_live(world, 3)

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        decision_items(items)[1]["rows"].clear()

    replay = replay_session(written_anew(journal_of(world), edit), Alternate())
    assert replay.differing[0].problem == "BTC/USDT: the journal has no bar that opens at 2024-01-01T00:00:00Z"


def test_events_that_do_not_lead_to_the_next_decision_break_the_chain_there() -> None:
    world = World()
    run_live(world, 6)
    broken = 0

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        nonlocal broken
        for index, (kind, slot, content) in enumerate(items):
            if kind == "events" and slot == START_MS + 2 * HOUR_MS:
                event = next(one for one in content["events"] if one["event"] == "order_filled")
                event["value"] += 1
                broken = index

    replay = replay_session(written_anew(journal_of(world), edit), Alternate())
    assert replay.differing == []
    assert replay.chain is not None
    assert broken < replay.chain.sequence <= broken + 2
    assert replay.chain.slot == START_MS + 3 * HOUR_MS
    assert replay.chain.difference is not None
    assert replay.chain.difference.path == "state.cash"
    assert replay.chain.difference.recorded - replay.chain.difference.now == 1


def test_an_event_that_cannot_have_happened_breaks_the_chain_at_its_entry() -> None:
    world = World()
    run_live(world, 3)
    sequence = 0

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        nonlocal sequence
        sequence = next(index for index, item in enumerate(items) if item[0] == "events")
        fill = next(one for one in items[sequence][2]["events"] if one["event"] == "order_filled")
        fill["side"] = -fill["side"]

    replay = replay_session(written_anew(journal_of(world), edit), Alternate())
    assert replay.chain is not None
    assert replay.chain.sequence == sequence
    assert "another side" in replay.chain.problem


@pytest.mark.parametrize("is_written", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("strategy", [Alternate, Resting])
def test_a_session_with_a_crash_at_any_write_replays_and_its_chain_holds(
    strategy: type[Strategy], is_written: bool
) -> None:
    superseded = 0
    begun = World(strategy=strategy)
    run_live(begun, 4)
    for count in range(1, 60):
        world = begun.copy()
        slot = START_MS + 4 * HOUR_MS
        world.to_slot(slot)
        try:
            world.cycle(slot, wrap=lambda documents, count=count: Crashing(documents, count, is_written=is_written))
        except Killed:
            pass
        else:
            assert count > 8, "a cycle writes more often than this"
            break
        world.clock.advance_to(slot + 90_000)  # the lease of the killed process runs out
        report = world.cycle(slot)
        assert report.status in ("done", "already_done"), (count, report.status, report.reason)
        run_live(world, 2, first=5)
        session = recorded(world)
        replay = replay_session(session, strategy())
        assert replay.is_same, (count, is_written, replay.to_json())
        standing = [one.slot for one in session.decisions() if not one.superseded]
        assert standing == [START_MS + index * HOUR_MS for index in range(7)], (count, is_written)
        superseded += sum(one.superseded for one in session.decisions())
    else:
        raise AssertionError("the cycle never came to its end")
    assert superseded >= 1, "no crash came between a decision and the save that tells of it"


def test_events_whose_numbers_come_again_were_never_saved() -> None:
    world = World()
    run_live(world, 6)
    numbers: list[int] = []

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        """As a process leaves it that writes what happened, decides, and ends before it has saved either."""
        index = next(index for index, item in enumerate(items) if item[0] == "events" and item[1] == START_MS)
        kind, slot, content = items[index]
        lost = json.loads(json.dumps(content))
        for event in lost["events"]:
            numbers.append(event["number"])
            if event["event"] in ("order_filled", "base_fee_paid"):
                event["quantity"] += 100
        items.insert(index, (kind, slot, lost))

    session = written_anew(journal_of(world), edit)
    replay = replay_session(session, Alternate())
    assert len(numbers) > 3
    assert replay.is_same, replay.to_json()
    standing = standing_events(session)
    assert [event["number"] for _, event in standing] == sorted({event["number"] for _, event in standing})
    assert compare_session(session, Alternate()).lines == compare_session(recorded(world), Alternate()).lines


def test_bars_that_the_source_changes_are_recorded_again_and_both_versions_replay() -> None:
    bars = walk_bars(count=120)
    volumes = bars.volume.copy()
    volumes[40] += 5.0
    revised = Bars(bars.symbol, "1h", bars.open_time, bars.open, bars.high, bars.low, bars.close, volumes)
    strategy = SmaCross({"fast": 5, "slow": 20})
    documents = MemoryDocuments()
    run_paper(strategy, {bars.symbol: bars}, 25, documents=documents)
    journal = run_paper(strategy, {bars.symbol: revised}, 30, done=25, documents=documents)
    session = session_from_entries(entries_of(journal), "revised")
    assert any(one.context["revised"] for one in session.decisions())
    assert replay_session(session, strategy).is_same


def test_one_slot_is_decided_again_alone_and_an_unknown_one_is_named() -> None:
    world = World()
    run_live(world, 4)
    session = recorded(world)
    replay = replay_slot(session, Alternate(), START_MS + 2 * HOUR_MS)
    assert [one.slot for one in replay.decisions] == [START_MS + 2 * HOUR_MS]
    with pytest.raises(DataError, match="no decision for 2024-01-02T00:00:00Z: its slots go from 2024-01-01T00:00:00Z"):
        replay_slot(session, Alternate(), START_MS + 24 * HOUR_MS)


def test_progress_is_told_for_every_decision() -> None:
    world = World()
    run_live(world, 3)
    told: list[tuple[int, int]] = []
    replay_session(recorded(world), Alternate(), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_strategy_is_found_by_the_session_with_its_parameters() -> None:
    bars = walk_bars(count=60)
    session = session_from_entries(
        entries_of(run_paper(SmaCross({"fast": 5, "slow": 20}), {bars.symbol: bars}, 3)), "sma"
    )
    strategy = recorded_strategy(session)
    assert type(strategy) is SmaCross
    assert strategy.params.to_json() == {"fast": 5, "slow": 20, "weight": strategy.params.weight}
    with pytest.raises(ConfigurationError, match="does not take the recorded parameters"):
        recorded_strategy(session, override="cycle_world:Alternate")
    nameless = written_anew_without_strategy(session)
    with pytest.raises(ConfigurationError, match="name it with --strategy"):
        recorded_strategy(nameless)


def written_anew_without_strategy(session: Any) -> Any:
    session.identity = {name: value for name, value in session.identity.items() if name != "strategy"}
    return session


def test_a_strategy_of_a_file_is_found_as_the_settings_named_it(tmp_path: Path) -> None:
    from trading_runtime.strategies.registry import find_strategy

    (tmp_path / "own.py").write_text(
        "from trading_runtime.core.intents import target\n"
        "from trading_runtime.core.strategy import Proposal, Strategy\n\n\n"
        "class Own(Strategy):\n"
        '    """Buys."""\n\n'
        "    def decide(self, inputs):\n"
        "        return Proposal([target(inputs.symbol, 0.5)])\n"
    )
    bars = walk_bars(count=60)
    kind = find_strategy(f"{tmp_path}/own.py:Own")
    session = session_from_entries(entries_of(run_paper(kind(), {bars.symbol: bars}, 3)), "own")
    described = {**session.identity["strategy"], "configured": "own.py:Own"}
    session.identity = {**session.identity, "strategy": described}
    strategy = recorded_strategy(session, folder=tmp_path)
    assert replay_session(session, strategy).is_same


def test_what_no_cycle_writes_is_damage_and_an_empty_session_is_said_to_be_none() -> None:
    world = World()
    run_live(world, 2)

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        del decision_items(items)[0]["seen"]["instruments"]

    with pytest.raises(StoreDamaged, match="is not as a cycle writes it: KeyError"):
        written_anew(journal_of(world), edit)
    with pytest.raises(StoreDamaged, match="does not begin with the session's own entry"):
        written_anew(journal_of(world), lambda items: items.pop(0) and None)
    with pytest.raises(DataError, match="no such session"):
        session_from_entries([], "session x")


def test_steps_are_in_the_order_they_were_written() -> None:
    world = World()
    run_live(world, 3)
    kinds = [type(step) for step in recorded(world).steps]
    assert kinds == [DecisionRecorded, EventsRecorded] * 3


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1, max_size=1), inner),
    max_leaves=8,
)


@given(PLAIN, PLAIN)
def test_the_first_difference_is_where_the_documents_differ(one: Any, other: Any) -> None:
    if canonical_json(one) == canonical_json(other):
        return
    difference = first_difference(one, other)
    values = [one, other]
    for part in difference.path.split(".") if difference.path else ():
        for side, value in enumerate(values):
            if isinstance(value, list):
                values[side] = value[int(part)] if int(part) < len(value) else ABSENT
            else:
                values[side] = value.get(part, ABSENT)
    assert values == [difference.recorded, difference.now]
    assert canonical_json(values[0]) != canonical_json(values[1])
    assert type(values[0]) is not type(values[1]) or not isinstance(values[0], (dict, list))


def test_a_replay_is_plain_json() -> None:
    world = World()
    run_live(world, 3)
    content = replay_session(recorded(world), Cautious()).to_json()
    assert json.loads(json.dumps(content)) == content
    assert content["same"] is False
    assert len(content["differing"]) == 3
