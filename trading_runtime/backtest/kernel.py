"""The compiled path: market orders towards target weights, over any number of symbols, on plain arrays.

The same arithmetic as ``core/money.py``, ``core/decision.py``, ``core/gates.py`` and ``backtest/matching.py``, line for
line, on int64 and float64; a property test holds both paths to the same trace. Where an amount leaves the range of
int64 the kernel gives up with a status, and the caller takes the general path, whose integers are unbounded. It jumps
from one change of target to the next: bars in between cost nothing.

One file on purpose: numba's cache of a kernel looks at its own file, so a helper elsewhere could change unseen.

Arrays: s symbols, n bars, e target changes, r versions of rules. Output: one tape of what happened, in order.
"""

from __future__ import annotations

import numpy as np

from trading_runtime.backtest.jit import compiled

# Columns of the integer tape; the price of a fill is in a tape of its own.
TAPE_COLUMNS = 9
KIND, BAR, SYMBOL, ORDER, SIDE, QUANTITY, VALUE, FEE, EXTRA = range(TAPE_COLUMNS)

# KIND
FILL, ENDED, FUNDED, DECIDED, ORDERED, REFUSED, REPLACED = range(7)

# EXTRA of an ORDERED row is 1 for an order that only reduces

# EXTRA of an ENDED row
SHORT_OF_CASH, SHORT_OF_POSITION = range(2)

# EXTRA of a REFUSED row; VALUE and FEE carry the two amounts of its wording
ZERO, MINIMUM, MAXIMUM, NOTIONAL, ORDER_CAP, SYMBOL_CAP, LEVERAGE, CASH, NO_NEW_RISK, SHORT = range(10)

# Status
DONE, TAPE_FULL, OUT_OF_RANGE = range(3)

# Columns of the rules
FIRST_BAR, TICK_NUMERATOR, TICK_DENOMINATOR, LOT, QUANTITY_MINIMUM, QUANTITY_MAXIMUM, NOTIONAL_MINIMUM = range(7)

STATISTICS = 6  # what ``equity_statistics`` fills

# Bars of a block of ``block_high`` and ``block_low``.
BLOCK = 256

# The last axis of the quotes
OPEN, MARK = range(2)

LIMIT = float(2**62)
TOLERANCE = 1e-6
NONE = -1


@compiled()
def _value(price, quantity, per_unit):  # type: ignore[no-untyped-def]
    return np.rint(price * (quantity * per_unit))


@compiled()
def _fee(value, rate):  # type: ignore[no-untyped-def]
    return np.int64(np.ceil(abs(value) * rate))


@compiled()
def _whole_lots(quantity, lot):  # type: ignore[no-untyped-def]
    """Rounded down to the lot; an integer division costs as much as the rest of a fill, and most lots are one unit."""
    return quantity if lot == 1 else quantity // lot * lot


@compiled()
def _quantity_for_value(value, price, per_unit, step):  # type: ignore[no-untyped-def]
    """Units, or -1 when they are out of range."""
    units = value / (price * per_unit)
    if not -LIMIT < units < LIMIT:
        return np.int64(-1)
    if not units > 0.0:
        return np.int64(0)
    quantity = _whole_lots(np.int64(np.floor(units)), step)
    more = quantity + step
    return more if _value(price, more, per_unit) <= value else quantity


@compiled()
def _affordable(money, price, rate, per_unit, step):  # type: ignore[no-untyped-def]
    """Units, or -1 when an amount is out of range."""
    quantity = _quantity_for_value(money / (1.0 + max(rate, 0.0)), price, per_unit, step)
    if quantity < 0:
        return np.int64(-1)
    while quantity > 0:
        value = _value(price, quantity, per_unit)
        if not -LIMIT < value < LIMIT:
            return np.int64(-1)
        excess = np.int64(value) + _fee(value, rate) - money
        if excess <= 0:
            return quantity
        quantity -= max(np.int64(1), np.int64(np.ceil(excess / (price * per_unit * step)))) * step
    return np.int64(0)


@compiled()
def _rules_row(rules, first, last, bar):  # type: ignore[no-untyped-def]
    for row in range(last - 1, first - 1, -1):
        if rules[row, FIRST_BAR] <= bar:
            return row
    return first


