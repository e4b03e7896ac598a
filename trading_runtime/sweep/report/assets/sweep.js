// The moving parts of a sweep's report: filter, parallel coordinates, heat map, train against test, stitched equity and the
// list of cells. All data stands in the page; nothing is fetched. When all is drawn, <html data-ready="yes"> says so.
(() => {
  "use strict";

  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  window.addEventListener("error", (event) => { root.dataset.error = String(event.message); });

  const data = JSON.parse(byId("data").textContent);
  const COUNT = data.id.length;
  const all = Array.from({ length: COUNT }, (_, row) => row);

  // ---- words ---------------------------------------------------------------------------------------

  const minus = (text) => (/[1-9]/.test(text) ? text.replace("-", "−") : text.replace("-", ""));
  const number = (value) => minus(value.toLocaleString("en-US", { maximumSignificantDigits: 5 }));
  const whole = (value) => minus(value.toLocaleString("en-US", { maximumFractionDigits: 0 }));
  const figure = (kind, value) => {
    if (value === null || value === undefined) return "–";
    if (kind === "fraction") return minus((value * 100).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })) + "%";
    if (kind === "days") return `${minus(value.toLocaleString("en-US", { maximumFractionDigits: 1 }))} days`;
    if (kind === "ratio" || kind === "money") return minus(value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }));
    return number(value);
  };
  const said = (value) => (value === null ? "–" : value === true ? "yes" : value === false ? "no" : typeof value === "number" ? minus(String(value)) : value);
  const element = (kind, text, name) => {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };

  // ---- columns -------------------------------------------------------------------------------------

  const metrics = data.metrics.map((one) => ({ ...one, value: (row) => one.values[row] }));
  const parameters = data.parameters.map((one) => {
    const numeric = one.values.every((value) => typeof value === "number" || value === null) && one.values.some((value) => value !== null);
    return { ...one, numeric, value: (row) => one.values[one.at[row]] };
  });
  const varying = parameters.filter((one) => one.values.length > 1);
  const periodOf = (row) => data.periods[data.period[row]];
  const statusOf = (row) => data.status.values[data.status.at[row]];
  const ofMetric = (key) => metrics.find((one) => one.key === key) || metrics[0];
  let metric = ofMetric(data.metric);

  // The best of a metric is its highest, except where the sweep wants the lowest or the metric counts harm.
  const higher = (one) => (one.key === data.metric ? data.highest : !one.harm);

  const usable = (one, rows) => rows.filter((row) => one.values[row] !== null);
  const range = (values) => {
    let low = Infinity, high = -Infinity;
    for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
    return low <= high ? [low, high] : [0, 1];
  };

  // ---- the filter: period, words and brushes; every view shows what it leaves ------------------------

  const filter = { period: "every", terms: [], brushes: new Map(), wrong: "" };
  const views = [];
  const columnsByName = new Map();
  if (data.trades) columnsByName.set("trades", (row) => data.trades[row]);
  columnsByName.set("index", (row) => data.index[row]);
  columnsByName.set("status", statusOf);
  columnsByName.set("period", (row) => periodOf(row).name);
  for (const one of metrics) columnsByName.set(one.key, one.value);
  for (const one of parameters) columnsByName.set(one.name, one.value);

  const COMPARE = {
    ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, "<": (a, b) => a < b,
    "=": (a, b) => a === b, "!=": (a, b) => a !== b,
  };
  const term = (word) => {
    const parts = /^(.+?)(>=|<=|!=|=|>|<)(.*)$/.exec(word);
    if (!parts) {
      const low = word.toLowerCase();
      return (row) => [data.id[row], periodOf(row).name, statusOf(row), ...parameters.map((one) => said(one.value(row)))]
        .some((text) => String(text).toLowerCase().includes(low));
    }
    const column = columnsByName.get(parts[1]);
    if (!column) { filter.wrong = `nothing is called ${parts[1]}`; return () => true; }
    const compare = COMPARE[parts[2]], wanted = parts[3], asNumber = Number(wanted);
    return (row) => {
      const value = column(row);
      if (value === null || value === undefined) return false;
      if (typeof value === "number") return wanted !== "" && !Number.isNaN(asNumber) && compare(value, asNumber);
      return compare(String(typeof value === "boolean" ? said(value) : value).toLowerCase(), wanted.toLowerCase());
    };
  };
  const inPeriod = (row) => {
    if (filter.period === "every") return true;
    const [kind, ...rest] = filter.period.split(":");
    return kind === "role" ? periodOf(row).role === rest.join(":") : data.period[row] === Number(rest[0]);
  };
  const shown = { matched: all, kept: all };
  const apply = () => {
    shown.matched = all.filter((row) => inPeriod(row) && filter.terms.every((holds) => holds(row)));
    const brushes = Array.from(filter.brushes.values());
    shown.kept = brushes.length ? shown.matched.filter((row) => brushes.every((holds) => holds(row))) : shown.matched;
    const told = byId("count");
    if (told) {
      told.textContent = filter.wrong || (shown.kept.length === COUNT ? `all ${whole(COUNT)} cells` : `${whole(shown.kept.length)} of ${whole(COUNT)} cells`);
      told.classList.toggle("wrong", Boolean(filter.wrong));
      byId("filter").setAttribute("aria-invalid", String(Boolean(filter.wrong)));
    }
    for (const view of views) view();
  };

  // ---- colours and canvases ------------------------------------------------------------------------

  const NAMES = ["ink", "soft", "rule", "grid", "card", "fill", "gain", "loss", "accent", "benchmark", "plain-area", "rule-strong"];
  const colour = {};
  const readColours = () => {
    const style = getComputedStyle(root);
    for (const name of NAMES) colour[name] = style.getPropertyValue("--" + name).trim();
  };
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
  const canvases = [];
  const canvas = (id, draw) => {
    const holder = byId(id);
    const made = holder.appendChild(document.createElement("canvas"));
    const paint = () => {
      const width = holder.clientWidth, height = holder.clientHeight;
      if (!width || !height) return;
      const ratio = window.devicePixelRatio || 1;
      made.width = Math.round(width * ratio);
      made.height = Math.round(height * ratio);
      const ctx = made.getContext("2d");
      ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
      ctx.font = FONT;
      draw(ctx, width, height);
    };
    canvases.push({ paint, made });
    return { holder, paint };
  };
  const text = (ctx, words, x, y, align, tone) => {
    ctx.fillStyle = colour[tone || "soft"];
    ctx.textAlign = align;
    ctx.textBaseline = "middle";
    ctx.fillText(words, x, y);
  };
  const line = (ctx, x0, y0, x1, y1, tone, width, dash) => {
    ctx.strokeStyle = colour[tone];
    ctx.lineWidth = width || 1;
    ctx.setLineDash(dash || []);
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
    ctx.stroke();
    ctx.setLineDash([]);
  };
  const marks = (low, high, wanted) => {
    const raw = (high - low) / wanted;
    if (!(raw > 0)) return [low];
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
    const out = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) out.push(k * step);
    return out;
  };
  const markWords = (kind, value) => (kind === "fraction" ? minus(Number((value * 100).toPrecision(5)).toLocaleString("en-US")) + "%" : number(Number(value.toPrecision(6))));
  const padded = ([low, high]) => {
    const room = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - room, high + room];
  };
  const at = (event, holder) => {
    const box = holder.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const parts = (words) => words.replace("#", "").match(/../g).map((two) => parseInt(two, 16));
  const mixed = (from, to, share) => {
    const a = parts(from), b = parts(to);
    return `rgb(${a.map((value, i) => Math.round(value + (b[i] - value) * share)).join(",")})`;
  };

  // ---- parallel coordinates ------------------------------------------------------------------------

  const parallel = () => {
    let axes = [];
    let drag = null;
    const brushed = new Map(); // name of the axis -> [low, high] as shares of its height from below
    const build = () => {
      axes = varying.map((one) => {
        if (one.numeric && one.values.length > 1) {
          const known = one.values.filter((value) => value !== null);
          const [low, high] = range(known);
          const place = (row) => { const value = one.value(row); return value === null ? null : high > low ? (value - low) / (high - low) : 0.5; };
          const ticks = known.length <= 8 ? known : marks(low, high, 6);
          return { name: one.name, title: one.name, place, ticks: ticks.map((value) => [high > low ? (value - low) / (high - low) : 0.5, number(Number(value.toPrecision(6)))]) };
        }
        const last = one.values.length - 1;
        const every = Math.ceil(one.values.length / 12);
        return {
          name: one.name, title: one.name, place: (row) => one.at[row] / last,
          ticks: one.values.map((value, i) => [i / last, said(value)]).filter((_, i) => i % every === 0),
        };
      });
      const [low, high] = range(usable(metric, all).map(metric.value));
      axes.push({
        name: "\u0000metric", title: metric.label, metric: true,
        place: (row) => { const value = metric.values[row]; return value === null ? null : high > low ? (value - low) / (high - low) : 0.5; },
        ticks: marks(low, high, 6).map((value) => [high > low ? (value - low) / (high - low) : 0.5, markWords(metric.kind, value)]),
      });
    };
    let layout = null;
    const view = canvas("parallel-plot", (ctx, width, height) => {
      const left = 54, right = 66, top = 30, bottom = 14;
      const step = axes.length > 1 ? (width - left - right) / (axes.length - 1) : 0;
      const X = (i) => left + step * i;
      const Y = (share) => height - bottom - share * (height - top - bottom);
      layout = { X, Y, top, bottom, height, step };
      const trace = (row) => {
        let open = false;
        for (let i = 0; i < axes.length; i++) {
          const place = axes[i].place(row);
          if (place === null) { open = false; continue; }
          if (open) ctx.lineTo(X(i), Y(place)); else ctx.moveTo(X(i), Y(place));
          open = true;
        }
      };
      const kept = new Set(shown.kept);
      const faint = shown.matched.filter((row) => !kept.has(row));
      ctx.lineWidth = 1;
      if (faint.length) {
        ctx.strokeStyle = colour.rule;
        ctx.globalAlpha = Math.max(0.12, Math.min(0.8, 300 / faint.length));
        for (const row of faint) { ctx.beginPath(); trace(row); ctx.stroke(); }
      }
      const good = higher(metric);
      const ordered = usable(metric, shown.kept).sort((a, b) => (metric.values[a] - metric.values[b]) * (good ? 1 : -1));
      const most = ordered.length - 1;
      ctx.lineJoin = "round";
      for (let k = 0; k <= most; k++) {
        const share = most ? k / most : 1;
        const crowd = Math.max(0.05, Math.min(0.7, 220 / ordered.length));
        const top20 = k > most - 20;
        ctx.strokeStyle = mixed(colour.benchmark, colour.accent, share ** 2);
        ctx.globalAlpha = top20 ? 0.95 : crowd;
        ctx.lineWidth = top20 ? 1.5 : 1;
        ctx.beginPath();
        trace(ordered[k]);
        ctx.stroke();
      }
      ctx.globalAlpha = 1;
      for (let i = 0; i < axes.length; i++) {
        const axis = axes[i], x = X(i), last = i === axes.length - 1;
        line(ctx, x, top, x, height - bottom, "rule-strong", 1.25);
        ctx.font = "600 " + FONT;
        const room = Math.max(step - 12, 60);
        let title = axis.title;
        while (title.length > 4 && ctx.measureText(title).width > room) title = title.slice(0, -2) + "…";
        text(ctx, title, i === 0 ? 2 : last ? width - 2 : x, 12, i === 0 ? "left" : last ? "right" : "center", "ink");
        ctx.font = FONT;
        for (const [share, words] of axis.ticks) {
          let shortened = String(words);
          while (shortened.length > 4 && ctx.measureText(shortened).width > 52) shortened = shortened.slice(0, -2) + "…";
          const side = last ? 6 : -6;
          const wide = ctx.measureText(shortened).width;
          ctx.globalAlpha = 0.82;
          ctx.fillStyle = colour.card;
          ctx.fillRect(last ? x + 4 : x - 8 - wide, Y(share) - 7, wide + 4, 14);
          ctx.globalAlpha = 1;
          text(ctx, shortened, x + side, Y(share), last ? "left" : "right", "soft");
          line(ctx, x - 3, Y(share), x + 3, Y(share), "rule-strong");
        }
        const brush = brushed.get(axis.name);
        if (brush) {
          ctx.fillStyle = colour["plain-area"];
          ctx.fillRect(x - 7, Y(brush[1]), 14, Y(brush[0]) - Y(brush[1]));
          ctx.strokeStyle = colour.ink;
          ctx.strokeRect(x - 7, Y(brush[1]), 14, Y(brush[0]) - Y(brush[1]));
        }
      }
    });
    const nearest = (x) => {
      const i = layout.step ? Math.round((x - layout.X(0)) / layout.step) : 0;
      return Math.abs(layout.X(i) - x) < Math.max(18, Math.min(30, layout.step / 2)) && axes[i] ? i : -1;
    };
    const share = (y) => Math.min(1, Math.max(0, (layout.height - layout.bottom - y) / (layout.height - layout.top - layout.bottom)));
    const settle = (i) => {
      const axis = axes[i], brush = brushed.get(axis.name);
      if (!brush) filter.brushes.delete(axis.name);
      else filter.brushes.set(axis.name, (row) => { const place = axis.place(row); return place !== null && place >= brush[0] - 1e-9 && place <= brush[1] + 1e-9; });
    };
    view.holder.addEventListener("pointerdown", (event) => {
      const [x, y] = at(event, view.holder);
      const i = nearest(x);
      if (i < 0) return;
      drag = { i, from: share(y), y };
      view.holder.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    view.holder.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const [, y] = at(event, view.holder);
      if (Math.abs(y - drag.y) < 4) return;
      brushed.set(axes[drag.i].name, [Math.min(drag.from, share(y)), Math.max(drag.from, share(y))]);
      view.paint();
    });
    view.holder.addEventListener("pointerup", (event) => {
      if (!drag) return;
      const [, y] = at(event, view.holder);
      if (Math.abs(y - drag.y) < 4) brushed.delete(axes[drag.i].name);
      settle(drag.i);
      drag = null;
      apply();
    });
    view.holder.addEventListener("pointercancel", () => { drag = null; });
    build();
    views.push(view.paint);
    return {
      rebuild: () => { brushed.delete("\u0000metric"); filter.brushes.delete("\u0000metric"); build(); },
      clear: () => brushed.clear(),
      legend: () => { byId("parallel-legend").textContent = `the best 20 stand out; darker lines have a better ${metric.label}`; },
    };
  };

  // ---- heat map ------------------------------------------------------------------------------------

  const BINS_MOST = 30, BINS = 20;
  const binned = (one) => {
    if (!one) return { count: 1, of: () => 0, words: [""], match: () => "" };
    if (!one.numeric || one.values.length <= BINS_MOST) {
      return {
        count: one.values.length, of: (row) => one.at[row], words: one.values.map(said),
        match: (i) => {
          const value = one.values[i];
          return value === null ? "" : `${one.name}=${typeof value === "string" ? `"${value}"` : typeof value === "boolean" ? said(value) : value}`;
        },
      };
    }
    const known = one.values.filter((value) => value !== null);
    const [low, high] = range(known);
    const width = (high - low) / BINS;
    return {
      count: BINS, of: (row) => { const value = one.value(row); return value === null ? -1 : Math.min(BINS - 1, Math.floor((value - low) / width)); },
      words: Array.from({ length: BINS }, (_, i) => "≥" + number(Number((low + i * width).toPrecision(3)))),
      match: (i) => `${one.name}>=${low + i * width} ${one.name}<${i === BINS - 1 ? high + width : low + (i + 1) * width}`,
    };
  };
  const heat = () => {
    const x = byId("heat-x"), y = byId("heat-y"), rest = byId("heat-rest");
    varying.forEach((one, i) => { x.append(new Option(one.name, i)); y.append(new Option(one.name, i)); });
    if (varying.length < 2) { y.closest("label").hidden = true; y.append(new Option("", "none")); y.value = "none"; } else y.value = "1";
    const draw = () => {
      const one = varying[Number(x.value)], other = y.value === "none" || y.value === x.value ? null : varying[Number(y.value)];
      const across = binned(one), down = binned(other);
      const counts = new Int32Array(across.count * down.count);
      const sums = new Float64Array(counts.length), lows = new Float64Array(counts.length).fill(Infinity), highs = new Float64Array(counts.length).fill(-Infinity);
      for (const row of usable(metric, shown.kept)) {
        const i = across.of(row), j = down.of(row);
        if (i < 0 || j < 0) continue;
        const place = j * across.count + i, value = metric.values[row];
        counts[place]++; sums[place] += value;
        if (value < lows[place]) lows[place] = value;
        if (value > highs[place]) highs[place] = value;
      }
      const best = higher(metric) ? highs : lows, worst = higher(metric) ? lows : highs;
      const by = rest.value;
      const value = (place) => (!counts[place] ? null : by === "count" ? counts[place] : by === "mean" ? sums[place] / counts[place] : by === "best" ? best[place] : worst[place]);
      const values = Array.from(counts, (_, place) => value(place));
      const known = values.filter((one) => one !== null);
      const [low, high] = range(known);
      const signs = by !== "count" && low < 0 && high > 0;
      const most = Math.max(Math.abs(low), Math.abs(high));
      const good = by === "count" || higher(metric);
      const summit = known.length ? (good ? high : low) : null;
      const figures = across.count <= 16 || across.count * 56 + 90 <= byId("heat").clientWidth;
      const kind = by === "count" ? "count" : metric.kind;
      const table = element("table", undefined, figures ? "heat" : "heat small");
      table.style.setProperty("--columns", across.count);
      const head = table.createTHead().insertRow();
      head.append(element("th", other ? `${other.name} ↓  ${one.name} →` : one.name, "corner"));
      // Words that have no room side by side stand over every second, third, ... column, as wide as they need.
      const room = Math.max(14, (byId("heat").clientWidth - 90) / across.count);
      const widest = 7 * Math.max(...across.words.map((words) => words.length)) + 6;
      const every = figures ? 1 : Math.ceil(widest / room);
      across.words.forEach((words, i) => head.append(element("th", i % every ? "" : words)));
      const body = table.createTBody();
      for (let j = 0; j < down.count; j++) {
        const line = body.insertRow();
        line.append(element("th", other ? down.words[j] : ""));
        for (let i = 0; i < across.count; i++) {
          const place = j * across.count + i, found = values[place], cell = line.insertCell();
          if (found === null) { cell.className = "empty-cell"; continue; }
          if (figures) cell.textContent = figure(kind, found);
          const share = signs ? Math.abs(found) / most : high > low ? (found - low) / (high - low) : 0.5;
          cell.dataset.shade = "";
          cell.style.setProperty("--shade", `${Math.round(share * (figures ? 50 : 90))}%`);
          cell.style.setProperty("--tone", signs && found < 0 ? "var(--loss)" : "var(--gain)");
          if (found === summit) cell.classList.add("top-cell");
          cell.title = `${one.name} ${across.words[i]}${other ? `, ${other.name} ${down.words[j]}` : ""}: ${figure(kind, found)} (${whole(counts[place])} cells)`;
          cell.onclick = () => { setFilter([across.match(i), other ? down.match(j) : ""].filter(Boolean).join(" ")); };
        }
      }
      byId("heat").replaceChildren(known.length ? table : element("p", "No cell that is kept has this metric.", "empty"));
      const legend = element("span");
      byId("heat-legend").replaceChildren(legend);
      if (known.length) {
        const words = by === "count" ? "cells" : `${by} ${metric.label}`;
        legend.append(`${words} ${figure(kind, low)}`);
        const ramp = element("i", undefined, "ramp");
        const shade = figures ? 50 : 90;
        const end = (tone, value) => `color-mix(in srgb, var(--${tone}) ${Math.round(value * shade)}%, var(--fill))`;
        ramp.style.background = signs
          ? `linear-gradient(90deg, ${end("loss", -low / most)}, var(--fill) ${(100 * -low) / (high - low)}%, ${end("gain", high / most)})`
          : `linear-gradient(90deg, var(--fill), ${end("gain", 1)})`;
        legend.append(ramp, figure(kind, high), "; the best is framed");
      }
    };
    for (const picker of [x, y, rest]) picker.onchange = draw;
    views.push(draw);
  };

  // ---- train against test --------------------------------------------------------------------------

  const scatter = () => {
    const { train, test, chosen, fold, correlation } = data.pairs;
    const one = ofMetric(data.metric);
    const points = train.map((row, i) => [one.values[row], one.values[test[i]]]);
    const [low, high] = padded(range(points.flat()));
    byId("scatter-told").textContent = `${one.label}, ${whole(points.length)} pairs` + (correlation === null ? "" : `, rank correlation ${figure("ratio", correlation)}`);
    let near = -1, layout = null;
    const legend = (i) => {
      const told = byId("scatter-legend");
      if (i < 0) { told.textContent = "point at a cell to read it"; return; }
      const words = varying.map((parameter) => `${parameter.name} ${said(parameter.value(train[i]))}`).join(", ");
      told.textContent = `fold ${fold[i]}${chosen[i] ? ", chosen" : ""} · ${words} · train ${figure(one.kind, points[i][0])} · test ${figure(one.kind, points[i][1])}`;
    };
    const view = canvas("scatter-plot", (ctx, width, height) => {
      const left = 62, right = 12, top = 10, bottom = 38;
      const X = (value) => left + ((value - low) / (high - low)) * (width - left - right);
      const Y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
      layout = { X, Y };
      for (const mark of marks(low, high, 7)) {
        line(ctx, X(mark), top, X(mark), height - bottom, "grid");
        line(ctx, left, Y(mark), width - right, Y(mark), "grid");
        text(ctx, markWords(one.kind, mark), X(mark), height - bottom + 12, "center");
        text(ctx, markWords(one.kind, mark), left - 8, Y(mark), "right");
      }
      if (low < 0 && high > 0) {
        line(ctx, X(0), top, X(0), height - bottom, "rule-strong");
        line(ctx, left, Y(0), width - right, Y(0), "rule-strong");
      }
      line(ctx, X(low), Y(low), X(high), Y(high), "soft", 1, [5, 4]);
      text(ctx, "in train", (left + width - right) / 2, height - 9, "center");
      ctx.save();
      ctx.translate(9, (top + height - bottom) / 2);
      ctx.rotate(-Math.PI / 2);
      text(ctx, "in test", 0, 0, "center");
      ctx.restore();
      ctx.fillStyle = colour.accent;
      ctx.globalAlpha = Math.max(0.12, Math.min(0.7, 400 / points.length));
      const size = points.length > 3000 ? 1.5 : 2.5;
      for (const [a, b] of points) { ctx.beginPath(); ctx.arc(X(a), Y(b), size, 0, 2 * Math.PI); ctx.fill(); }
      ctx.globalAlpha = 1;
      ctx.lineWidth = 2;
      points.forEach(([a, b], i) => {
        if (!chosen[i] && i !== near) return;
        ctx.strokeStyle = i === near ? colour.ink : colour.loss;
        ctx.fillStyle = colour.card;
        ctx.beginPath();
        ctx.arc(X(a), Y(b), i === near ? 6 : 5, 0, 2 * Math.PI);
        ctx.fill();
        ctx.stroke();
      });
    });
    view.holder.addEventListener("pointermove", (event) => {
      const [x, y] = at(event, view.holder);
      let best = 400, found = -1;
      points.forEach(([a, b], i) => {
        const far = (layout.X(a) - x) ** 2 + (layout.Y(b) - y) ** 2;
        if (far < best) { best = far; found = i; }
      });
      if (found !== near) { near = found; legend(near); view.paint(); }
    });
    view.holder.addEventListener("pointerleave", () => { near = -1; legend(-1); view.paint(); });
    legend(-1);
    views.push(view.paint);
  };

  // ---- stitched equity -----------------------------------------------------------------------------

  const stitched = () => {
    const { time, values, fold, start: began } = data.equity;
    const times = [time.first];
    for (const step of time.steps) times.push(times[times.length - 1] + step * time.unit);
    const [low, high] = padded(range(began === null ? values : values.concat(began)));
    const first = times[0], last = times[times.length - 1];
    const day = (ms) => new Date(ms).toISOString().slice(0, 10);
    let near = values.length - 1, pointed = false, layout = null;
    const legend = () => {
      byId("stitched-legend").textContent = `${day(times[near] - 1)} · ${fold[near] < 0 ? "between folds" : `fold ${fold[near]}`} · ${figure("money", values[near])}`;
    };
    const dates = () => {
      const DAY = 86400000, days = (last - first) / DAY, out = [];
      if (!(days > 0)) return [[first, day(first)]];
      const from = new Date(first);
      const months = days > 2200 ? 12 : days > 900 ? 6 : days > 400 ? 3 : days > 70 ? 1 : 0;
      if (!months) {
        const step = Math.max(1, Math.ceil(days / 8)) * DAY;
        for (let at = Math.ceil(first / DAY) * DAY; at <= last; at += step) out.push([at, day(at).slice(5)]);
        return out;
      }
      for (let at = Date.UTC(from.getUTCFullYear(), 0, 1); at <= last;) {
        if (at >= first) out.push([at, months === 12 ? day(at).slice(0, 4) : day(at).slice(0, 7)]);
        const now = new Date(at);
        at = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + months, 1);
      }
      return out;
    };
    const view = canvas("stitched-plot", (ctx, width, height) => {
      const left = 66, right = 10, top = 8, bottom = 24;
      const X = (ms) => left + (last > first ? (ms - first) / (last - first) : 0.5) * (width - left - right);
      const Y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
      layout = { X };
      let start = 0;
      for (let i = 1; i <= fold.length; i++) {
        if (i < fold.length && fold[i] === fold[start]) continue;
        if (fold[start] >= 0 && fold[start] % 2 === 1) {
          ctx.fillStyle = colour["plain-area"];
          ctx.globalAlpha = 0.4;
          const end = i < fold.length ? times[i] : last;
          ctx.fillRect(X(times[start]), top, X(end) - X(times[start]), height - top - bottom);
          ctx.globalAlpha = 1;
        }
        start = i;
      }
      for (const mark of marks(low, high, 5)) {
        line(ctx, left, Y(mark), width - right, Y(mark), "grid");
        text(ctx, mark.toLocaleString("en-US", { notation: Math.abs(high) >= 1e5 ? "compact" : "standard", maximumSignificantDigits: 4 }), left - 8, Y(mark), "right");
      }
      let free = -Infinity;
      for (const [ms, words] of dates()) {
        const x = X(ms), half = ctx.measureText(words).width / 2;
        if (x - half < free || x + half > width) continue;
        free = x + half + 14;
        text(ctx, words, x, height - 10, "center");
        line(ctx, x, height - bottom, x, height - bottom + 4, "rule-strong");
      }
      if (began !== null) line(ctx, left, Y(began), width - right, Y(began), "rule-strong", 1, [4, 4]);
      ctx.strokeStyle = colour.accent;
      ctx.lineWidth = 1.6;
      ctx.lineJoin = "round";
      ctx.beginPath();
      values.forEach((value, i) => (i ? ctx.lineTo(X(times[i]), Y(value)) : ctx.moveTo(X(times[i]), Y(value))));
      ctx.stroke();
      if (pointed) {
        line(ctx, X(times[near]), top, X(times[near]), height - bottom, "rule-strong");
        ctx.fillStyle = colour.accent;
        ctx.beginPath();
        ctx.arc(X(times[near]), Y(values[near]), 3.5, 0, 2 * Math.PI);
        ctx.fill();
      }
    });
    const point = (i) => { near = Math.min(Math.max(i, 0), values.length - 1); pointed = true; legend(); view.paint(); };
    view.holder.addEventListener("pointermove", (event) => {
      const [x] = at(event, view.holder);
      let from = 0, to = times.length - 1;
      while (to - from > 1) { const middle = (from + to) >> 1; if (layout.X(times[middle]) > x) to = middle; else from = middle; }
      point(Math.abs(layout.X(times[to]) - x) < Math.abs(layout.X(times[from]) - x) ? to : from);
    });
    view.holder.addEventListener("pointerleave", () => { pointed = false; near = values.length - 1; legend(); view.paint(); });
    view.holder.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      point(near + (event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 30 : 1));
      event.preventDefault();
    });
    legend();
    views.push(view.paint);
  };

  // ---- the list of cells ---------------------------------------------------------------------------

  const PAGE = 50;
  const list = () => {
    const table = byId("cell-table"), pages = byId("pages");
    const columns = [
      { title: "#", value: (row) => data.index[row], words: (row) => whole(data.index[row]) },
      { title: "Cell", text: true, value: (row) => data.id[row], words: (row) => data.id[row].slice(0, 12), code: true },
    ];
    if (data.periods.length > 1) columns.push({ title: "Period", text: true, value: (row) => data.period[row], words: (row) => periodOf(row).name });
    for (const one of parameters) {
      columns.push({ title: one.name, text: !one.numeric, value: one.numeric ? one.value : (row) => one.at[row], words: (row) => said(one.value(row)) });
    }
    for (const one of metrics) columns.push({ title: one.label, value: one.value, words: (row) => figure(one.kind, one.values[row]), metric: one });
    if (data.trades) columns.push({ title: "Trades", value: (row) => data.trades[row], words: (row) => (data.trades[row] === null ? "–" : whole(data.trades[row])) });
    columns.push({ title: "Status", text: true, value: statusOf, words: statusOf });
    const linked = Object.keys(data.links).length > 0;
    let sort = { column: columns.find((one) => one.metric && one.metric.key === data.metric) || columns[0], rising: !data.highest };
    let page = 0;
    const head = table.createTHead().insertRow(), body = table.createTBody();
    for (const column of columns) {
      const cell = element("th", undefined, column.text ? "text" : "");
      cell.scope = "col";
      const button = element("button", column.title);
      button.type = "button";
      button.onclick = () => {
        sort = { column, rising: sort.column === column ? !sort.rising : column.metric ? !higher(column.metric) : true };
        page = 0;
        draw();
      };
      cell.append(button);
      column.head = cell;
      head.append(cell);
    }
    if (linked) head.append(element("th", "Report", "text"));
    const ordered = () => {
      const { column, rising } = sort;
      const known = [], unknown = [];
      for (const row of shown.kept) (column.value(row) === null || column.value(row) === undefined ? unknown : known).push(row);
      known.sort((a, b) => {
        const x = column.value(a), y = column.value(b);
        return (x < y ? -1 : x > y ? 1 : 0) * (rising ? 1 : -1) || a - b;
      });
      return known.concat(unknown);
    };
    const told = element("span");
    const move = (label, by) => {
      const button = element("button", label);
      button.type = "button";
      button.onclick = () => { page += by(); draw(); };
      return button;
    };
    const back = move("Back", () => -1), next = move("Next", () => 1);
    pages.append(back, next);
    pages.after(told);
    const draw = () => {
      const rows = ordered(), most = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
      page = Math.min(Math.max(page, 0), most);
      for (const column of columns) column.head.removeAttribute("aria-sort");
      sort.column.head.setAttribute("aria-sort", sort.rising ? "ascending" : "descending");
      body.replaceChildren(...rows.slice(page * PAGE, (page + 1) * PAGE).map((row) => {
        const made = document.createElement("tr");
        for (const column of columns) {
          const cell = element("td", column.words(row), column.text ? "text" : "");
          if (column.code) { cell.classList.add("code"); cell.title = data.id[row]; }
          made.append(cell);
        }
        if (linked) {
          const cell = element("td", undefined, "text");
          if (data.links[row]) { const link = element("a", "open"); link.href = data.links[row]; cell.append(link); }
          made.append(cell);
        }
        return made;
      }));
      pages.hidden = most === 0;
      back.disabled = page === 0;
      next.disabled = page === most;
      byId("cells-told").textContent = rows.length ? `${whole(page * PAGE + 1)} to ${whole(Math.min((page + 1) * PAGE, rows.length))} of ${whole(rows.length)}` : "no cell is kept by the filter";
    };
    views.push(() => { page = 0; draw(); });
  };

  // ---- controls ------------------------------------------------------------------------------------

  let drawnParallel = null;
  const readFilter = () => {
    filter.wrong = "";
    filter.terms = (byId("filter").value.match(/(?:[^\s"]|"[^"]*")+/g) || []).map((word) => term(word.replaceAll('"', "")));
    apply();
  };
  const setFilter = (words) => { byId("filter").value = words; readFilter(); };
  const controls = () => {
    const period = byId("period"), picker = byId("metric");
    period.append(new Option("every period", "every"));
    for (const role of new Set(data.periods.map((one) => one.role))) {
      if (role && role !== "whole" && data.periods.filter((one) => one.role === role).length > 1) period.append(new Option(`every ${role}`, `role:${role}`));
    }
    data.periods.forEach((one, i) => period.append(new Option(one.words ? `${one.name}: ${one.words}` : one.name, `one:${i}`)));
    if (data.periods.length < 2) period.closest("label").hidden = true;
    // Mixing train with test says nothing: where there are folds, train is looked at first.
    const train = Array.from(period.options).find((option) => option.value === "role:train") || Array.from(period.options).find((option) => option.text.includes("train"));
    if (train) { period.value = train.value; filter.period = train.value; }
    for (const one of metrics) picker.append(new Option(one.label, one.key));
    picker.value = metric.key;
    const example = varying.find((one) => one.numeric);
    byId("filter").placeholder = example ? `${example.name}>=${example.values[0]} status=done` : "status=done";
    period.onchange = () => { filter.period = period.value; apply(); };
    picker.onchange = () => {
      metric = ofMetric(picker.value);
      if (drawnParallel) { drawnParallel.rebuild(); drawnParallel.legend(); }
      apply();
    };
    let waiting = 0;
    byId("filter").oninput = () => { clearTimeout(waiting); waiting = setTimeout(readFilter, 120); };
    byId("clear").onclick = () => { filter.brushes.clear(); if (drawnParallel) drawnParallel.clear(); setFilter(""); };
  };

  const dark = () => root.dataset.theme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const repaint = () => { readColours(); for (const one of canvases) one.paint(); };
  const theme = () => {
    const wanted = /(?:^|[#&])theme=(dark|light)\b/.exec(location.hash);
    if (wanted) root.dataset.theme = wanted[1];
    const button = byId("theme");
    const tell = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Use ${dark() ? "light" : "dark"} colours`); };
    button.hidden = false;
    tell();
    button.onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; tell(); repaint(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { tell(); repaint(); });
    let before = "";
    addEventListener("beforeprint", () => { before = root.dataset.theme || ""; root.dataset.theme = "light"; repaint(); });
    addEventListener("afterprint", () => { if (before) root.dataset.theme = before; else delete root.dataset.theme; repaint(); });
  };

  // ---- all together --------------------------------------------------------------------------------

  theme();
  readColours();
  if (data.equity && byId("stitched-plot")) stitched();
  if (data.pairs) scatter();
  if (byId("explore")) {
    if (metrics.length) controls();
    if (metrics.length && varying.length) {
      drawnParallel = parallel();
      drawnParallel.legend();
      heat();
    } else {
      byId("parallel-figure").hidden = byId("heat-figure").hidden = true;
    }
  }
  list();
  apply();
  new ResizeObserver(() => { for (const one of canvases) one.paint(); }).observe(byId("main"));

  const drawn = () => canvases.every(({ made }) => {
    if (!made.width || !made.height) return false;
    const { data: pixels } = made.getContext("2d").getImageData(0, 0, made.width, made.height);
    for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) return true;
    return false;
  });
  requestAnimationFrame(() => requestAnimationFrame(() => {
    root.dataset.overflow = String(root.scrollWidth - root.clientWidth);
    root.dataset.charts = String(canvases.length);
    root.dataset.ready = drawn() ? "yes" : "no";
  }));
})();
