"""``docs/crash-matrix.md``, made from the matrix itself: ``python tests/crash_table.py`` writes it anew.

The words are here, the table and the counts are played; a test compares the committed file with what is made.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from crash_behaviours import OK, Behaviour
from crash_matrix import (
    CYCLE_SECONDS_MAX,
    CYCLES_MAX,
    crash_cases,
    pause_cases,
    play_crash,
    undisturbed,
)
from crash_scenarios import SCENARIOS, behaviours_of

# Under bad behaviours every so-many-th point is played in `make test`, all of them in the soak.
WIDE_CRASH_EVERY = 9
WIDE_PAUSE_EVERY = 14
INTERLEAVED_SEEDS = 34
SOAK_SEEDS = 400
CASES_MINIMUM = 10_000

_SCENARIO = "entry by market order, fees in BNB"
# Column heading, behaviour: the answers that differ in what is known after them.
_COLUMNS = (
    ("ok", "ok"),
    ("request lost", "order: request lost"),
    ("answer lost", "order: answer lost"),
    ("late, in window", "order: request late, within its window"),
    ("late, after it", "order: request late, after its window"),
    ("-1007 executed", "order: -1007, executed"),
    ("503 not executed", "order: 503, not executed"),
    ("418", "order: 418, Retry-After 60"),
    ("-1021", "order: -1021"),
    ("-2010", "order: -2010"),
    ("visible late", "order: order visible late"),
    ("rest expires", "order: partly filled, the rest expires"),
)


class Counted(NamedTuple):
    """How many cases a scenario has: here, and in the soak."""

    scenario: str
    behaviours: int
    points: int
    wide: int
    soak: int


@lru_cache(maxsize=1)
def counted() -> tuple[Counted, ...]:
    rows = []
    for scenario in SCENARIOS.values():
        behaviours = behaviours_of(scenario)
        wide = sum(1 for _ in crash_cases(scenario, behaviours, every=WIDE_CRASH_EVERY))
        wide += sum(1 for _ in pause_cases(scenario, behaviours, every=WIDE_PAUSE_EVERY)) + 2 * INTERLEAVED_SEEDS
        soak = sum(1 for _ in crash_cases(scenario, behaviours))
        soak += sum(1 for _ in pause_cases(scenario, behaviours)) + 2 * SOAK_SEEDS
        rows.append(Counted(scenario.name, len(behaviours), len(undisturbed(scenario, OK).points), wide, soak))
    return tuple(rows)


def _cell(behaviour: Behaviour, number: int) -> str:
    """What becomes of a crash: worked again in its own slot, and not before the next one."""
    scenario = SCENARIOS[_SCENARIO]
    same = play_crash(scenario, behaviour, number, same_holder=True, next_slot=False)
    later = play_crash(scenario, behaviour, number, same_holder=True, next_slot=True)
    words = {
        "same": "=",
        "same as without the fault": "≈",
        "left out: not_placed": "−",
        "placed": "=",
        "not decided": "∅",
        "nothing to place": "·",
        "left out: slot_passed": "−",
    }
    ended, _, cycles = same.rpartition(", ")
    return f"{words.get(ended, ended)}{cycles} {words.get(later, later)}"


def _rows() -> list[str]:
    """Points of the run without faults by name, and at each the outcome under every behaviour; points of the same name
    and outcome after each other are one row. A behaviour's run has its points by name, too.
    """
    scenario = SCENARIOS[_SCENARIO]
    behaviours = {one.name: one for one in behaviours_of(scenario)}
    names = [point.name for point in undisturbed(scenario, OK).points if point.is_effect]
    lines: list[tuple[str, str]] = []
    seen: dict[str, int] = {}
    for name in names:
        number = seen.get(name, 0)
        seen[name] = number + 1
        cells = []
        for _, behaviour_name in _COLUMNS:
            behaviour = behaviours[behaviour_name]
            places = [point.number for point in undisturbed(scenario, behaviour).points if point.name == name]
            cells.append(_cell(behaviour, places[number]) if number < len(places) else "")
        lines.append((name, " | ".join(cells)))
    rows = []
    for cells_text, group in groupby(lines, key=lambda line: line[1]):
        members = [name for name, _ in group]
        first = members[0] if len(members) == 1 else f"{members[0]} … {members[-1]}"
        rows.append(f"| {first} | {cells_text} |")
    return rows


def document() -> str:
    """Return the whole text of docs/crash-matrix.md."""
    headings = " | ".join(name for name, _ in _COLUMNS)
    table = "\n".join([f"| crash | {headings} |", f"| --- |{' --- |' * len(_COLUMNS)}", *_rows()])
    counts = "\n".join(
        f"| {row.scenario} | {row.behaviours} | {row.points} | {row.wide:,} | {row.soak:,} |" for row in counted()
    )
    wide, soak = sum(row.wide for row in counted()), sum(row.soak for row in counted())
    return _TEXT.format(
        table=table,
        counts=counts,
        wide=f"{wide:,}",
        soak=f"{soak:,}",
        cycles=CYCLES_MAX,
        seconds=f"{CYCLE_SECONDS_MAX:g}",
        scenario=_SCENARIO,
    )


_TEXT = """\
# The crash matrix: what is proven about the live cycle

Made by `python tests/crash_table.py`; a test holds this file to it. Machinery: `tests/crash_matrix.py`. What holds:
`tests/crash_checks.py`, `tests/crash_live_checks.py`. What is crossed: `tests/crash_scenarios.py`,
`tests/crash_behaviours.py`. `make test` plays {wide} cases, `pytest -m soak` {soak}.

## What is played

