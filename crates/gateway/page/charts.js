// Charts of what the gateway counts: the last minutes and the last day. Lines of one kind differ by dashes as well as by colour.

import uPlot from "./vendor/uPlot.js";
import { byId, element, isLate, number, percent, say, words } from "./dom.js";

const PENALTIES = ["linear", "quadratic", "square_root"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
/** Servers whose errors are drawn: the largest ones, where there are more. */
const MOST_SERVERS = 6;

/** Seconds that one point of a line stands for, by the resolution of what it is made of: few requests make no line. */
const GROUP = { 5: 30, 300: 900 };

/** Seconds that a line shows. */
const PERIOD = { 5: 900, 300: 86_400 };

/** Buckets as one: sums of counts and sums, means of what is sampled. */
function merged(buckets) {
  const sum = (into, from) => {
    for (const [name, value] of Object.entries(from)) {
      if (typeof value === "number") into[name] = (into[name] ?? 0) + value;
      else if (typeof value === "object") into[name] = sum(into[name] ?? Object.create(null), value);
    }
    return into;
  };
  const all = buckets.reduce(sum, Object.create(null));
  for (const sampled of ["waiting", "backlog_seconds"]) {
    const sampling = buckets.filter(bucket => bucket[sampled] !== undefined).length;
    if (sampling) all[sampled] /= sampling;
  }
  return all;
}

const ratio = (sum, count) => (count > 0 ? sum / count : null);
const byPenalty = (field, scale = 1) => buckets => PENALTIES.map(penalty => ({
  label: words[penalty],
  values: buckets.map(({ penalties }) => {
    const value = ratio(penalties?.[penalty]?.[field], penalties?.[penalty]?.completed);
    return value === null ? null : scale * value;
  }),
}));

/** The mean error of each server, or of those that are furthest off on average where there are too many. */
function errors(buckets) {
  const sums = new Map();
  for (const { servers } of buckets) {
    for (const [name, { runs, absolute_error: error }] of Object.entries(servers ?? {})) {
      const sum = sums.get(name) ?? { runs: 0, error: 0 };
      sums.set(name, { runs: sum.runs + runs, error: sum.error + error });
    }
  }
  const names = [...sums].sort(([, a], [, b]) => b.error / b.runs - a.error / a.runs).slice(0, MOST_SERVERS).map(([name]) => name).sort();
  return names.map(label => ({
    label,
    values: buckets.map(({ servers }) => { const of = servers?.[label]; return of?.runs ? (100 * of.error) / of.runs : null; }),
  }));
}

const CHARTS = [
  { id: "on-time", title: "On time", unit: "%", lines: byPenalty("on_time", 100), range: [0, 100], shown: value => `${number(value, 0)} %` },
  { id: "quality", title: "Mean quality", unit: "", lines: byPenalty("quality"), shown: value => number(value) },
  { id: "tardiness", title: "Mean tardiness", unit: "s", lines: byPenalty("tardiness_seconds"), floor: 0, shown: value => `${number(value)} s` },
  { id: "steps", title: "Mean steps", unit: "", lines: byPenalty("steps"), floor: 0, shown: value => number(value, 0) },
  {
    id: "backlog", title: "Backlog", unit: "", floor: 0, shown: value => number(value),
    lines: buckets => [
      { label: "seconds per server", values: buckets.map(bucket => bucket.backlog_seconds ?? null) },
      { label: "waiting requests", values: buckets.map(bucket => bucket.waiting ?? null) },
    ],
  },
  { id: "errors", title: "Prediction error of runs", unit: "%", lines: errors, shown: value => `${value > 0 ? "+" : ""}${number(value)} %`, none: "No run has ended yet." },
  {
    // The shadow policy decides in a world of its own, in which every run takes what it is predicted to.
    id: "shadow", title: "Mean reward, and the shadow’s", unit: "", shown: value => number(value), none: "There is no shadow policy, or nothing has ended yet.",
    lines: (buckets, names) => {
      if (!buckets.some(bucket => bucket.shadow)) return [];
      const earned = ({ penalties }) => Object.values(penalties ?? {}).reduce((sum, { reward }) => sum + reward, 0);
      return [
        { label: names.acting, values: buckets.map(bucket => ratio(earned(bucket), bucket.completed)) },
        { label: `${names.shadow} (shadow)`, values: buckets.map(({ shadow }) => ratio(shadow?.reward, shadow?.completed)) },
      ];
    },
  },
];

export class Charts {
  names = { acting: "acting", shadow: "shadow" };
  #root;
  #buckets = new Map([[5, new Map()], [300, new Map()]]);
  #resolution = 5;
  /** When the latest point is. */
  #latest = 0;
  #plots = new Map();
  #scatter = null;
  #ended = () => [];
  #due = false;
  #seen = true;

  /** `ended` says which requests ended, for the picture of quality against tardiness. */
  constructor(root, ended) {
    this.#root = root;
    this.#ended = ended;
    for (const chart of [...CHARTS, { id: "against", title: "Quality against tardiness" }]) {
      const title = chart.unit ? `${chart.title}, ${chart.unit}` : chart.title;
      const figure = element("figure", { id: `chart-${chart.id}` }, element("figcaption", {}, element("h3", {}, title), element("p", { class: "quiet" })), element("div", { class: "plot" }));
      root.append(figure);
    }
    for (const input of document.querySelectorAll("input[name=range]")) {
      input.onchange = () => { this.#resolution = Number(input.value); this.draw(); };
    }
    new ResizeObserver(() => this.#later()).observe(root);
    new IntersectionObserver(([entry]) => { this.#seen = entry.isIntersecting; if (this.#seen) this.#later(); }).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.#clear(); this.#later(); });
  }

  /** Forgets what is told anew by another connection. */
  reconnected() {
    for (const buckets of this.#buckets.values()) buckets.clear();
  }

  /** Nothing is shown any more. */
  forget() {
    this.reconnected();
    this.#clear();
    for (const caption of this.#root.querySelectorAll("figcaption p")) say(caption, "");
  }

  take({ resolution_seconds: resolution, buckets }) {
    const known = this.#buckets.get(resolution);
    for (const bucket of buckets) known.set(Date.parse(bucket.at) / 1000, bucket);
    const oldest = Math.max(...known.keys()) - PERIOD[resolution];
    for (const at of known.keys()) if (at < oldest) known.delete(at);
    this.#later();
  }

  #later() {
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => { this.#due = false; if (this.#seen) this.draw(); }, 250);
  }

  #clear() {
    for (const { plot } of this.#plots.values()) plot.destroy();
    this.#plots.clear();
    this.#scatter?.destroy();
    this.#scatter = null;
  }

  draw() {
    const groups = Map.groupBy([...this.#buckets.get(this.#resolution)], ([at]) => Math.floor(at / GROUP[this.#resolution]) * GROUP[this.#resolution]);
    const times = [...groups.keys()].sort((a, b) => a - b), buckets = times.map(at => merged(groups.get(at).map(([, bucket]) => bucket)));
    this.#latest = times.at(-1) ?? Date.now() / 1000;
    for (const chart of CHARTS) this.#line(chart, times, chart.lines(buckets, this.names));
    this.#against();
  }

  #line(chart, times, lines) {
    const figure = byId(`chart-${chart.id}`), place = figure.querySelector(".plot"), caption = figure.querySelector("p");
    const filled = lines.filter(line => line.values.some(value => value !== null));
    const latest = filled.map(line => `${line.label} ${chart.shown(line.values.findLast(value => value !== null))}`);
    say(caption, latest.length ? latest.join(", ") : chart.none ?? "Nothing has ended yet.");
    // Gaps between requests are no gaps in what is known.
    const data = [times, ...lines.map(line => line.values)];
    const shape = lines.map(line => line.label).join("\n"), width = place.clientWidth;
    const before = this.#plots.get(chart.id);
    if (before?.shape === shape && before.width === width) return before.plot.setData(data);
    before?.plot.destroy();
    this.#plots.delete(chart.id);
    if (!width || !lines.length) return;
    const colours = style();
    const plot = new uPlot({
      width, height: 160, legend: { show: lines.length > 1, live: false }, cursor: { y: false, points: { size: 6 } },
      scales: { x: { time: true, range: () => [this.#latest - PERIOD[this.#resolution], this.#latest] }, y: { range: range(chart) } },
      axes: [{ ...axis(colours), size: 26, space: 60, values: (_, marks) => marks.map(hour) }, { ...axis(colours), size: 44 }],
      series: [{}, ...lines.map((line, index) => ({
        label: line.label, stroke: colours.lines[index % colours.lines.length], width: 2, spanGaps: true, dash: DASHES[index % DASHES.length], points: { size: 4 },
      }))],
    }, data, place);
    this.#plots.set(chart.id, { plot, shape, width });
  }

  /** One mark for each request that ended: the penalty gives its shape. */
  #against() {
    const figure = byId("chart-against"), place = figure.querySelector(".plot");
    const ended = this.#ended();
    const groups = PENALTIES.map(penalty => ended.filter(bar => bar.penalty === penalty));
    const on = ended.filter(bar => !isLate(bar.tardiness)).length;
    say(figure.querySelector("p"), ended.length ? `The latest ${ended.length} requests, ${percent(on / ended.length)} of them on time.` : "Nothing has ended yet.");
    const data = [null, ...groups.map(group => [group.map(bar => bar.tardiness), group.map(bar => bar.quality)])];
    if (this.#scatter && this.#scatter.width === place.clientWidth) return this.#scatter.setData(data);
    this.#scatter?.destroy();
    this.#scatter = null;
    if (!place.clientWidth) return;
    const colours = style();
    this.#scatter = new uPlot({
      mode: 2, width: place.clientWidth, height: 200, legend: { live: false }, cursor: { show: false },
      scales: {
        x: { time: false, range: () => extent(this.#scatter ?? { data }, 0, 1) },
        y: { range: () => extent(this.#scatter ?? { data }, 1, 10) },
      },
      axes: [{ ...axis(colours), space: 50, size: 26, label: "tardiness, s", labelSize: 16, labelFont: colours.font }, { ...axis(colours), size: 44 }],
      series: [null, ...PENALTIES.map((penalty, index) => ({
        label: words[penalty], stroke: colours.lines[index], fill: colours.lines[index], facets: [{ scale: "x", auto: true }, { scale: "y", auto: true }], paths: marks(index),
      }))],
    }, data, place);
  }
}

/** From the least to the largest value of a side of all groups, at least so far apart. */
function extent({ data }, side, least) {
  let [low, high] = [Infinity, -Infinity];
  for (const group of data) for (const value of group?.[side] ?? []) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) [low, high] = [0, least];
  if (side === 0) return [-0.03 * Math.max(high, least), Math.max(1.05 * high, least)];
  const middle = (low + high) / 2, half = Math.max((high - low) * 0.55, least / 2);
  return [middle - half, middle + half];
}

const range = chart => (_, low, high) => {
  if (chart.range) return chart.range;
  if (low === null) return [0, 1];
  const room = Math.max((high - low) * 0.1, Math.abs(high) * 0.02, 0.05);
  return [chart.floor ?? low - room, high + room];
};

/** Circles, squares or triangles. */
const marks = kind => (plot, series) => {
  const pen = plot.ctx, [xs, ys] = plot.data[series], size = 3 * devicePixelRatio;
  pen.save();
  pen.beginPath();
  pen.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  pen.clip();
  pen.globalAlpha = 0.6;
  pen.fillStyle = plot.series[series].stroke();
  for (let index = 0; index < xs.length; index++) {
    const x = plot.valToPos(xs[index], "x", true), y = plot.valToPos(ys[index], "y", true);
    pen.beginPath();
    if (kind === 0) pen.arc(x, y, size, 0, 7);
    else if (kind === 1) pen.rect(x - size, y - size, 2 * size, 2 * size);
    else { pen.moveTo(x - size, y + size); pen.lineTo(x + size, y + size); pen.lineTo(x, y - size); }
    pen.fill();
  }
  pen.restore();
  return null;
};

function style() {
  const root = getComputedStyle(document.documentElement), of = name => root.getPropertyValue(name).trim();
  return { ink: of("--quiet"), grid: of("--line"), font: of("--small"), lines: [1, 2, 3, 4, 5, 6].map(index => of(`--line-${index}`)) };
}

const hour = seconds => new Date(1000 * seconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const axis = ({ ink, grid, font }) => ({ stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, space: 34 });
export { axis, style };
