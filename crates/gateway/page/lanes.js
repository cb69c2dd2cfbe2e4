// One lane per server, with its requests as bars on a time axis that moves. The bars are drawn, as there are thousands;
// the servers' names, what is told of a bar and the keyboard's way through them are elements.

import { clock, duration, element, lateness, plural, say, words } from "./dom.js";
import { endsLate, Palette, paintBar, paintDue } from "./paint.js";

const AXIS = 22;
/** Where the present stands, as a share of the width. */
const PRESENT = 0.66;
/** Distances of the axis' marks, in seconds. */
const MARKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400];

export class Lanes {
  /** Milliseconds that fit. */
  span = 60_000;
  /** The bar that is pointed at or was walked to. */
  picked = null;
  #root; #names; #canvas; #pen; #spoken; #colours; #source; #on;
  #rows = [];
  #row = 40;
  #drawn = {};
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  /**
   * `source` has `servers`, `barsOf(name, now)`, `phase(bar, now)`, `now()` and `version`; `on.pick(bar, place)` hears what is
   * pointed at or walked to, `on.open(bar)` what is chosen; `on.server(item, server)` fills a server's cell.
   */
  constructor(root, source, on) {
    this.#root = root;
    this.#source = source;
    this.#on = on;
    this.#names = element("ul", { class: "names", "aria-label": "Servers" });
    const help = element("p", { class: "unseen", id: `${root.id}-help` },
      "Arrow keys walk through the requests and servers, Enter shows why a request was decided so, Escape leaves it, plus and minus change the span of time.");
    // What keys do here is its own, as the help says.
    this.#canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": "Requests on a time axis", "aria-describedby": help.id });
    this.#spoken = element("p", { class: "unseen", role: "status" });
    root.append(element("div", { class: "lanes-inner" }, this.#names, this.#canvas), this.#spoken, help);
    this.#pen = this.#canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(root);
    root.addEventListener("scroll", () => { this.#drawn = {}; }, { passive: true });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.#colours = null; this.#drawn = {}; });
    this.#listen();
    this.#resize();
  }

  /** The servers' names, in order. Cells are kept as long as their servers are there. */
  setServers() {
    const servers = this.#source.servers;
    this.#row = servers.length > 24 ? 20 : servers.length > 8 ? 30 : 42;
    this.#root.classList.toggle("dense", servers.length > 24);
    if (this.#rows.map(row => row.name).join("\n") !== servers.map(server => server.name).join("\n")) {
      this.#rows = servers.map(server => ({ name: server.name, item: element("li") }));
      this.#names.replaceChildren(...this.#rows.map(row => row.item));
      for (const { item } of this.#rows) item.style.height = `${this.#row}px`;
      this.#resize();
    }
    servers.forEach((server, index) => this.#on.server(this.#rows[index].item, server));
    this.#drawn = {};
  }

  zoom(milliseconds) {
    this.span = milliseconds;
    this.#drawn = {};
  }

  /** Draws, if anything would look different. */
  frame() {
    const now = this.#source.now();
    const pixel = this.span / this.#canvas.clientWidth, step = this.#calm.matches ? 1000 : pixel / 2;
    const drawn = this.#drawn;
    if (drawn.version === this.#source.version && drawn.picked === this.picked && Math.abs(now - drawn.now) < step) return;
    this.#draw(now);
    this.#drawn = { version: this.#source.version, picked: this.picked, now };
  }

  #resize() {
    const scale = devicePixelRatio || 1;
    const width = Math.max(this.#root.clientWidth - this.#names.offsetWidth, 50);
    const height = Math.min(AXIS + this.#rows.length * this.#row, this.#root.clientHeight || 10_000);
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${height}px`;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#pen.setTransform(scale, 0, 0, scale, 0, 0);
    this.#colours = null;
    this.#drawn = {};
  }

  #geometry(now) {
    const width = this.#canvas.clientWidth, from = now - PRESENT * this.span;
    const x = time => ((time - from) / this.span) * width;
    return { width, height: this.#canvas.clientHeight, from, to: from + this.span, x, scroll: this.#root.scrollTop };
  }

  #draw(now) {
    const pen = this.#pen, colours = (this.#colours ??= new Palette(pen));
    const { width, height, from, to, x, scroll } = this.#geometry(now);
    pen.clearRect(0, 0, width, height);
    pen.font = colours.font;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const first = Math.max(Math.floor(scroll / this.#row), 0);
    const last = Math.min(Math.ceil((scroll + height - AXIS) / this.#row), this.#rows.length);
    for (let index = first; index < last; index++) {
      const top = AXIS + index * this.#row - scroll;
      if (index % 2) { pen.fillStyle = colours.stripe; pen.fillRect(0, top, width, this.#row); }
    }
    const marks = this.#marks(width, from, to);
    this.#grid(marks, x, height);
    for (let index = first; index < last; index++) {
      this.#lane(this.#source.servers[index], now, { top: AXIS + index * this.#row - scroll, from, to, x });
    }
    this.#axis(marks, now, { width, height, x });
  }

  #lane(server, now, { top, from, to, x }) {
    const pen = this.#pen, colours = this.#colours, above = this.#row >= 30 ? Math.round(this.#row / 4) : 0;
    const [barTop, barHeight] = [top + above + 2, this.#row - above - 5];
    const busy = this.#source.busyUntil?.(server, now) ?? now;
    if (busy > now) { pen.fillStyle = colours.others; pen.fillRect(x(now), barTop, x(busy) - x(now), barHeight); }
    const bars = this.#source.barsOf(server.name, now);
    for (let index = bars.length - 1; index >= 0; index--) {
      const bar = bars[index];
      if (bar.to < from) { if (bar.to < from - this.span) break; continue; }
      if (bar.from > to) continue;
      const phase = this.#source.phase(bar, now);
      if (!phase) continue;
      paintBar(pen, colours, bar, phase, x, now, barTop, barHeight);
      const wide = x(bar.to) - x(bar.from) > 8;
      if (above && wide && (phase !== "completed" || endsLate(bar))) paintDue(pen, colours, bar, x, top + 1, above);
      if (bar === this.picked) this.#outline(bar, x, top, barTop, barHeight);
    }
    if (server.preloading) {
      pen.fillStyle = colours.dots;
      pen.fillRect(x(now), barTop, 24, barHeight);
    }
  }

  #outline(bar, x, top, barTop, barHeight) {
    const pen = this.#pen, due = x(bar.due);
    pen.strokeStyle = this.#colours.focus;
    pen.lineWidth = 2;
    pen.strokeRect(x(bar.from) - 2, barTop - 2, x(bar.to) - x(bar.from) + 4, barHeight + 4);
    pen.beginPath();
    pen.setLineDash([4, 3]);
    pen.moveTo(due, top); pen.lineTo(due, top + this.#row);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** The times that are marked. */
  #marks(width, from, to) {
    const distance = 1000 * (MARKS.find(seconds => (1000 * seconds * width) / this.span > 70) ?? 86_400), marks = [];
    for (let time = Math.ceil(from / distance) * distance; time < to; time += distance) marks.push(time);
    return marks;
  }

  #grid(marks, x, height) {
    const pen = this.#pen;
    pen.strokeStyle = this.#colours.line;
    pen.lineWidth = 1;
    pen.beginPath();
    for (const time of marks) {
      const place = Math.round(x(time)) + 0.5;
      pen.moveTo(place, AXIS - 5);
      pen.lineTo(place, height);
    }
    pen.stroke();
  }

  #axis(marks, now, { width, height, x }) {
    const pen = this.#pen, colours = this.#colours;
    // Over what is scrolled under it.
    pen.fillStyle = colours.panel;
    pen.fillRect(0, 0, width, AXIS);
    pen.fillStyle = colours.quiet;
    for (const time of marks) {
      if (Math.abs(x(time) - x(now)) > 45) pen.fillText(this.#source.mark ? this.#source.mark(time) : clock(time), x(time), AXIS / 2);
    }
    const present = x(now);
    pen.strokeStyle = pen.fillStyle = colours.ink;
    pen.lineWidth = 1.5;
    pen.beginPath(); pen.moveTo(present, AXIS - 4); pen.lineTo(present, height); pen.stroke();
    pen.fillText(this.#source.mark ? this.#source.mark(now) : "now", present, AXIS / 2);
  }

  /** The bar at a place of the canvas. */
  #at(left, top) {
    const now = this.#source.now(), { x, scroll } = this.#geometry(now);
    const server = top > AXIS && this.#source.servers[Math.floor((top - AXIS + scroll) / this.#row)];
    if (!server) return null;
    const bars = this.#source.barsOf(server.name, now).filter(bar => this.#source.phase(bar, now));
    const near = bar => Math.max(x(bar.from) - left, left - x(bar.to), 0);
    const best = bars.reduce((best, bar) => (best && near(best) <= near(bar) ? best : bar), null);
    return best && near(best) < 6 ? best : null;
  }

  /** Where a bar stands, in the window. */
  place(bar) {
    const { x, scroll, width } = this.#geometry(this.#source.now()), box = this.#canvas.getBoundingClientRect();
    const index = this.#source.servers.findIndex(server => server.name === bar.server);
    const middle = Math.min(Math.max((x(bar.from) + x(bar.to)) / 2, 0), width);
    return { left: box.left + middle, top: box.top + AXIS + (index + 1) * this.#row - scroll, above: this.#row };
  }

  pick(bar, how) {
    this.picked = bar;
    this.#on.pick(bar, bar && this.place(bar));
    if (bar && how === "walked") say(this.#spoken, describe(bar, this.#source.phase(bar, this.#source.now()), this.#source.now()));
  }

  #listen() {
    const at = event => {
      const box = this.#canvas.getBoundingClientRect();
      return this.#at(event.clientX - box.left, event.clientY - box.top);
    };
    this.#canvas.addEventListener("pointermove", event => {
      const bar = at(event);
      this.#canvas.classList.toggle("over", bar !== null);
      if (bar !== this.picked && event.pointerType !== "touch") this.pick(bar, "pointed");
    });
    this.#canvas.addEventListener("pointerleave", event => { if (event.pointerType !== "touch") this.pick(null, "pointed"); });
    this.#canvas.addEventListener("click", event => {
      const bar = at(event);
      this.pick(bar, "pointed");
      if (bar) this.#on.open(bar);
    });
    this.#canvas.addEventListener("keydown", event => {
      const walk = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (walk) this.#walk(...walk);
      else if (event.key === "Enter" && this.picked) this.#on.open(this.picked);
      else if (event.key === "Escape" && this.picked) this.pick(null, "walked");
      else if (event.key === "+" || event.key === "=") this.zoom(Math.max(this.span / 2, 10_000));
      else if (event.key === "-") this.zoom(Math.min(this.span * 2, 3_600_000));
      else return;
      event.preventDefault();
    });
    this.#canvas.addEventListener("blur", () => this.pick(null, "left"));
  }

  /** From the picked bar to its neighbour on its server, or to the nearest in time on the next one that has any. */
  #walk(down, right) {
    const now = this.#source.now(), servers = this.#source.servers;
    const seen = name => this.#source.barsOf(name, now).filter(bar => this.#source.phase(bar, now)).sort((a, b) => a.from - b.from);
    const at = servers.findIndex(server => server.name === this.picked?.server);
    if (at < 0) {
      const latest = servers.map(server => seen(server.name).filter(bar => bar.from <= now).at(-1)).filter(Boolean);
      return this.#reach(latest[0] ?? null);
    }
    if (right) {
      const bars = seen(servers[at].name), index = bars.indexOf(this.picked);
      return this.#reach(bars[index + right] ?? this.picked);
    }
    for (let next = at + down; next >= 0 && next < servers.length; next += down) {
      const bars = seen(servers[next].name), middle = (this.picked.from + this.picked.to) / 2;
      const away = bar => Math.abs((bar.from + bar.to) / 2 - middle);
      if (bars.length) return this.#reach(bars.reduce((best, bar) => (away(bar) < away(best) ? bar : best)));
    }
  }

  #reach(bar) {
    if (!bar) return say(this.#spoken, "There are no requests to walk through yet.");
    const index = this.#source.servers.findIndex(server => server.name === bar.server);
    const top = index * this.#row, shown = this.#root.clientHeight - AXIS;
    if (top < this.#root.scrollTop || top + this.#row > this.#root.scrollTop + shown) this.#root.scrollTop = Math.max(top - shown / 2, 0);
    this.pick(bar, "walked");
  }
}

/** A bar in one sentence. */
export function describe(bar, phase, now) {
  const model = bar.model ? ` with ${bar.model}` : "", who = bar.owner && !bar.own ? `, of ${bar.owner}` : "";
  const what = `${bar.server}, ${plural(bar.steps, "step")}${model}${who}`;
  const penalty = words[bar.penalty] ? `, ${words[bar.penalty]} penalty` : "";
  const margin = (bar.due - bar.to) / 1000;
  const ahead = margin >= -0.05 ? `expected ${duration(Math.max(margin, 0))} before it is due` : `expected ${duration(-margin)} late`;
  switch (phase) {
    case "waiting": return `${what}: waits, starts in ${duration(Math.max(bar.from - now, 0) / 1000)}, ${ahead}${penalty}`;
    case "running": return `${what}: runs${bar.progress === undefined ? "" : `, ${Math.round(100 * bar.progress)} % done`}, ${ahead}${penalty}`;
    case "completed": return `${what}: done, ${lateness(bar.tardiness)}${penalty}`;
    default: return `${what}: ${phase}${bar.reason ? `, ${bar.reason}` : ""}${penalty}`;
  }
}
