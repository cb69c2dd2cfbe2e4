// The page: one stream tells what happens, and everything here shows some of it.

import { call, get, key } from "./api.js";
import { Ask } from "./ask.js";
import { Charts } from "./charts.js";
import { Decisions } from "./decision.js";
import { Demo } from "./demo.js";
import { byId, duration, element, isLate, lateness, number, percent, plural, say } from "./dom.js";
import { Gallery } from "./gallery.js";
import { Lanes } from "./lanes.js";
import { Operate, serverCell } from "./operate.js";
import { Stream } from "./stream.js";
import { isLive, Workshop } from "./workshop.js";

const workshop = new Workshop();
const decisions = new Decisions(byId("card"), byId("why"));
const charts = new Charts(byId("charts"), () => [...workshop.requests.values()].filter(bar => bar.state === "completed").slice(-1000));
const operate = new Operate();
const demo = new Demo(submit);
const ask = new Ask(submit);
ask.now = () => workshop.now();
const gallery = new Gallery({
  again: async request => submit(repeated(request)),
  why: async id => {
    const bar = workshop.requests.get(id);
    if (bar) return decisions.open(bar);
    throw new Error("It ended too long ago: its decision is no longer known.");
  },
});
const lanes = new Lanes(byId("lanes"), workshop, {
  pick: (bar, place) => decisions.point(bar, place),
  open: bar => decisions.open(bar),
  server: (item, server) => serverCell(item, server, workshop.site?.operator === true),
});

/** Sends a request and shows it among the pictures. */
async function submit(body) {
  const { changes } = key;
  const request = await call("POST", "v1/requests", { body }).then(answer => answer.json());
  if (changes !== key.changes) return;
  gallery.add(request);
  // The stream may have been faster.
  const bar = workshop.requests.get(request.id);
  if (bar) gallery.told(bar);
}

/** Another key sees nothing of what the one before it saw. */
function forget() {
  lanes.pick(null, "left");
  [workshop, gallery, decisions, charts, operate].forEach(part => part.forget());
  byId("demo").hidden = true;
  say(byId("policy"), "");
  lanes.setServers();
}

/** The body that asks for the same picture, with as much time as the first one had. */
function repeated({ prompt, negative_prompt, width, height, seed, model, penalty, due, accepted_at }) {
  if (!Number.isSafeInteger(seed)) throw new Error("Its seed has more digits than a browser can repeat.");
  const due_in_seconds = (Date.parse(due) - Date.parse(accepted_at)) / 1000;
  return { prompt, negative_prompt, width, height, seed, model, penalty, due_in_seconds };
}

const heard = {
  site(site) {
    const first = workshop.site === null;
    workshop.setSite(site);
    say(byId("policy"), `Decided by ${site.policy}${site.shadow_policy ? `, with ${site.shadow_policy} as its shadow` : ""}.`);
    say(byId("version"), `atelier ${site.version}`);
    byId("key-form").hidden = !site.keys;
    byId("others-legend").parentElement.hidden = site.operator;
    charts.names = { acting: site.policy, shadow: site.shadow_policy ?? "none" };
    ask.configure(site);
    operate.configure(site);
    demo.configure(site);
    lanes.setServers();
    if (first) gallery.refresh().catch(error => say(byId("note"), error.message));
  },
  servers({ servers }) {
    workshop.setServers(servers);
    lanes.setServers();
  },
  requests({ requests }) {
    for (const bar of workshop.setRequests(requests)) if (bar.own) gallery.told(bar);
  },
  statistics: buckets => charts.take(buckets),
  keys: keys => operate.setKeys(keys),
};

const stream = new Stream("v1/workshop", {
  event: (name, value) => heard[name]?.(value),
  state(state, problem) {
    const node = byId("connection");
    node.className = state;
    if (state === "live") {
      workshop.reconnected();
      charts.reconnected();
      say(node, "live");
      say(byId("note"), "");
      return;
    }
    if (state === "connecting" && node.textContent) return;
    say(node, state === "lost" ? "connecting again …" : "connecting …");
    if (problem?.status === 401) {
      forget();
      byId("key-form").hidden = false;
      say(node, "locked");
      say(byId("note"), key.get() ? "The gateway does not know this API key." : "The gateway requires an API key.");
    } else if (problem?.status) say(byId("note"), problem.message);
  },
});