@compiled(
    "int64[::1](int64, int64, float64[:,:,::1], float64[:,::1], int64[::1], int64[::1],"
    "float64[::1], int64[:,::1], int64[::1], float64[:,::1], float64[::1], boolean[::1], float64[::1], int64[::1],"
    "int64[::1], float64[::1], int64, float64, float64, int64, int64, int64, float64, boolean, boolean, boolean,"
    "int64[:,::1], float64[::1])"
)
def simulate(  # type: ignore[no-untyped-def]
    first_bar, count, quotes, volume, event_bar, event_symbol, event_weight,
    rules, rules_first, fee_rates, per_unit, is_spot, quantity_unit, funding_bar, funding_symbol, funding_rate,
    start_cash, adverse, volume_fraction, latency, order_cap, symbol_cap, leverage_max, new_risk, may_short,
    whole, tape, prices,
):  # fmt: skip
    """Run; returns [status, rows of tape used, cash at the end, then the quantity of each symbol at the end].

    Only with ``whole`` the tape keeps decisions, orders and refusals; without it, what moved money: a row that is not
    kept is written over by the next.

    quotes is (s, n, 2): a bar's open, NaN where nothing may fill, and its mark, side by side because a decision's mark
    and the open it acts from are neighbours in time. fee_rates is (r, 2): maker, taker. volume_fraction is NaN for no
    cap, caps are -1 for none. tape is (rows, TAPE_COLUMNS), prices (rows,).
    """
    symbols = quotes.shape[0]
    result = np.zeros(3 + symbols, dtype=np.int64)
    held = np.zeros(symbols, dtype=np.int64)
    book = np.zeros(symbols, dtype=np.int64)  # held, plus what the present decision has accepted
    ordered = np.zeros(symbols, dtype=np.int64)  # the open order of each symbol: its units, 0 for none
    side_of = np.zeros(symbols, dtype=np.int64)
    filled = np.zeros(symbols, dtype=np.int64)
    active = np.zeros(symbols, dtype=np.int64)
    number = np.zeros(symbols, dtype=np.int64)
    queue = np.zeros(symbols, dtype=np.int64)  # symbols with an open order, in order of placement
    pending = np.zeros(symbols, dtype=np.int64)  # signed units that orders of earlier decisions may yet trade
    queued = 0
    orders = 0
    cash = start_cash
    rows = 0
    told = 1 if whole else 0
    capacity = tape.shape[0]
    events = len(event_bar)
    event = 0
    payments = len(funding_bar)
    payment = 0
    bar = first_bar - 1
    status = DONE
    while True:
        following = event_bar[event] if event < events else count
        bar = bar + 1 if queued > 0 else following
        # What may be written before the next look at the capacity: one bar's payments, fills, ends, and a decision.
        last_quiet = min(bar, count)
        while payment < payments and funding_bar[payment] < last_quiet:
            if rows + 8 * symbols + 8 > capacity:
                status = TAPE_FULL
                break
            symbol = funding_symbol[payment]
            if held[symbol] != 0:
                value = _value(quotes[symbol, funding_bar[payment], MARK], held[symbol], per_unit[symbol])
                if not -LIMIT < value < LIMIT:
                    status = OUT_OF_RANGE
                    break
                amount = np.int64(np.rint(value * funding_rate[payment]))
                cash -= amount
                if not -LIMIT < cash < LIMIT:
                    status = OUT_OF_RANGE
                    break
                tape[rows, KIND] = FUNDED
                tape[rows, BAR] = funding_bar[payment]
                tape[rows, SYMBOL] = symbol
                tape[rows, VALUE] = amount
                tape[rows, EXTRA] = payment
                rows += 1
            payment += 1
        if status != DONE or bar >= count:
            break
        if rows + 8 * symbols + 8 + (payments - payment) > capacity:
            status = TAPE_FULL
            break

        # Match open orders at the open, in order of placement.
        if queued > 0:
            kept = 0
            for place in range(queued):
                symbol = queue[place]
                queue[kept] = symbol
                kept += 1
                reference = quotes[symbol, bar, OPEN]
                if active[symbol] > bar or np.isnan(reference):
                    continue
                row = _rules_row(rules, rules_first[symbol], rules_first[symbol + 1], bar)
                side = side_of[symbol]
                lot = rules[row, LOT]
                numerator, denominator = rules[row, TICK_NUMERATOR], rules[row, TICK_DENOMINATOR]
                ratio = reference * (1.0 + side * adverse) * denominator / numerator
                if not abs(ratio) * numerator < LIMIT:
                    status = OUT_OF_RANGE
                    break
                nearest = np.rint(ratio)
                if abs(ratio - nearest) > TOLERANCE:
                    nearest = np.ceil(ratio) if side > 0 else np.floor(ratio)
                ticks = max(np.int64(nearest), 1)
                price = float(ticks * numerator) / denominator
                rate = fee_rates[row, 1]
                wanted = ordered[symbol] - filled[symbol]
                short_of = NONE
                if is_spot[symbol]:
                    if side < 0:
                        if held[symbol] < wanted:
                            wanted = held[symbol]
                            short_of = SHORT_OF_POSITION
                    else:
                        value = _value(price, wanted, per_unit[symbol])
                        if not value < LIMIT:
                            status = OUT_OF_RANGE
                            break
                        if np.int64(value) + _fee(value, rate) > cash:
                            wanted = _affordable(max(cash, 0), price, rate, per_unit[symbol], lot)
                            if wanted < 0:
                                status = OUT_OF_RANGE
                                break
                            short_of = SHORT_OF_CASH
                quantity = wanted
                if not np.isnan(volume_fraction):
                    units = volume[symbol, bar] * volume_fraction / quantity_unit[symbol]
                    most = (
                        _whole_lots(np.int64(np.floor(units)), lot) if units < LIMIT else np.int64(2**62) // lot * lot
                    )
                    quantity = min(quantity, most)
                if quantity > 0:
                    value = _value(price, quantity, per_unit[symbol])
                    reference_value = _value(reference, quantity, per_unit[symbol])
                    if not (value < LIMIT and reference_value < LIMIT):
                        status = OUT_OF_RANGE
                        break
                    fee = _fee(value, rate)
                    cash -= side * np.int64(value) + fee
                    if not -LIMIT < cash < LIMIT:
                        status = OUT_OF_RANGE
                        break
                    held[symbol] += side * quantity
                    filled[symbol] += quantity
                    tape[rows, KIND] = FILL
                    tape[rows, BAR] = bar
                    tape[rows, SYMBOL] = symbol
                    tape[rows, ORDER] = number[symbol]
                    tape[rows, SIDE] = side
                    tape[rows, QUANTITY] = quantity
                    tape[rows, VALUE] = np.int64(value)
                    tape[rows, FEE] = fee
                    tape[rows, EXTRA] = abs(np.int64(value) - np.int64(reference_value))
                    prices[rows] = price
                    rows += 1
                if filled[symbol] == ordered[symbol]:
                    ordered[symbol] = 0
                    kept -= 1
                elif short_of != NONE and quantity == wanted:
                    tape[rows, KIND] = ENDED
                    tape[rows, BAR] = bar
                    tape[rows, SYMBOL] = symbol
                    tape[rows, ORDER] = number[symbol]
                    tape[rows, EXTRA] = short_of
                    rows += told
                    ordered[symbol] = 0
                    kept -= 1
            if status != DONE:
                break
            queued = kept

        while payment < payments and funding_bar[payment] == bar:
            symbol = funding_symbol[payment]
            if held[symbol] != 0:
                value = _value(quotes[symbol, bar, MARK], held[symbol], per_unit[symbol])
                if not -LIMIT < value < LIMIT:
                    status = OUT_OF_RANGE
                    break
                amount = np.int64(np.rint(value * funding_rate[payment]))
                cash -= amount
                if not -LIMIT < cash < LIMIT:
                    status = OUT_OF_RANGE
                    break
                tape[rows, KIND] = FUNDED
                tape[rows, BAR] = bar
                tape[rows, SYMBOL] = symbol
                tape[rows, VALUE] = amount
                tape[rows, EXTRA] = payment
                rows += 1
            payment += 1
        if status != DONE:
            break
        if bar != following:
            continue

        # Decide: the account as the gates see it, open buys of spot reserved.
        last_event = event
        while last_event < events and event_bar[last_event] == bar:
            last_event += 1
        equity = cash
        available = cash
        for symbol in range(symbols):
            book[symbol] = held[symbol]
            if held[symbol] != 0:
                value = _value(quotes[symbol, bar, MARK], held[symbol], per_unit[symbol])
                if not (-LIMIT < value < LIMIT and -LIMIT < equity < LIMIT):
                    status = OUT_OF_RANGE
                    break
                equity += np.int64(value)
        if status != DONE or not -LIMIT < equity < LIMIT:
            status = OUT_OF_RANGE
            break
        tape[rows, KIND] = DECIDED
        tape[rows, BAR] = bar
        rows += told
        for place in range(queued):
            symbol = queue[place]
            if side_of[symbol] > 0 and is_spot[symbol]:
                row = _rules_row(rules, rules_first[symbol], rules_first[symbol + 1], bar + 1)
                value = _value(quotes[symbol, bar, MARK], ordered[symbol] - filled[symbol], per_unit[symbol])
                if not -LIMIT < value < LIMIT:
                    status = OUT_OF_RANGE
                    break
                is_replaced = False
                for at in range(event, last_event):
                    is_replaced = is_replaced or event_symbol[at] == symbol
                if not is_replaced:
                    cost = np.int64(value) + _fee(value, fee_rates[row, 1])
                    if not float(available) - float(cost) > -LIMIT:
                        status = OUT_OF_RANGE
                        break
                    available -= cost
        if status != DONE:
            break
        for at in range(event, last_event):
            symbol = event_symbol[at]
            if ordered[symbol] != 0:
                tape[rows, KIND] = REPLACED
                tape[rows, BAR] = bar
                tape[rows, SYMBOL] = symbol
                tape[rows, ORDER] = number[symbol]
                rows += told
                kept = 0
                for place in range(queued):
                    if queue[place] != symbol:
                        queue[kept] = queue[place]
                        kept += 1
                queued = kept
                ordered[symbol] = 0

        for symbol in range(symbols):
            pending[symbol] = 0
        for place in range(queued):
            symbol = queue[place]
            pending[symbol] = side_of[symbol] * (ordered[symbol] - filled[symbol])

        # Reductions first, then new risk, each in the order of symbols. Rules are those of the close.
        ranks = 1 if last_event - event == 1 else 2  # a change alone needs no order
        for rank in range(ranks):
            for at in range(event, last_event):
                symbol = event_symbol[at]
                weight = event_weight[at]
                row = _rules_row(rules, rules_first[symbol], rules_first[symbol + 1], bar + 1)
                lot = rules[row, LOT]
                rate = fee_rates[row, 1]
                price = quotes[symbol, bar, MARK]
                target = _quantity_for_value(abs(weight) * equity, price, per_unit[symbol], lot)
                if target < 0:
                    status = OUT_OF_RANGE
                    break
                if weight < 0.0:
                    target = -target
                now = held[symbol]
                is_first = now != 0 and abs(target) < abs(now) and (target == 0 or (target > 0) == (now > 0))
                if ranks == 2 and is_first != (rank == 0):
                    continue
                delta = target - now
                if delta == 0:
                    continue
                side = 1 if delta > 0 else -1
                quantity = _whole_lots(abs(delta), lot)
                value = _value(price, quantity, per_unit[symbol])
                if side > 0 and now >= 0 and is_spot[symbol] and quantity > 0:
                    if not value < LIMIT:
                        status = OUT_OF_RANGE
                        break
                    if np.int64(value) + _fee(value, rate) > available:
                        quantity = _affordable(max(available, 0), price, rate, per_unit[symbol], lot)
                        if quantity < 0:
                            status = OUT_OF_RANGE
                            break
                        value = _value(price, quantity, per_unit[symbol])
                after = _value(price, max(abs(now + side * quantity), abs(now)), per_unit[symbol])
                if not (value < LIMIT and after < LIMIT):
                    status = OUT_OF_RANGE
                    break
                amount = np.int64(value)
                fee = _fee(value, rate)
                reduces = now * side < 0 and quantity <= abs(now)
                code = NONE
                first_amount = amount
                second_amount = np.int64(0)
                gross = np.int64(after)
                if quantity <= 0:
                    code = ZERO
                elif quantity < rules[row, QUANTITY_MINIMUM]:
                    code = MINIMUM
                elif quantity > rules[row, QUANTITY_MAXIMUM]:
                    code = MAXIMUM
                elif (
                    rules[row, NOTIONAL_MINIMUM] > 0
                    and not (reduces and not is_spot[symbol])
                    and amount < rules[row, NOTIONAL_MINIMUM]
                ):
                    code = NOTIONAL
                if code == NONE and not reduces:
                    if order_cap >= 0 and amount > order_cap:
                        code = ORDER_CAP
                        second_amount = order_cap
                    elif symbol_cap >= 0 and np.int64(after) > symbol_cap:
                        code = SYMBOL_CAP
                        first_amount = np.int64(after)
                        second_amount = symbol_cap
                    elif not is_spot[symbol]:
                        for other in range(symbols):
                            worst = max(
                                abs(book[other] + max(pending[other], 0)), abs(book[other] + min(pending[other], 0))
                            )
                            if other != symbol and worst != 0:
                                value = _value(quotes[other, bar, MARK], worst, per_unit[other])
                                if not value < LIMIT:
                                    status = OUT_OF_RANGE
                                    value = 0.0
                                if not float(gross) + value < LIMIT:
                                    status = OUT_OF_RANGE
                                    value = 0.0
                                gross += np.int64(value)
                        if not float(gross) <= leverage_max * equity:
                            code = LEVERAGE
                            first_amount = gross
                            second_amount = equity
                    if code == NONE and is_spot[symbol] and side > 0 and amount + fee > available:
                        code = CASH
                        first_amount = amount + fee
                        second_amount = available
                    if code == NONE and not new_risk:
                        code = NO_NEW_RISK
                    if (
                        code == NONE
                        and side < 0
                        and now + side * quantity < 0
                        and not (may_short and not is_spot[symbol])
                    ):
                        code = SHORT
                tape[rows, BAR] = bar
                tape[rows, SYMBOL] = symbol
                tape[rows, SIDE] = side
                tape[rows, QUANTITY] = quantity
                if code != NONE:
                    tape[rows, KIND] = REFUSED
                    tape[rows, VALUE] = first_amount
                    tape[rows, FEE] = second_amount
                    tape[rows, EXTRA] = code
                else:
                    tape[rows, KIND] = ORDERED
                    tape[rows, ORDER] = orders
                    tape[rows, EXTRA] = 1 if reduces else 0
                    book[symbol] += side * quantity
                    ordered[symbol] = quantity
                    side_of[symbol] = side
                    filled[symbol] = 0
                    active[symbol] = bar + 1 + latency
                    number[symbol] = orders
                    queue[queued] = symbol
                    queued += 1
                    orders += 1
                    if is_spot[symbol]:
                        available += -(amount + fee) if side > 0 else amount - fee
                        if not available < LIMIT:
                            status = OUT_OF_RANGE
                            break
                rows += told
            if status != DONE:
                break
        if status != DONE:
            break
        event = last_event
    result[0] = status
    result[1] = rows
    result[2] = cash
    for symbol in range(symbols):
        result[3 + symbol] = held[symbol]
    return result


