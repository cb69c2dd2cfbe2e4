// A schedule that was simulated, as if it happened now: one, or two of the same requests side by side.

import uPlot from "./vendor/uPlot.js";
import { axis, style } from "./charts.js";
import { beside, byId, duration, element, isLate, lateness, number, percent, plural, say } from "./dom.js";
import { Lanes } from "./lanes.js";

/** The time of the schedule: milliseconds since its first arrival's zero, played or paused. */
class Clock {
  speed = 20;
  playing = false;
  #at = 0;
  #since = performance.now();

  constructor(end) { this.end = end; }

  now() {
    const at = this.playing ? this.#at + (performance.now() - this.#since) * this.speed : this.#at;
    return Math.min(at, this.end);
  }

  set(at) { [this.#at, this.#since] = [at, performance.now()]; }

  change(what) {
    this.set(this.now());
    Object.assign(this, what);
  }
}

/** One schedule: what its lanes show, and what it has come to at any time. */
class Schedule {
  version = 0;
  servers;
  bars;
  #lanes = new Map();
  #sums;

  constructor({ name, servers, requests }, clock) {
    this.name = name;
    this.clock = clock;
    this.servers = servers.map(name => ({ name }));
    this.bars = requests.arrival.map((arrival, index) => {
      const of = column => requests[column]?.[index];
      const outcome = of("outcome") ?? "completed";
      return {
        id: index, server: servers[of("server")], steps: of("steps"), model: of("model"), load: of("load") ?? 0, outcome,
        accepted: 1000 * arrival, due: 1000 * of("due"), from: 1000 * of("start"), to: 1000 * of("finish"),
        tardiness: of("tardiness"), cost: of("penalty"), quality: of("quality"), reward: of("reward"),
      };
    });
    for (const name of servers) this.#lanes.set(name, []);
    for (const bar of this.bars) this.#lanes.get(bar.server).push(bar);
    for (const lane of this.#lanes.values()) lane.sort((a, b) => a.from - b.from);
    this.#sums = running(this.bars);
  }

  now() { return this.clock.now(); }
  mark(time) { return time < 0 ? "" : stamp(time); }
  barsOf(name) { return this.#lanes.get(name); }

  /** What a bar is at a time; nothing before its arrival. */
  phase(bar, now) {
    if (now < bar.accepted) return null;
    if (now < bar.from) return "waiting";
    return now < bar.to ? "running" : bar.outcome;
  }

  /** Sums over what has ended by a time. */
  by(time) {
    const { at } = this.#sums;
    let [low, high] = [0, at.length];
    while (low < high) { const middle = (low + high) >> 1; if (at[middle] <= time) low = middle + 1; else high = middle; }
    return Object.fromEntries(Object.entries(this.#sums).map(([name, sums]) => [name, low ? sums[low - 1] : 0]));
  }

  get sums() { return this.#sums; }
}

/** Sums in the order in which requests end. */
function running(bars) {
  const sums = { at: [], done: [], reward: [], quality: [], tardiness: [], late: [] };
  let [reward, quality, tardiness, late] = [0, 0, 0, 0];
  for (const bar of [...bars].sort((a, b) => a.to - b.to)) {
    reward += bar.reward;
    quality += bar.quality;
    tardiness += bar.tardiness;
    if (bar.tardiness > 0) late++;
    sums.at.push(bar.to); sums.done.push(sums.done.length + 1);
    sums.reward.push(reward); sums.quality.push(quality); sums.tardiness.push(tardiness); sums.late.push(late);
  }
  return sums;
}

const two = value => String(value).padStart(2, "0");
function stamp(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  const minutes = `${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return seconds < 3600 ? minutes : `${Math.floor(seconds / 3600)}:${minutes}`;
}

const SCORE = [
  ["reward", "reward", sums => number(sums.reward, 0)], ["each", "per request", sums => number(sums.reward / sums.done, 2)],
  ["quality", "mean quality", sums => number(sums.quality / sums.done)], ["late", "late", sums => `${sums.late} (${percent(sums.done ? sums.late / sums.done : 0)})`],
  ["tardiness", "total lateness", sums => duration(sums.tardiness)], ["done", "done", sums => sums.done],
];

/** One schedule's part of the page. */
class Side {
  constructor(schedule, on, index) {
    this.schedule = schedule;
    const title = element("h2", { id: `side-${index}` }, schedule.name);
    this.values = SCORE.map(() => element("dd"));
    const score = element("dl", { class: "score" }, ...SCORE.map(([kind, name], at) => element("div", { class: kind }, element("dt", {}, name), this.values[at])));
    const lanes = element("div", { id: `lanes-${index}`, class: "lanes", role: "group", "aria-labelledby": title.id });
    this.node = element("section", { class: "side", "aria-labelledby": title.id }, title, score, lanes);
    byId("sides").append(this.node);
    this.lanes = new Lanes(lanes, schedule, {
      pick: (bar, place) => on.pick(bar, place), open: () => {},
      server: (item, server) => { if (!item.firstChild) item.append(element("span", { class: "words" }, element("span", { class: "name", title: server.name }, server.name))); },
    });
    this.lanes.setServers();
  }

  score(now) {
    const sums = this.schedule.by(now);
    SCORE.forEach(([, , shown], index) => say(this.values[index], String(shown(sums))));
    return sums;
  }
}

/** What happened to a request, in each of the schedules. */
function told(sides, bar) {
  const one = ({ schedule }) => {
    const { server, steps, from, to, accepted, tardiness, quality, reward, model, load } = schedule.bars[bar.id];
    const said = [`${plural(steps, "step")} on ${server}`, `waited ${duration((from - accepted) / 1000)}, ran ${duration((to - from) / 1000)}`,
      ...(model ? [load > 0 ? `${model}, loaded in ${duration(load)}` : model] : []), `quality ${number(quality)}`, lateness(tardiness), `reward ${number(reward)}`];
    return element("div", { class: isLate(tardiness) ? "late" : undefined }, element("h3", {}, schedule.name), element("p", {}, said.join(" · ")));
  };
  return [element("p", { class: "quiet" }, `Request ${bar.id}, came at ${stamp(bar.accepted)}, due at ${stamp(bar.due)}`), ...sides.map(one)];
}

/** The rewards of all schedules over time, with the part that lies ahead left out. */
class Sums {
  #plot;
  #sides;
  #at;
  #points;

  constructor(sides, end) {
    this.#sides = sides;
    const many = Math.min(600, Math.max(2, sides[0].schedule.bars.length));
    this.#at = Array.from({ length: many }, (_, index) => (end * index) / (many - 1));
    this.#points = sides.map(({ schedule }) => this.#at.map(time => schedule.by(time).reward));
    const place = byId("sum"), make = () => {
      this.#plot?.destroy();
      const colours = style();
      this.#plot = new uPlot({
        width: place.clientWidth, height: 220, legend: { live: false }, cursor: { y: false },
        scales: { x: { time: false, range: [0, end / 1000] }, y: { range: [Math.min(0, ...this.#points.flat()), Math.max(1, ...this.#points.flat()) * 1.02] } },
        axes: [{ ...axis(colours), space: 60, size: 26, values: (_, marks) => marks.map(mark => stamp(1000 * mark)) }, { ...axis(colours), size: 70 }],
        series: [{}, ...sides.map(({ schedule }, index) => ({ label: schedule.name, stroke: colours.lines[index], width: 2, dash: index ? [6, 3] : [] }))],
      }, this.#data(0), place);
    };
    new ResizeObserver(make).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", make);
  }

  #data(now) {
    return [this.#at.map(time => time / 1000), ...this.#points.map(points => points.map((value, index) => (this.#at[index] <= now ? value : null)))];
  }

  draw(now) { this.#plot?.setData(this.#data(now)); }
}

async function begin() {
  const response = await fetch("schedule.json");
  if (!response.ok) throw new Error(`the schedule cannot be fetched: ${response.status} ${response.statusText}`);
  const { schedules } = await response.json();
  const clock = new Clock(0), made = schedules.map(schedule => new Schedule(schedule, clock));
  // A picture's length after the last end, so that it is seen.
  clock.end = Math.max(...made.map(({ sums }) => sums.at.at(-1))) + 3000;
  say(byId("what"), `${plural(made[0].bars.length, "request")} on ${plural(made[0].servers.length, "server")}: ${made.map(({ name }) => name).join(" and ")}`);
  document.title = `${made.map(({ name }) => name).join(" and ")} · atelier replay`;
  const card = byId("card");
  const sides = made.map((schedule, index) => new Side(schedule, {
    pick(bar, place) {
      card.hidden = !bar;
      for (const side of sides) side.lanes.picked = bar && side.schedule.bars[bar.id];
      if (!bar) return;
      card.replaceChildren(...told(sides, bar));
      beside(card, place);
    },
  }, index));
  const sums = new Sums(sides, clock.end);
  drive(clock, sides, sums);
}

/** Play, pause, speed and the place in time. */
function drive(clock, sides, sums) {
  const play = byId("play"), at = byId("at"), span = byId("span"), speed = byId("speed");
  at.max = clock.end / 1000;
  // What is written in words is brought up to date less often than lanes are drawn.
  let [shown, slow] = [-1, 0];
  const toggle = () => {
    if (!clock.playing && clock.now() >= clock.end) clock.set(0);
    clock.change({ playing: !clock.playing });
    say(play, clock.playing ? "Pause" : "Play");
    slow = 0;
  };
  play.onclick = toggle;
  play.disabled = false;
  addEventListener("keydown", event => {
    if (event.key !== " " || event.target.closest("button, input, select, textarea")) return;
    event.preventDefault();
    toggle();
  });
  at.oninput = () => clock.set(1000 * Number(at.value));
  // Browsers keep what was chosen before a reload.
  const hurry = () => clock.change({ speed: Number(speed.value) });
  speed.onchange = hurry;
  hurry();
  const zoom = () => sides.forEach(side => side.lanes.zoom(Number(span.value)));
  span.onchange = zoom;
  zoom();
  const frame = when => {
    const now = clock.now();
    for (const side of sides) side.lanes.frame();
    if (now !== shown && when - slow > 100) {
      [shown, slow] = [now, when];
      const scores = sides.map(side => side.score(now));
      say(byId("time"), `${stamp(now)} of ${stamp(clock.end)}`);
      if (document.activeElement !== at || clock.playing) at.value = now / 1000;
      at.setAttribute("aria-valuetext", stamp(now));
      compare(sides, scores);
      sums.draw(now);
    }
    if (clock.playing && now >= clock.end) { clock.change({ playing: false }); say(play, "Play again"); compare(sides, sides.map(side => side.score(now)), "over"); }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

/** Who is ahead. It is said aloud at the end only: it changes all the time. */
function compare(sides, scores, over) {
  const text = scores.map((sums, index) => `${sides[index].schedule.name} ${number(sums.reward, 0)}`).join(", ");
  say(byId("sum-said"), text);
  if (sides.length < 2) return;
  const [first, second] = scores.map(({ reward }) => reward), lead = first - second;
  sides.forEach((side, index) => side.node.classList.toggle("ahead", index === 0 ? lead > 0.5 : lead < -0.5));
  if (!over) return say(byId("headline"), "");
  const [best, other] = lead >= 0 ? [0, 1] : [1, 0], less = scores[other].reward;
  const more = less > 0 ? percent(Math.abs(lead) / less) : number(Math.abs(lead), 0);
  say(byId("headline"), Math.abs(lead) < 0.5 ? "Both earned the same." :
    `${sides[best].schedule.name} earned ${more} more than ${sides[other].schedule.name}, with ${plural(scores[best].late, "late picture")} against ${scores[other].late}.`);
}

begin().catch(error => say(byId("note"), error.message));