A *point* lies before and after every write to the store and every call to the exchange of one cycle. At each, under
each behaviour of the exchange:

* **crash**: the process ends there, and nothing it calls afterwards works: it gives back no lease. The next process
  comes at once under the same name (a restarted container), or under another that waits for the lease to run out; in
  its own slot, or not before the next one.
* **pause**: the process stops there instead; its lease runs out (0.05 s, 1 s or 60 s), one or two others work the
  slot until nothing is left, then it goes on.
* **interleaved**: two or three processes at once, with clocks up to 10 s off, taking turns at every point as a seed
  says, in bad weather, some dying.
* **killed** (`tests/test_crash_kill.py`): a real process that sends itself SIGKILL, on a SQLite file, against an
  exchange over HTTP.

The scenarios of the *live pool* run the strategy `crypto_live_pool_rotation` with all that surrounds it: a publication
read through the ladder, an account whose money is partly in savings, flows that come and go, fuel that pays fees.
Moving savings is a call like sending an order. Their cycles have three times the points of others, so `make test`
plays only points next to something that others can see, and half as many of them under bad behaviours; the soak leaves
out nothing that it plays of others. Each meets the behaviours that concern it. The rules: `docs/live-pool-strategy.md`.

| scenario | behaviours | points | cases | cases of the soak |
| --- | ---: | ---: | ---: | ---: |
{counts}

## What holds in every case

| check | what it says |
| --- | --- |
| doubled order | the venue has accepted one order under each client order id, and executed no more than was planned |
| unplanned order | every accepted order was planned first: its symbol, side, quantity and kind |
| left open | when all is quiet nothing is planned or claimed |
| fills, fill booked twice | the trades of the book are the trades of the venue, each once |
| position, cash | the book's positions and money are the venue's, to the last unit; fees in BNB are a flow, or fuel |
| left open, cash of savings | nothing is in flight; spot, savings and what is on its way are the book's money |
| doubled movement | the venue has moved savings no more often than was planned; no movement was claimed twice |
| unplanned movement | every movement that the venue has made was planned and claimed first |
| forgotten movement | every planned movement has one end in the journal, and what it says is what the venue did |
| flows, flow booked twice | deposits, withdrawals and interest that the venue tells are booked, each once, as such |
| buffer | when all is quiet and the exchange has answered, spot holds its buffer and savings the rest |
| strategy state | the pool's lock, the trailing highs, the breaker's day and the attempts of the day are not lost |
| decision | every decision of the journal, decided again, comes to the same bytes |
| journal | the chain verifies up to the head in the document, the events are numbered one by one |
| replay | the events, applied to the session's first state, give the state of the document |
| outcome | the final state is that of the undisturbed run, or an order is left out for a reason that is listed below |
| bound | a cycle ends within {seconds} s of virtual time, all is quiet after at most {cycles} cycles |
| exit code | 76 with a claimed order or movement, and only with one in doubt; 75 never with one lost; a loser: 0 |

**Reasons for leaving an order out.** `slot_passed`: it would open risk and its slot is over. `risk_not_allowed`:
halted, a mismatch, a breaker, a bar that is not the newest. `not_placed`: the exchange has said three times, asked
later than the validity window, that it does not know the order. With an order its children go (`parent_ended`). A
refusal by the exchange is final once it is written down; a process that dies before that has the order asked for, and
sent, again. While nobody answers about savings and flows, the live pool decides by what was known before, if that money
can be seen to be there, else nothing opens risk: what was planned so is done, or left out as above. Where savings do
not answer, how the money is shared between them and spot is no part of the outcome: a later slot tidies. A stop or
take-profit is never left out: where the exchange has not taken it, the runtime watches it, slot by slot.

## Crash point × behaviour: {scenario}

First what the same slot comes to, with the number of cycles until all is quiet, then what the next slot comes to when
nobody was there in between. `=` the order was placed, once, and the book is that of the undisturbed run; `≈` as if
the fault had not been (it hit the process that died); `−` left out for one of the reasons above; `∅` the slot was not
decided, so nothing was placed; `·` there is nothing to place: the exchange refuses it. An empty cell: that run does
not get there.

{table}

## The matrix can fail

Six defects are put into the program by tests, one function each, and found: submitting before saving, sending again
without asking, saving without comparing version and token, all three as *doubled order*; moving savings before saving,
as *doubled movement*; taking a movement that is late for none, as *forgotten movement*; not keeping the ids of flows,
as *flow booked twice*.

## Limits

* The venue is a model. What it was told of Binance (documented codes, stamps, windows, ids that are free again once
  an order is filled) may differ from what Binance does.
* An order that the exchange accepted and shows to nobody for longer than the validity window plus 3 s cannot be told
  from one that never arrived; nor can one be told that arrives later than its window on an exchange that does not
  refuse it. Up to that bound late visibility is part of the matrix.
* Bad answers are crossed with crash points one fault (or one chosen pair) at a time; several faults with several
  crashes occur only where a seed draws them. The seeds of the soak are {soak_seeds} for each scenario and number of
  processes.
* A store that loses what it has acknowledged, or gives back an old document, is not part of it: the journal's chain
  would show the second, nothing the first.
* A movement of savings has no client id. One of the same kind and exact amount, made by hand within its window, is
  taken for it: no amount of the matrix coincides so.
* Clocks of processes are up to 10 s off. Beyond 60 s a live cycle refuses to run.
* SIGKILL is not a power cut: what SQLite promises then is SQLite's word.
""".replace("{soak_seeds}", str(SOAK_SEEDS))


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "docs" / "crash-matrix.md"
    target.write_text(document())
    print(f"{target}: {sum(row.wide for row in counted()):,} cases")