@compiled("int64(uint8[:,::1], float64[::1], int64, int64, int64[::1], float64[::1])")
def scan_choices(masks, weights, count, start, bars, changed):  # type: ignore[no-untyped-def]
    """Write the bars from ``start`` on at which the chosen weight differs from the last known one (0 at first); return
    their number.

    ``masks`` (k, at least count, a multiple of 8) are conditions as 0 and 1: the first that holds chooses its weight,
    none the last of the k + 1 ``weights``. NaN among them is no opinion. Runs of one choice are skipped eight bars at a
    time.
    """
    conditions = masks.shape[0]
    words = masks.view(np.uint64)
    full = np.uint64(0x0101010101010101)
    used = 0
    current = 0.0
    bar = start
    while bar < count:
        choice = 0
        while choice < conditions and masks[choice, bar] == 0:
            choice += 1
        weight = weights[choice]
        if weight == weight and weight != current:
            current = weight
            bars[used] = bar
            changed[used] = weight
            used += 1
        # The next bar of another choice: a byte of ``other`` is not 0 where an earlier condition holds or this one does
        # not.
        bar += 1
        word = bar // 8
        shift = np.uint64(8 * (bar % 8))
        while bar < count:
            other = np.uint64(0)
            for earlier in range(choice):
                other |= words[earlier, word]
            if choice < conditions:
                other |= words[choice, word] ^ full
            other >>= shift
            if other != 0:
                while other & np.uint64(0xFF) == 0:
                    other >>= np.uint64(8)
                    bar += 1
                break
            word += 1
            bar = word * 8
            shift = np.uint64(0)
    return used


