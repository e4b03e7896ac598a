"""The live cycle: one decision for one closed bar, then the end. The order of steps is the promise.

    lease → control → state → settle what is in flight → account sync → publication → bars → guards and risk → decide
    → gates → save plan → for each intent: claim → send → confirm → apply → treasury → commit → report → exit code

Everything that can fail closes: what is missing, unreadable or late means no new risk, never a guess. Running a slot
again, or two processes at once, changes nothing that is done. Which parts a cycle has is decided by ``build.py``.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import (
    EXIT_DEFECT,
    TradingRuntimeError,
)
from trading_runtime.core.gates import Guards
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.risk import watched
from trading_runtime.core.slot import SlotInputs, decide_slot
from trading_runtime.core.state import Order, SlotDecided
from trading_runtime.core.timeframes import iso_time, timeframe_ms
from trading_runtime.cycle.bars import (
    Needs,
    cut_at,
    gather_all,
    is_warm,
    lacking,
    longer_of,
    needs_of,
    plain,
)
from trading_runtime.cycle.booking import Booker
from trading_runtime.cycle.brackets import expire, trigger_watched
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.flows import book_flows
from trading_runtime.cycle.guards import guards_of
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Keeper, TakenOver
from trading_runtime.cycle.opening import begin_session, check_account, check_clocks, fund_from_now, open_account
from trading_runtime.cycle.outcome import (
    close_with,
    control_json,
    decision_summary,
    outcome_of,
    tell_what_is_open,
)
from trading_runtime.cycle.placement import drop_what_is_late, place_all, plan
from trading_runtime.cycle.publication import read_publication
from trading_runtime.cycle.recording import check_strategy_state, record_decision
from trading_runtime.cycle.report import (
    CycleReport,
    equity_json,
)
from trading_runtime.cycle.settle import settle
from trading_runtime.cycle.slots import is_newest_slot, newest_and_slot, slots_to_decide
from trading_runtime.cycle.suspended import (
    instruments_of_suspended,
    intervals_still,
    note_suspended,
    resume,
    returning,
    stopped,
    suspensions,
)
from trading_runtime.cycle.sync import Finding, find_mismatches
from trading_runtime.cycle.treasury import (
    Treasury,
    plan_fuel,
    savings_balance,
    settle_savings,
    tidy_savings,
)
from trading_runtime.cycle.universe import (
    Universe,
    ask_instruments,
    fixed_universe,
    in_use,
    note_dust,
    universe_of,
    write_off_dust,
)
from trading_runtime.exchanges.port import Balance
from trading_runtime.stores.control import ControlView

Series = Mapping[str, Bars]


def run_cycle(job: Job, slot: int | None, run_id: str) -> CycleReport:
    """Run one cycle and return its report; never raises but for defects, which the report tells too."""
    report = CycleReport(run_id, job.mode, job.account, job.owner.strategy, dict(job.identity))
    report.started = iso_time(job.clock.now_ms())
    keeper: Keeper | None = None
    cycle: _Cycle | None = None
    try:
        held = job.stores.lease.acquire(job.clock.now_ms())
        if held is None:
            other = job.stores.lease.other
            until = "" if other is None else f" until {iso_time(other.expires_ms)}: {other.holder}"
            report.close("not_mine", f"another process has the lease{until}")
            return report
        keeper = Keeper(job.stores, held, job.clock)
        cycle = _Cycle(job, keeper, report)
        cycle.run(slot)
    except TakenOver as taken:
        report.close("not_mine", str(taken))
    except TradingRuntimeError as error:
        close_with(report, error)
    except Exception as error:  # noqa: BLE001 - a defect ends in a report, too; its traceback is in it
        report.close("failed", f"a defect: {type(error).__name__}: {error}", EXIT_DEFECT)
        report.defect = traceback.format_exc()
    finally:
        if keeper is not None:
            tell_what_is_open(report, keeper, None if cycle is None else cycle.context)
            keeper.release()
        report.ended = iso_time(job.clock.now_ms())
    return report


class _Cycle:
    def __init__(self, job: Job, keeper: Keeper, report: CycleReport) -> None:
        self._job = job
        self._keeper = keeper
        self._report = report
        self._owner = (job.owner.account, job.owner.strategy)
        self._bar_ms = timeframe_ms(job.timeframe)
        self._findings: list[Finding] = []
        self._balances: dict[str, Balance] = {}
        self._publication: Mapping[str, Any] | None = None
        self._untrusted: Mapping[str, str] = {}
        self._universe: Universe
        self._control: ControlView
        self._context: Context

    @property
    def context(self) -> Context | None:
        """What the steps share, None when the cycle ended before it had any."""
        return getattr(self, "_context", None)

    def run(self, asked: int | None) -> None:
        job, report = self._job, self._report
        self._control = job.control.read(job.clock.now_ms())
        report.control = control_json(self._control)
        report.source = {"name": job.exchange.name, "degraded": False, "revised": []}
        account = self._keeper.load()
        check_clocks(self._job)
        if account is None:
            self._universe = fixed_universe((*job.configured_symbols, *job.adopt), None)
        elif job.publications is None:
            self._universe = fixed_universe(job.configured_symbols, account)
        else:
            self._universe = universe_of(job.configured_symbols, account.universe, account)
        instruments, missing = ask_instruments(job.exchange, self._universe)
        if account is None:
            account = open_account(self._job, self._keeper, instruments)
        suspended = suspensions(account, self._universe, missing)
        instruments |= instruments_of_suspended(account, suspended)
        check_account(self._job, account, instruments)
        fund_from_now(self._job, account, instruments)
        self._keeper.fence()
        last = account.state.slot
        newest, slot = newest_and_slot(job, asked, last)
        if slot is None and last is None:
            report.close("nothing_new", "the source has no closed bar")
            return
        self._context = Context(
            job.exchange, self._keeper, Booker(job.exchange, instruments), job.clock, job.log, instruments, job.patience
        )
        self._context.control = job.control
        if job.treasury is not None:
            self._context.treasury = Treasury(job.treasury, job.quote if job.has_all_funds else None)
        context = self._context
        context.suspended = suspended
        context.slot = max(one for one in (slot, last) if one is not None)
        report.slot = context.slot if asked is None or slot is None else slot
        context.log = context.log.bind(slot=iso_time(context.slot))
        skipped, pending = slots_to_decide(job, last, slot)
        report.skipped_slots, report.missed_slots = skipped, pending[:-1]
        report.session = begin_session(self._job, self._keeper, pending[0] if pending else context.slot)
        write_off_dust(context, [symbol for symbol in account.dust if symbol not in instruments])
        note_suspended(context)
        self._advance_simulation(context.slot)
        settle(context)
        settle_savings(context)
        if job.has_all_funds:
            book_flows(context)
        self._sync()
        self._read_publication()
        is_newest = is_newest_slot(job, context.slot, newest)
        drop_what_is_late(context, is_risk_allowed=is_newest and self._risk_reason() is None)
        place_all(context)
        if not pending and last is not None and self._is_to_flatten(last):
            pending = [last]  # everything is to be closed now, not at the next slot
        if pending:
            self._decide_all(pending, newest)
            tidy_savings(context)
            self._finish("done")
        elif account.completed != last:
            tidy_savings(context)
            self._finish("done", "what the slot had left open is finished")
        else:
            done = f"slot {iso_time(context.slot)} is done"
            if report.slot < context.slot:
                done = f"slot {iso_time(report.slot)} is past: {done}"
            self._finish("nothing_new" if asked is None else "already_done", done)

    # What is known before anything is decided.

    def _advance_simulation(self, slot: int) -> None:
        advance = getattr(self._job.exchange, "advance_to", None)
        if self._job.exchange.capabilities.keeps_brackets and advance is not None:
            advance(slot)

    def _sync(self) -> None:
        """Hold the book against the exchange; what differs is asked twice, for an order may just have filled."""
        context, job = self._context, self._job
        found, self._balances = self._mismatches()
        if any(one.blocks for one in found):
            settle(context)
            found, self._balances = self._mismatches()
        self._findings = found
        context.distrusted = frozenset(
            one.symbol for one in found if one.symbol and one.blocks == "symbol" and not self._passes(one.override)
        )
        self._report.mismatches = [one.to_json() for one in found]
        for one in found:
            job.log.warning("account_mismatch", **one.to_json())

    def _mismatches(self) -> tuple[list[Finding], dict[str, Balance]]:
        context = self._context
        savings = savings_balance(context)
        trouble = "" if context.treasury is None else context.treasury.trouble
        return find_mismatches(
            context.account,
            context.exchange,
            context.instruments,
            self._owner,
            savings,
            trouble,
            stopped(context.suspended),
        )

    def _read_publication(self) -> None:
        """Ask for the publication that the strategy consumes: which symbols there are, and whether to trust it."""
        job, context = self._job, self._context
        found = read_publication(job, context, self._universe, is_degraded_allowed=self._passes("degraded"))
        self._publication, self._universe, self._untrusted = found.artifact, found.universe, found.untrusted
        if found.has_new_symbols:
            check_account(job, context.account, context.instruments)
            self._sync()
        context.distrusted |= frozenset(found.untrusted)
        self._report.publication = found.report
        self._report.source["degraded"] = found.report is not None and found.report["degraded"]

    def _risk_reason(self) -> str | None:
        """Why the account takes no new risk right now, None when it may."""
        if not self._control.allows_risk:
            return self._control.reason
        risk = self._context.account.risk
        if risk is not None and risk.tripped is not None and not self._passes("breaker"):
            return risk.tripped.detail
        blocking = [one for one in self._findings if one.blocks == "all" and not self._passes(one.override)]
        return blocking[0].detail if blocking else None

    def _passes(self, override: str) -> bool:
        return self._control.overrides_guard(override)

    # Decisions.

    def _decide_all(self, pending: Sequence[int], newest: int | None) -> None:
        job, context = self._job, self._context
        needs = Needs(1, {}) if job.columns is not None else needs_of(job.strategy, self._bar_ms)
        back, gone = returning(context.suspended), stopped(context.suspended)
        symbols = [symbol for symbol in self._universe.symbols if symbol not in gone]
        # A market that has stopped has no bars of that time: whoever holds it must not stop all others once more.
        optional = self._universe.optional | back
        newest_open = pending[-1] - self._bar_ms
        still = intervals_still(context.account, context.suspended, newest_open)
        bars = gather_all(job.exchange, job.clock, symbols, job.timeframe, needs, pending, optional, still)
        resume(context, bars, needs.longer, newest_open)
        for symbol in symbols:
            # A symbol of the publication: it is not traded at this slot.
            if symbol not in bars and symbol not in context.suspended:
                context.note("bars_missing", symbol=symbol)
        write_off_dust(context, [symbol for symbol in symbols if symbol not in bars])
        symbols = [symbol for symbol in symbols if symbol in bars]
        cut: dict[str, Bars] = {}
        for slot in pending:
            context.slot = slot
            cut = cut_at(bars, needs, slot)
            wider = cut_at(bars, needs, slot, more=1)
            is_newest = slot == pending[-1] and is_newest_slot(job, slot, newest)
            context.is_risk_allowed = is_newest and self._risk_reason() is None
            expire(context, self._bar_ms)
            trigger_watched(context, cut)
            if context.account.in_phase("planned") or any(one.cancel for one in context.account.records.values()):
                place_all(context)
            used = in_use(context.account) - set(context.suspended)
            if not is_warm(cut, symbols, needs) and not (self._control.flatten and used <= set(cut)):
                # What protects a position is looked after all the same, and everything can be closed.
                self._report.close("warming_up", lacking(cut, needs))
                context.account.book(SlotDecided(slot, context.account.state.strategy_state))
                continue
            self._report.close("done")
            self._decide(slot, cut, wider, is_newest)
        if cut:
            marks = {symbol: one.price for symbol, one in context.suspended.items()}
            marks |= {symbol: float(series.close[-1]) for symbol, series in plain(cut).items()}
            self._report.equity = equity_json(context.account.state, marks, context.instruments)

    def _is_to_flatten(self, last: int) -> bool:
        """Whether everything is to be closed by a decision of the last slot, which is decided already.

        What was bought or could not be sold since (a fate that was unknown, a cancel that came too late) is closed by
        one more, as soon as nothing is in doubt.
        """
        account, context = self._context.account, self._context
        if not self._control.flatten or account.flattened != last:
            return self._control.flatten
        back = returning(context.suspended)
        is_left = any(context.tradable(symbol) or symbol in back for symbol in account.state.positions)
        return is_left and not account.in_phase("planned", "claimed", "open")

    def _flatten(self, slot: int) -> int:
        """Return what tells the ids of a slot's closing orders apart: the account's number of entries only grows."""
        account = self._context.account
        if not self._control.flatten:
            return 0
        return 1 if account.flattened != slot else account.entries + 2

    def _fuel(self, bars: Series) -> dict[str, Any] | None:
        """What the treasury wants decided after the strategy's intents, or why it cannot have it."""
        marks = {symbol: float(series.close[-1]) for symbol, series in bars.items()}
        fuel = plan_fuel(self._context, self._balances, marks)
        if fuel is None:
            return None
        return (
            {"refusal": fuel.to_json()}
            if isinstance(fuel, Refusal)
            else {"intent": fuel.intent.to_json(), "facts": fuel.facts}
        )

    def _fuel_first(self, orders: Sequence[Order]) -> list[Order]:
        """Where everything is closed the coin that pays fees goes first: the fees of the others would take from it."""
        treasury = self._job.treasury
        return sorted(orders, key=lambda order: treasury is None or order.symbol != treasury.fuel_symbol)

    def _decide(self, slot: int, cut: Series, wider: Series, is_newest: bool) -> None:
        job, context, keeper = self._job, self._context, self._keeper
        account, bars = context.account, plain(cut)
        given = SlotInputs(
            slot,
            bars,
            account.state,
            {symbol: context.instruments[symbol] for symbol in (*bars, *sorted(context.suspended))},
            job.owner,
            job.permissions,
            job.caps,
            Guards(),
            artifact=self._publication,
            flatten=self._flatten(slot),
            columns=job.given_columns(tuple(bars)),
            longer=longer_of(cut),
            treasury=self._fuel(bars) if is_newest else None,
            suspended={symbol: one.price for symbol, one in sorted(context.suspended.items())},
        )
        account.risk = watched(
            account.risk, job.limits, given.equity(), account.state.flows, slot, self._control.resumed_ms
        )
        # A breaker may just have tripped, or a person's resume have ended it: placement goes by the same as the gates.
        context.is_risk_allowed = is_newest and self._risk_reason() is None
        guards = guards_of(account, self._control, self._findings, is_newest=is_newest, untrusted=self._untrusted)
        given = given._replace(guards=guards)
        decision = decide_slot(job.strategy, given)
        check_strategy_state(decision, job.owner.strategy)
        surroundings = {
            "control": control_json(self._control),
            "mismatches": [one.to_json() for one in self._findings],
            "balances": {asset: [str(one.free), str(one.total)] for asset, one in sorted(self._balances.items())},
            "risk": account.risk.to_json(),
            **({} if self._report.publication is None else {"publication": self._report.publication}),
        }
        revised = record_decision(context, given, decision, cut, wider, surroundings)
        if revised:
            self._report.source["revised"] = list(revised)
        if given.flatten:
            account.flattened = slot
        account.book(SlotDecided(slot, decision.strategy_state))
        for one in decision.cancels:
            record = account.records.get(one.order_id)
            if record is not None and record.phase == "open":
                record.cancel = f"cancelled: {one.reason}"  # never "timeout", the word that a fallback waits for
            elif record is not None and record.phase in ("waiting", "watched"):
                account.finish(record, "cancelled", one.reason or "cancelled")
        plan(context, self._fuel_first(decision.orders) if given.flatten else decision.orders)
        keeper.save()
        self._report.decisions.append(decision_summary(decision))
        for refusal in decision.refusals:
            job.log.info("intent_refused", **refusal.to_json())
        place_all(context)

    # The end.

    def _finish(self, status: str, reason: str = "") -> None:
        """Commit: what is left open decides status and exit code."""
        report, account, context = self._report, self._keeper.account, self._context
        if report.status == "warming_up":
            status, reason = report.status, report.reason
        report.close(*outcome_of(context, self._control, status, reason))
        if report.status not in ("unresolved", "unfinished"):
            account.completed = account.state.slot
        note_dust(context)
        self._keeper.flush(context.slot)
        summary = {"run_id": report.run_id, "status": report.status, "reason": report.reason, "sent": context.sent}
        self._keeper.record("cycle", context.slot, summary)
        self._keeper.save()