byId("key").value = key.get();
byId("key-form").addEventListener("submit", event => {
  event.preventDefault();
  const text = byId("key").value.trim();
  if (text !== key.get()) forget();
  key.set(text);
  stream.restart();
});
const zoom = () => lanes.zoom(Number(byId("span").value));
byId("span").addEventListener("change", zoom);
// Browsers keep what was chosen before a reload.
zoom();

/** The last five minutes at a glance. */
function tiles() {
  const now = workshop.now();
  let [done, onTime, quality, late, waiting, running] = [0, 0, 0, 0, 0, 0];
  for (const bar of workshop.requests.values()) {
    if (bar.state === "waiting") waiting++;
    else if (bar.state === "running") running++;
    else if (bar.state === "completed" && bar.finish > now - 300_000) {
      done++;
      quality += bar.quality;
      if (!isLate(bar.tardiness)) onTime++;
    }
    if (isLive(bar) && now > bar.due) late++;
  }
  const shown = [["on time", percent(onTime / done)], ["mean quality", number(quality / done)], ["done", done], ["running", running], ["waiting", waiting], ["past due now", late]];
  const tiles = byId("tiles");
  if (!tiles.childElementCount) tiles.append(...shown.map(([name]) => element("div", {}, element("dt", {}, name), element("dd"))));
  shown.forEach(([, value], index) => say(tiles.children[index].lastChild, String(value)));
  tiles.lastChild.classList.toggle("late", late > 0);
}

const LISTED = 25;

/** What is under way as a table, which can be read aloud. Each request keeps its row, and with it the focus. */
function list() {
  const now = workshop.now(), body = byId("list").tBodies[0];
  for (const server of workshop.servers) workshop.barsOf(server.name, now);
  const live = [...workshop.requests.values()].filter(isLive).sort((a, b) => a.due - b.due);
  const shown = live.slice(0, LISTED);
  const rows = new Map([...body.rows].map(row => [row.dataset.id, row])), focused = document.activeElement;
  shown.forEach((bar, index) => {
    const row = rows.get(bar.id) ?? element("tr", { "data-id": bar.id });
    rows.delete(bar.id);
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
    if (!row.cells.length) {
      row.append(element("th", { scope: "row" }), ...Array.from({ length: 5 }, (_, column) => element("td", { class: column > 0 && column < 4 ? "n" : undefined })),
        element("td", {}, element("button", {}, "Why?")));
    }
    const button = row.lastChild.firstChild;
    button.setAttribute("aria-label", bar.server === undefined ? "Why is it on no server?" : `Why ${plural(bar.steps, "step")} on ${bar.server}?`);
    button.onclick = () => decisions.open(bar);
    const late = Math.max((bar.to - bar.due) / 1000, 0), known = Number.isFinite(bar.to);
    const texts = [bar.server ?? "none yet", bar.state === "running" && bar.progress !== undefined ? `running, ${Math.round(100 * bar.progress)} %` : bar.state,
      bar.steps ?? "", duration((bar.due - now) / 1000), known ? duration((bar.to - now) / 1000) : "", known ? lateness(late) : ""];
    texts.forEach((text, column) => say(row.cells[column], String(text)));
    row.cells[5].className = known && isLate(late) ? "late" : "";
  });
  for (const row of rows.values()) row.remove();
  if (focused?.isConnected && focused !== document.activeElement) focused.focus();
  byId("list").hidden = shown.length === 0;
  say(byId("list-said"), shown.length === 0 ? "Nothing waits or runs." : live.length > LISTED ? `And ${live.length - LISTED} that are due later.` : "");
}

/** Lanes move with every frame; what is written in words need not. */
let told = 0;
function frame(at) {
  lanes.frame();
  if (at - told > 500) {
    told = at;
    tiles();
    list();
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
