// The moving parts of a report: curves, the price chart with its trades, and the sortable list of trades.
// All data stands in the page; nothing is fetched. When everything is drawn, <html data-ready="yes"> says so.
(() => {
  "use strict";

  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  window.addEventListener("error", (event) => { root.dataset.error = String(event.message); });

  const data = JSON.parse(byId("data").textContent);
  const DAY = 86400;
  const times = ({ first, unit, steps }) => {
    const out = new Array(steps.length + 1);
    let now = first;
    out[0] = now / 1000;
    for (let i = 0; i < steps.length; i++) out[i + 1] = (now += steps[i] * unit) / 1000;
    return out;
  };

  // ---- colours ---------------------------------------------------------------------------------

  const NAMES = ["ink", "soft", "rule", "grid", "card", "gain", "loss", "accent", "benchmark", "gain-area", "loss-area", "plain-area", "rule-strong"];
  const colour = {};
  const readColours = () => {
    const style = getComputedStyle(root);
    for (const name of NAMES) colour[name] = style.getPropertyValue("--" + name).trim();
  };
  const is = (name) => () => colour[name];
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

  // ---- words -----------------------------------------------------------------------------------

  const minus = (text) => text.replace("-", "−");
  const money = (value) => {
    const digits = Math.abs(value) < 100000 ? data.decimals : 0;
    return minus(value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  };
  const price = (value) => minus(value.toLocaleString("en-US", { maximumSignificantDigits: 7 }));
  const percent = (value) => minus((value * 100).toFixed(2)) + "%";
  // One form for all marks of an axis: 9.5K beside 10K, never 9,500.
  const short = (marks) => {
    const large = marks.some((mark) => Math.abs(mark) >= 10000);
    const form = large ? { notation: "compact", maximumSignificantDigits: 4 } : { maximumSignificantDigits: 4 };
    return marks.map((mark) => minus(mark.toLocaleString("en-US", form)));
  };
  const percents = (digits) => (marks) => marks.map((mark) => {
    const form = Math.abs(mark) >= 100 ? { notation: "compact", maximumSignificantDigits: 4 } : { maximumFractionDigits: digits };
    return minus((mark * 100).toLocaleString("en-US", form)) + "%";
  });
  const moment = (seconds) => {
    const text = new Date(seconds * 1000).toISOString();
    return data.hours ? text.slice(0, 10) + " " + text.slice(11, 16) : text.slice(0, 10);
  };

  // ---- the shared period -----------------------------------------------------------------------

  const curves = data.curves;
  const curveTimes = times(curves.time);
  const prices = data.prices.map((one) => Object.assign({}, one, { time: times(one.time) }));
  const ends = [curveTimes].concat(prices.map((one) => one.time)).filter((one) => one.length);
  let first = Math.min(...ends.map((one) => one[0]));
  let last = Math.max(...ends.map((one) => one[one.length - 1]));
  if (first === last) { first -= DAY / 2; last += DAY / 2; }
  const all = last - first;
  const least = Math.min(all, Math.max(all / 400, 60));
  const shown = { from: first, to: last };
  const charts = {};
  let busy = false;

  const show = (from, to) => {
    let span = Math.min(Math.max(to - from, least), all);
    const middle = (from + to) / 2;
    from = Math.min(Math.max(middle - span / 2, first), last - span);
    shown.from = from;
    shown.to = from + span;
    busy = true;
    for (const key in charts) charts[key].setScale("x", { min: shown.from, max: shown.to });
    busy = false;
    for (const button of document.querySelectorAll("#range button")) {
      const wanted = Number(button.dataset.days) * DAY || all;
      button.setAttribute("aria-pressed", String(Math.abs(span - Math.min(wanted, all)) < 1 && Math.abs(shown.to - last) < 1));
    }
  };
  const zoom = (factor, at) => {
    const centre = at === undefined ? (shown.from + shown.to) / 2 : at;
    show(centre - (centre - shown.from) * factor, centre + (shown.to - centre) * factor);
  };
  const move = (part) => {
    const by = (shown.to - shown.from) * part;
    const span = shown.to - shown.from;
    const from = Math.min(Math.max(shown.from + by, first), last - span);
    show(from, from + span);
  };

  // ---- charts ----------------------------------------------------------------------------------

  const GAP = () => (window.innerWidth < 560 ? 48 : 62);
  const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");

  const axes = (write, withTimes, splits) => [
    {
      stroke: is("soft"), font: FONT, size: withTimes ? 40 : 4, gap: 4,
      grid: { stroke: is("grid"), width: 1 }, ticks: { show: false },
      values: withTimes ? TIMES : () => [],
      space: 64,
    },
    {
      stroke: is("soft"), font: FONT, size: GAP(), gap: 6, space: 34,
      grid: { stroke: is("grid"), width: 1 }, ticks: { show: false },
      values: (u, marks) => write(marks.filter((mark) => mark !== null)),
      ...(splits || {}),
    },
  ];
  const TIMES = [
    [DAY * 365, "{YYYY}", null, null, null, null, null, null, 1],
    [DAY * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [DAY, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM} {YY}", null, "\n{D} {MMM}", null, null, null, 1],
    [1, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YY}", null, "\n{D} {MMM}", null, null, null, 1],
  ];

  const padded = (min, max) => {
    const room = (max - min || Math.abs(max) || 1) * 0.06;
    return [min - room, max + room];
  };

  const logSplits = (u, axis, min, max) => {
    if (max / min < 4) {
      const raw = (max - min) / 5;
      const power = 10 ** Math.floor(Math.log10(raw));
      const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw);
      const out = [];
      for (let value = Math.ceil(min / step) * step; value <= max; value += step) out.push(value);
      return out;
    }
    const out = [];
    const tight = max / min < 200 ? [1, 2, 5] : [1];
    for (let power = 10 ** Math.floor(Math.log10(min)); power <= max; power *= 10) {
      for (const n of tight) if (n * power >= min && n * power <= max) out.push(n * power);
    }
    return out;
  };

  const chart = (key, spec) => {
    const holder = byId("plot-" + key);
    if (charts[key]) charts[key].destroy();
    const legend = byId("legend-" + key);
    let reading = "";
    const read = (u) => {
      let index = u.cursor.idx;
      if (index === null || index === undefined) {
        index = u.data[0].length - 1;
        while (index > 0 && u.data[0][index] > shown.to) index--;
      }
      const parts = spec.read(index);
      legend.innerHTML = "";
      reading = moment(u.data[0][index]);
      const when = document.createElement("span");
      when.textContent = reading;
      legend.append(when);
      for (const [name, text, tone] of parts) {
        const item = document.createElement("span");
        if (tone) {
          const mark = document.createElement("i");
          mark.style.color = "var(--" + tone + ")";
          item.append(mark);
        }
        const value = document.createElement("b");
        value.textContent = text;
        item.append(name + " ", value);
        legend.append(item);
        reading += ", " + name + " " + text;
      }
    };
    const u = new uPlot({
      width: holder.clientWidth, height: holder.clientHeight,
      padding: [6, 14, 0, 0],
      tzDate: utc,
      legend: { show: false },
      scales: { x: { time: true, range: (u, min, max) => [min, max] }, y: spec.scale || { range: (u, min, max) => padded(min, max) } },
      axes: axes(spec.write, spec.withTimes, spec.splits),
      series: [{}, ...spec.series],
      cursor: {
        y: false,
        points: { size: 7, width: 2, fill: is("card"), stroke: (u, i) => (spec.series[i - 1].stroke ? spec.series[i - 1].stroke() : "transparent") },
        sync: { key: "report", setSeries: false },
        drag: { x: true, y: false, dist: 5, setScale: false },
        bind: {
          dblclick: () => () => { show(first, last); return null; },
          mousedown: (u, target, handler) => (event) => {
            if (!event.shiftKey) return handler(event);
            drag(holder, event);
            return null;
          },
        },
      },
      hooks: {
        setCursor: [read],
        setScale: [(u, scale) => { if (scale === "x" && !busy) show(u.scales.x.min, u.scales.x.max); }],
        setSelect: [(u) => {
          if (u.select.width > 4) show(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
          u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
        draw: spec.draw ? [spec.draw] : [],
      },
    }, spec.data, holder);
    charts[key] = u;
    busy = true;
    u.setScale("x", { min: shown.from, max: shown.to });
    busy = false;
    read(u);
    u.readAgain = () => read(u);
    u.reading = () => reading;
    touch(u, holder);
    return u;
  };

  // Shift-drag: the whole stack follows the hand.
  const drag = (holder, event) => {
    const from = { ...shown };
    const width = holder.clientWidth - GAP();
    const startX = event.clientX;
    const follow = (now) => {
      const by = -(now.clientX - startX) / width * (from.to - from.from);
      const start = Math.min(Math.max(from.from + by, first), last - (from.to - from.from));
      show(start, start + from.to - from.from);
    };
    const stop = () => {
      holder.classList.remove("moving");
      removeEventListener("mousemove", follow);
      removeEventListener("mouseup", stop);
    };
    holder.classList.add("moving");
    addEventListener("mousemove", follow);
    addEventListener("mouseup", stop);
  };

  // One finger sideways reads values, up and down scrolls the page; two fingers zoom and move.
  const touch = (u, holder) => {
    let start = null;
    const at = (x) => u.posToVal(x - u.over.getBoundingClientRect().left, "x");
    u.over.addEventListener("touchstart", (event) => {
      const list = event.touches;
      start = list.length === 2
        ? { two: true, a: at(list[0].clientX), b: at(list[1].clientX) }
        : { two: false, x: list[0].clientX, y: list[0].clientY };
      if (start.two) event.preventDefault();
    }, { passive: false });
    u.over.addEventListener("touchmove", (event) => {
      const list = event.touches;
      if (!start) return;
      const box = u.over.getBoundingClientRect();
      if (start.two && list.length === 2) {
        event.preventDefault();
        const x1 = (list[0].clientX - box.left) / box.width, x2 = (list[1].clientX - box.left) / box.width;
        if (Math.abs(x2 - x1) < 0.02) return;
        const span = (start.b - start.a) / (x2 - x1);
        if (span > 0) show(start.a - x1 * span, start.a - x1 * span + span);
      } else if (!start.two && Math.abs(list[0].clientX - start.x) > Math.abs(list[0].clientY - start.y)) {
        event.preventDefault();
        u.setCursor({ left: list[0].clientX - box.left, top: list[0].clientY - box.top }, true, true);
      }
    }, { passive: false });
    u.over.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, at(event.clientX));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        move(event.deltaX / u.over.clientWidth);
      }
    }, { passive: false });
    holder.onkeydown = (event) => {
      const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      if (event.altKey || event.metaKey || event.ctrlKey) return;
      if (step && event.shiftKey) move(step * 0.2);
      else if (step) point(u, step);
      else if (event.key === "+" || event.key === "=") zoom(0.7);
      else if (event.key === "-") zoom(1 / 0.7);
      else if (event.key === "0") show(first, last);
      else if (event.key === "Escape") u.setCursor({ left: -10, top: -10 }, true, true);
      else return;
      event.preventDefault();
    };
  };

  const point = (u, step) => {
    const x = u.data[0];
    let index = u.cursor.idx;
    const inside = (i) => x[i] >= shown.from && x[i] <= shown.to;
    if (index === null || index === undefined || !inside(index)) {
      index = step > 0 ? x.findIndex((_, i) => inside(i)) : x.length - 1;
      while (index > 0 && !inside(index)) index--;
    } else {
      // A step is what the eye can see: one pixel at least.
      const pixel = (shown.to - shown.from) / Math.max(u.over.clientWidth, 1);
      const from = x[index];
      do index += step; while (index > 0 && index < x.length - 1 && Math.abs(x[index] - from) < pixel);
      if (index < 0 || index >= x.length || !inside(index)) return;
    }
    u.setCursor({ left: u.valToPos(x[index], "x"), top: u.over.clientHeight / 2 }, true, true);
    byId("live").textContent = u.reading();
  };

  // ---- the four of them ------------------------------------------------------------------------

  let logarithmic = false;
  const scaling = () => (logarithmic ? {
    scale: { distr: 3, range: (u, min, max) => [min * 0.98, max * 1.02] },
    splits: { splits: logSplits, filter: (u, marks) => marks },
  } : {});
  const drawEquity = () => chart("equity", {
    data: [curveTimes, curves.benchmark, curves.equity],
    write: short,
    ...scaling(),
    series: [
      { stroke: is("benchmark"), width: 1.25, points: { show: false } },
      { stroke: is("accent"), width: 1.75, fill: logarithmic ? undefined : is("gain-area"), points: { show: false } },
    ],
    read: (i) => [
      ["strategy", money(curves.equity[i]), "accent"],
      ["hold", curves.benchmark[i] === null ? "–" : money(curves.benchmark[i]), "benchmark"],
    ],
  });
  const drawDrawdown = () => chart("drawdown", {
    data: [curveTimes, curves.drawdown],
    write: percents(1),
    scale: { range: (u, min) => [Math.min(min * 1.08, -0.001), 0] },
    series: [{ stroke: is("loss"), width: 1.25, fill: is("loss-area"), fillTo: 0, points: { show: false } }],
    read: (i) => [["", percent(curves.drawdown[i]), "loss"]],
  });
  // One line for each sleeve, told apart by colour and by dashes: colour alone would not do for everybody.
  const LINES = [["accent"], ["loss"], ["ink", [6, 3]], ["benchmark", [2, 2]], ["soft", [8, 3, 2, 3]]];
  const drawSleeves = () => chart("sleeves", {
    data: [curveTimes, ...data.sleeves.map((one) => one.profit)],
    write: short,
    scale: { range: (u, min, max) => padded(Math.min(min, 0), Math.max(max, 0)) },
    series: data.sleeves.map((one, i) => {
      const [tone, dash] = LINES[i % LINES.length];
      return { stroke: is(tone), width: 1.5, dash, points: { show: false } };
    }),
    read: (i) => data.sleeves.map((one, k) => [one.name, money(one.profit[i]), LINES[k % LINES.length][0]]),
  });
  const drawExposure = () => chart("exposure", {
    data: [curveTimes, curves.exposure],
    write: percents(0),
    withTimes: true,
    scale: { range: (u, min, max) => [Math.min(min, 0), Math.max(max * 1.08, 0.01)] },
    series: [{
      stroke: is("benchmark"), width: 1, fill: is("plain-area"), fillTo: 0, points: { show: false },
      paths: uPlot.paths.stepped({ align: -1 }),
    }],
    read: (i) => [["", percent(curves.exposure[i]), "benchmark"]],
  });

  let symbol = 0;
  const drawPrice = () => {
    const one = prices[symbol];
    const hidden = { paths: () => null, points: { show: false } };
    chart("price", {
      data: [one.time, one.open, one.high, one.low, one.close],
      write: short,
      withTimes: true,
      ...scaling(),
      series: [hidden, hidden, hidden, { ...hidden, stroke: is("ink") }],
      read: (i) => [["open", price(one.open[i])], ["high", price(one.high[i])], ["low", price(one.low[i])], ["close", price(one.close[i])]],
      draw: (u) => { clipped(u, () => { candles(u, one); marks(u); }); },
    });
  };
  const clipped = (u, paint) => {
    const { left, top, width, height } = u.bbox;
    u.ctx.save();
    u.ctx.beginPath();
    u.ctx.rect(left, top, width, height);
    u.ctx.clip();
    paint();
    u.ctx.restore();
  };

  // Candles while each has at least six pixels; from further away the close and the span between high and low.
  const candles = (u, one) => {
    const { ctx } = u;
    const x = one.time;
    const scale = uPlot.pxRatio;
    let from = x.findIndex((time) => time >= u.scales.x.min);
    let to = x.length - 1;
    while (to > 0 && x[to] > u.scales.x.max) to--;
    if (from < 0 || to < from) return;
    from = Math.max(from - 1, 0);
    to = Math.min(to + 1, x.length - 1);
    const X = (i) => u.valToPos(x[i], "x", true);
    const Y = (value) => u.valToPos(value, "y", true);
    const step = to > from ? (X(to) - X(from)) / (to - from) : u.bbox.width;
    if (step >= 6 * scale) {
      const body = Math.max(1, Math.floor(Math.min(step * 0.66, 14 * scale)));
      ctx.lineWidth = Math.max(1, Math.floor(scale));
      for (let i = from; i <= to; i++) {
        const up = one.close[i] >= one.open[i];
        const middle = Math.round(X(i)) + (ctx.lineWidth % 2 ? 0.5 : 0);
        ctx.strokeStyle = ctx.fillStyle = colour.soft;
        ctx.beginPath();
        ctx.moveTo(middle, Y(one.high[i]));
        ctx.lineTo(middle, Y(one.low[i]));
        ctx.stroke();
        const top = Y(Math.max(one.open[i], one.close[i]));
        const height = Math.max(Y(Math.min(one.open[i], one.close[i])) - top, 1);
        const left = Math.round(middle - body / 2);
        if (up) { ctx.fillStyle = colour.card; ctx.fillRect(left, top, body, height); ctx.strokeRect(left + 0.5, top, body - 1, height); }
        else ctx.fillRect(left, top, body, height);
      }
      return;
    }
    ctx.fillStyle = colour["plain-area"];
    ctx.beginPath();
    for (let i = from; i <= to; i++) ctx.lineTo(X(i), Y(one.high[i]));
    for (let i = to; i >= from; i--) ctx.lineTo(X(i), Y(one.low[i]));
    ctx.fill();
    ctx.strokeStyle = colour.soft;
    ctx.lineWidth = 1.25 * scale;
    ctx.lineJoin = "round";
    ctx.beginPath();
    for (let i = from; i <= to; i++) ctx.lineTo(X(i), Y(one.close[i]));
    ctx.stroke();
  };

  // Marks need room. Where trades crowd, an even sample of them keeps entry and exit and the others are thin lines, until
  // zooming in makes room for them too. The sample knows neither profit nor size, or it would flatter the strategy, and
  // depends on the zoom alone, so that moving does not flicker.
  const MARK_ROOM = 20;
  const shuffled = (count) => {
    const place = (i) => Math.imul(i, 2654435761) >>> 0;
    return Array.from({ length: count }, (_, i) => i).sort((a, b) => place(a) - place(b));
  };
  const sample = (trades, own, room) => {
    const taken = new Map();
    return own.filter((i) => {
      const at = trades.entered[i], slot = Math.floor(at / room);
      for (const near of [slot - 1, slot, slot + 1]) if (taken.has(near) && Math.abs(taken.get(near) - at) < room) return false;
      taken.set(slot, at);
      return true;
    });
  };

  const tradeOrder = data.trades ? shuffled(data.trades.symbol.length) : [];
  const marks = (u) => {
    const trades = data.trades;
    if (!trades) return;
    const { min, max } = u.scales.x;
    const width = u.over.clientWidth;
    const own = tradeOrder.filter((i) => trades.symbol[i] === symbol);
    const inside = (i) => trades.left[i] >= min && trades.entered[i] <= max;
    const visible = own.filter(inside);
    const all = visible.length * MARK_ROOM <= width;
    const marked = all ? visible : sample(trades, own, (max - min) / width * MARK_ROOM).filter(inside);
    const known = new Set(marked);
    for (const i of visible) if (!known.has(i)) held(u, trades, i, 1, 0.6);
    for (const i of marked) held(u, trades, i, 1.75, 0.9);
    for (const i of marked) entry(u, trades, i);
    for (const i of marked) if (!trades.open[i]) exit(u, trades, i);
    const number = (list) => list.length.toLocaleString("en-US");
    byId("marked").textContent = marked.length === visible.length
      ? "" : `a sample of ${number(marked)} of ${number(visible)} trades: zoom in to see the other entries and exits`;
  };

  const tone = (trades, i) => (trades.won[i] ? colour.gain : colour.loss);
  const entered = (u, trades, i) => [u.valToPos(trades.entered[i], "x", true), u.valToPos(trades.from[i], "y", true)];
  const left = (u, trades, i) => [u.valToPos(trades.left[i], "x", true), u.valToPos(trades.to[i], "y", true)];
  const MARK_SIZE = 5.5;

  const held = (u, trades, i, width, alpha) => {
    const { ctx } = u;
    const scale = uPlot.pxRatio;
    ctx.strokeStyle = tone(trades, i);
    ctx.lineWidth = width * scale;
    ctx.globalAlpha = alpha;
    ctx.setLineDash(trades.open[i] ? [4 * scale, 3 * scale] : []);
    ctx.beginPath();
    ctx.moveTo(...entered(u, trades, i));
    ctx.lineTo(...left(u, trades, i));
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  };
  // The tip points at the price, a long entry from below: the exit of a trade that lasted a moment does not cover it.
  const entry = (u, trades, i) => {
    const { ctx } = u;
    const [x, y] = entered(u, trades, i);
    const size = MARK_SIZE * uPlot.pxRatio;
    const down = trades.long[i] ? size : -size;
    ctx.fillStyle = tone(trades, i);
    ctx.strokeStyle = colour.card;
    ctx.lineWidth = uPlot.pxRatio;
    ctx.beginPath();
    ctx.moveTo(x, y + down * 0.2);
    ctx.lineTo(x + size * 0.95, y + down * 2.1);
    ctx.lineTo(x - size * 0.95, y + down * 2.1);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  };
  const exit = (u, trades, i) => {
    const { ctx } = u;
    ctx.strokeStyle = tone(trades, i);
    ctx.fillStyle = colour.card;
    ctx.lineWidth = 1.75 * uPlot.pxRatio;
    ctx.beginPath();
    ctx.arc(...left(u, trades, i), MARK_SIZE * 0.62 * uPlot.pxRatio, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
  };

  // ---- controls --------------------------------------------------------------------------------

  const ranges = () => {
    const holder = byId("range");
    const spans = [["All", 0], ["3Y", 1095], ["1Y", 365], ["6M", 182], ["3M", 91], ["1M", 30], ["1W", 7], ["1D", 1]];
    const fitting = spans.filter(([, days]) => days * DAY < all * 0.95 && (!days || days * DAY > least * 2));
    for (const [label, days] of fitting.slice(0, 6)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.dataset.days = days;
      button.onclick = () => show(days ? last - days * DAY : first, last);
      holder.append(button);
    }
    byId("move").hidden = false;
    const acts = { left: () => move(-0.4), right: () => move(0.4), in: () => zoom(0.6), out: () => zoom(1 / 0.6) };
    for (const button of byId("move").children) button.onclick = acts[button.dataset.move];
  };

  const logButton = () => {
    const button = byId("log");
    if (curves.equity.concat(curves.benchmark).some((value) => value !== null && value <= 0)) { button.hidden = true; return; }
    button.onclick = () => {
      logarithmic = !logarithmic;
      button.setAttribute("aria-pressed", String(logarithmic));
      drawEquity();
      if (prices.length) drawPrice();
    };
  };

  const symbolPicker = () => {
    const picker = byId("symbol");
    if (picker) picker.onchange = () => { symbol = Number(picker.value); drawPrice(); };
  };

  const dark = () => root.dataset.theme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const recolour = () => {
    readColours();
    for (const key in charts) { charts[key].redraw(false, true); }
  };
  const theme = () => {
    const wanted = /(?:^|[#&])theme=(dark|light)\b/.exec(location.hash);
    if (wanted) root.dataset.theme = wanted[1];
    const button = byId("theme");
    const tell = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`); };
    button.hidden = false;
    tell();
    button.onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; tell(); recolour(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { tell(); recolour(); });
  };

  const resize = () => {
    for (const key in charts) {
      const holder = byId("plot-" + key);
      if (holder.clientWidth) charts[key].setSize({ width: holder.clientWidth, height: holder.clientHeight });
    }
  };

  const paper = () => {
    let before = "";
    addEventListener("beforeprint", () => {
      before = root.dataset.theme || "";
      root.dataset.theme = "light";
      readColours();
      for (const key in charts) {
        charts[key].setSize({ width: 700, height: key === "price" || key === "equity" ? 220 : 100 });
        charts[key].redraw(false, true);
      }
    });
    addEventListener("afterprint", () => {
      if (before) root.dataset.theme = before; else delete root.dataset.theme;
      recolour();
      resize();
    });
  };

  // ---- the list of trades ----------------------------------------------------------------------

  const tradeTable = () => {
    const table = byId("trade-table");
    if (!table) return;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    const heads = Array.from(table.tHead.rows[0].cells);
    const valueOf = (cell) => (cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v));
    const lists = byId("lists");
    const unsorted = () => { for (const head of heads) head.removeAttribute("aria-sort"); };
    const pick = (name) => {
      unsorted();
      for (const row of rows) row.hidden = row.dataset[name] === undefined;
      body.append(...rows.slice().sort((a, b) => Number(a.dataset[name] || 0) - Number(b.dataset[name] || 0)));
      if (lists) for (const button of lists.children) button.setAttribute("aria-pressed", String(button.dataset.list === name));
    };
    if (lists) {
      lists.hidden = false;
      for (const button of lists.children) button.onclick = () => pick(button.dataset.list);
    }
    heads.forEach((head, column) => {
      head.firstElementChild.onclick = () => {
        const text = head.classList.contains("text") && rows[0].cells[column].dataset.v === undefined;
        const now = head.getAttribute("aria-sort");
        const rising = now ? now === "descending" : text;
        unsorted();
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const order = (a, b) => {
          const x = valueOf(a.cells[column]), y = valueOf(b.cells[column]);
          return x < y ? -1 : x > y ? 1 : 0;
        };
        body.append(...rows.slice().sort((a, b) => (rising ? order(a, b) : order(b, a))));
      };
    });
    pick("last");
  };

  // ---- all together ----------------------------------------------------------------------------

  theme();
  readColours();
  ranges();
  logButton();
  symbolPicker();
  drawEquity();
  if (data.sleeves.length) drawSleeves();
  drawDrawdown();
  drawExposure();
  if (prices.length) drawPrice();
  show(first, last);
  tradeTable();
  paper();
  new ResizeObserver(resize).observe(byId("main"));

  const drawn = () => Object.values(charts).every((u) => {
    const { data: pixels } = u.ctx.getImageData(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) return true;
    return false;
  });
  const settle = () => {
    root.dataset.overflow = String(root.scrollWidth - root.clientWidth);
    root.dataset.charts = String(Object.keys(charts).length);
    root.dataset.ready = drawn() ? "yes" : "no";
  };
  requestAnimationFrame(() => requestAnimationFrame(settle));
})();