@compiled()
def _lowest(mark, start, stop):  # type: ignore[no-untyped-def]
    """Lowest of ``mark[start:stop]``, four at a time: they do not wait for each other. Unsigned indices, for negative
    ones would be counted from the end.
    """
    at, end = np.uintp(start), np.uintp(stop)
    one, two, three, four = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(4)
    low = mark[at]
    while at + three < end:
        a, b, c, d = mark[at], mark[at + one], mark[at + two], mark[at + three]
        a = b if b < a else a
        c = d if d < c else c
        a = c if c < a else a
        low = a if a < low else low
        at += four
    while at < end:
        low = mark[at] if mark[at] < low else low
        at += one
    return low


@compiled()
def _highest(mark, start, stop):  # type: ignore[no-untyped-def]
    """Highest of ``mark[start:stop]``, as ``_lowest``."""
    at, end = np.uintp(start), np.uintp(stop)
    one, two, three, four = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(4)
    high = mark[at]
    while at + three < end:
        a, b, c, d = mark[at], mark[at + one], mark[at + two], mark[at + three]
        a = b if b > a else a
        c = d if d > c else c
        a = c if c > a else a
        high = a if a > high else high
        at += four
    while at < end:
        high = mark[at] if mark[at] > high else high
        at += one
    return high


@compiled()
def _beyond(extremes, start, stop, direction):  # type: ignore[no-untyped-def]
    """The highest (lowest for a ``direction`` below zero) of the blocks that the bars from ``start`` to ``stop`` touch,
    times ``direction``: no mark among them lies beyond. NaN when unknown.
    """
    most = extremes[start // BLOCK] * direction
    for block in range(start // BLOCK + 1, (stop - 1) // BLOCK + 1):
        value = extremes[block] * direction
        most = value if value > most else most
    return most


@compiled()
def _units_at(price, quantity, per_unit):  # type: ignore[no-untyped-def]
    return np.int64(np.rint(price * (quantity * per_unit)))


@compiled(
    "int64(float64[:,::1], float64[:,::1], float64[:,::1], float64[::1], int64[:,::1], int64, int64, float64, float64,"
    "int64[::1], int64[::1], float64[::1])"
)
def equity_statistics(  # type: ignore[no-untyped-def]
    mark, block_high, block_low, per_unit, tape, rows, start_cash, numerator, denominator, sample_bars, samples,
    statistics,
):  # fmt: skip
    """Walk the equity curve that a tape implies, without storing it.

    Fills ``samples`` with the equity (quote units) after each of ``sample_bars`` and ``statistics`` with: deepest
    drawdown as a fraction, fees, slippage, funding, fills, bars with a position. Returns the equity after the last bar,
    or -2**63 when out of range.

    Between two things that happen, one symbol's equity rises and falls with its mark alone, and rounding keeps that
    order; so only a mark beyond all others of its stretch needs to become an equity. Several symbols are valued bar by
    bar.
    """
    symbols, count = mark.shape
    held = np.zeros(symbols, dtype=np.int64)
    cash = start_cash
    peak = float(start_cash) * numerator / denominator
    lowest = peak
    deepest = 0.0
    sample = 0
    sampled = len(sample_bars)
    fees, slippage, funding, fills, exposed = np.int64(0), np.int64(0), np.int64(0), 0, 0
    row = 0
    bar = 0
    while bar < count:
        # Everything that happened in this bar, then the quiet bars up to the next thing that happens.
        following = count
        while row < rows:
            if tape[row, BAR] > bar:
                following = tape[row, BAR]
                break
            kind = tape[row, KIND]
            if kind == FILL:
                cash -= tape[row, SIDE] * tape[row, VALUE] + tape[row, FEE]
                held[tape[row, SYMBOL]] += tape[row, SIDE] * tape[row, QUANTITY]
                fees += tape[row, FEE]
                slippage += tape[row, EXTRA]
                fills += 1
            elif kind == FUNDED:
                cash -= tape[row, VALUE]
                funding += tape[row, VALUE]
            if not (-LIMIT < fees < LIMIT and slippage < LIMIT and -LIMIT < funding < LIMIT):
                return np.int64(-(2**63))
            row += 1
        holding = 0
        only = 0
        for symbol in range(symbols):
            if held[symbol] != 0:
                holding += 1
                only = symbol
        if holding > 0:
            exposed += following - bar
        while sample < sampled and sample_bars[sample] < following:
            at = sample_bars[sample]
            units = cash
            for symbol in range(symbols):
                if held[symbol] != 0:
                    units += _units_at(mark[symbol, at], held[symbol], per_unit[symbol])
            samples[sample] = units
            sample += 1
        if holding == 0:
            now = float(cash) * numerator / denominator
            if now > peak:
                deepest = max(deepest, (peak - lowest) / peak)
                peak = now
                lowest = now
            elif now < lowest:
                lowest = now
            bar = following
        elif holding == 1:
            quantity, unit = held[only], per_unit[only]
            if not abs(quantity) * unit < LIMIT:
                return np.int64(-(2**63))
            direction = 1.0 if quantity > 0 else -1.0
            # Where no mark of the stretch can make a new peak, only the worst of them counts.
            if quantity > 0:
                worst = _lowest(mark[only], bar, following)
                units = _value(_beyond(block_high[only], bar, following, 1.0), quantity, unit)
            else:
                worst = -_highest(mark[only], bar, following)
                units = _value(-_beyond(block_low[only], bar, following, -1.0), quantity, unit)
            least = _value(worst * direction, quantity, unit)
            if not (-LIMIT < least < LIMIT and cash + np.int64(least) > -LIMIT):
                return np.int64(-(2**63))
            is_known = -LIMIT < units < LIMIT and cash + np.int64(units) < LIMIT
            if not (is_known and float(cash + np.int64(units)) * numerator / denominator <= peak):
                best = -np.inf
                worst = np.inf
                for at in range(bar, following):
                    price = mark[only, at] * direction
                    if price > best:
                        best = price
                        units = _value(mark[only, at], quantity, unit)
                        if not (units < LIMIT and cash + np.int64(units) < LIMIT):
                            return np.int64(-(2**63))
                        now = float(cash + np.int64(units)) * numerator / denominator
                        if now > peak:
                            if worst < np.inf:
                                least = _value(worst * direction, quantity, unit)
                                lowest = min(lowest, float(cash + np.int64(least)) * numerator / denominator)
                            deepest = max(deepest, (peak - lowest) / peak)
                            peak = now
                            lowest = now
                            worst = np.inf
                        elif price < worst:
                            worst = price
                    elif price < worst:
                        worst = price
                least = _value(worst * direction, quantity, unit)
            if worst < np.inf:
                lowest = min(lowest, float(cash + np.int64(least)) * numerator / denominator)
            bar = following
        else:
            while bar < following:
                equity = cash
                gross = 0.0
                for symbol in range(symbols):
                    if held[symbol] != 0:
                        units = _value(mark[symbol, bar], held[symbol], per_unit[symbol])
                        gross += abs(units)
                        if not gross < LIMIT:
                            return np.int64(-(2**63))
                        equity += np.int64(units)
                if not -LIMIT < equity < LIMIT:
                    return np.int64(-(2**63))
                now = float(equity) * numerator / denominator
                if now > peak:
                    deepest = max(deepest, (peak - lowest) / peak)
                    peak = now
                    lowest = now
                elif now < lowest:
                    lowest = now
                bar += 1
    final = cash
    for symbol in range(symbols):
        if held[symbol] != 0:
            final += _units_at(mark[symbol, count - 1], held[symbol], per_unit[symbol])
    statistics[0] = max(deepest, (peak - lowest) / peak)
    statistics[1] = fees
    statistics[2] = slippage
    statistics[3] = funding
    statistics[4] = fills
    statistics[5] = exposed
    return final


@compiled()
def _holds(first, second, or_equal):  # type: ignore[no-untyped-def]
    return first > second or (or_equal and first == second)


@compiled()
def _end_of_run(first, second, or_equal, held, start, stop):  # type: ignore[no-untyped-def]
    """The first bar from ``start`` on at which the comparison no longer comes out as ``held``."""
    bar, end, one = np.uintp(start), np.uintp(stop), np.uintp(1)
    if or_equal:
        while bar < end and (first[bar] >= second[bar]) == held:
            bar += one
    else:
        while bar < end and (first[bar] > second[bar]) == held:
            bar += one
    return np.int64(bar)


@compiled()
def _end_above(first, second, start, stop):  # type: ignore[no-untyped-def]
    """The first bar from ``start`` on at which ``first`` is not above ``second``: where sweeps spend their time, and so
    four bars at a time. Unsigned indices, for negative ones would be counted from the end.
    """
    bar, end = np.uintp(start), np.uintp(stop)
    one, two, three, four = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(4)
    while bar + four <= end and (
        (first[bar] > second[bar])
        & (first[bar + one] > second[bar + one])
        & (first[bar + two] > second[bar + two])
        & (first[bar + three] > second[bar + three])
    ):
        bar += four
    while bar < end and first[bar] > second[bar]:
        bar += one
    return np.int64(bar)


@compiled()
def _scan_columns(columns, left, right, or_equal, weights, count, start, bars, changed):  # type: ignore[no-untyped-def]
    """``scan_choices`` for one or two comparisons of columns, without masks: the columns are read once."""
    one = len(left) == 1
    a, b, e = columns[left[0]], columns[right[0]], or_equal[0]
    c, d, f = columns[left[-1]], columns[right[-1]], or_equal[-1]
    # a > b and b > a: while the second holds the first cannot.
    exclusive = left[-1] == right[0] and right[-1] == left[0] and not e and not f
    used = 0
    current = 0.0
    bar = start
    while bar < count:
        first = _holds(a[bar], b[bar], e)
        second = not one and not first and _holds(c[bar], d[bar], f)
        weight = weights[0] if first else weights[1] if second or one else weights[2]
        if weight == weight and weight != current:
            current = weight
            bars[used] = bar
            changed[used] = weight
            used += 1
        bar += 1
        if first:
            bar = _end_of_run(a, b, e, True, bar, count) if e else _end_above(a, b, bar, count)
        elif one:
            bar = _end_of_run(a, b, e, False, bar, count)
        elif second and exclusive:
            bar = _end_above(c, d, bar, count)
        else:
            while bar < count and not _holds(a[bar], b[bar], e) and _holds(c[bar], d[bar], f) == second:
                bar += 1
    return used


@compiled(
    "void(float64[:,::1], int64[:,::1], int64[:,::1], boolean[:,::1], float64[:,::1], int64[::1], int64,"
    "float64[:,:,::1], float64[:,::1], int64[:,::1], int64[::1], float64[:,::1], float64[::1], boolean[::1],"
    "float64[::1], int64[::1], int64[::1], float64[::1], int64, float64, float64, int64, int64, int64, float64,"
    "boolean, boolean, float64[:,::1], float64[:,::1], float64[:,::1], float64, float64, int64[::1], int64[:,::1],"
    "float64[::1], int64[::1], int64[::1], int64[:,::1], float64[:,::1])"
)
def run_cells(  # type: ignore[no-untyped-def]
    columns, left, right, or_equal, weights, first_bars, count,
    quotes, volume, rules, rules_first, fee_rates, per_unit, is_spot,
    quantity_unit, funding_bar, funding_symbol, funding_rate, start_cash, adverse, volume_fraction, latency,
    order_cap, symbol_cap, leverage_max, new_risk,
    may_short, mark, block_high, block_low, numerator, denominator, sample_bars, tape, prices,
    status, equity, samples, statistics,
):  # fmt: skip
    """Scan, simulate and measure cell after cell of one symbol without the interpreter: row c of ``left`` and ``right``
    (cells, 1 or 2) names the columns that cell c compares, of ``weights`` what it then holds. The last four arguments
    take each cell's status, last equity, samples and statistics.
    """
    bars = np.empty(count, dtype=np.int64)
    changed = np.empty(count)
    symbols = np.zeros(count, dtype=np.int64)
    for cell in range(len(first_bars)):
        used = _scan_columns(
            columns, left[cell], right[cell], or_equal[cell], weights[cell], count, first_bars[cell], bars, changed
        )
        done = simulate(
            first_bars[cell], count, quotes, volume, bars[:used], symbols[:used], changed[:used],
            rules, rules_first, fee_rates, per_unit, is_spot, quantity_unit, funding_bar, funding_symbol, funding_rate,
            start_cash, adverse, volume_fraction, latency, order_cap, symbol_cap, leverage_max, new_risk, may_short,
            False, tape, prices,
        )  # fmt: skip
        status[cell] = done[0]
        if done[0] == DONE:
            equity[cell] = equity_statistics(
                mark, block_high, block_low, per_unit, tape, done[1], start_cash, numerator, denominator, sample_bars,
                samples[cell], statistics[cell],
            )  # fmt: skip
