// The key's pictures: those that are asked for here, as they come, and those from before.

import { call, get } from "./api.js";
import { byId, clock, closable, duration, element, isLate, lateness, number, plural, say, words } from "./dom.js";

const AT_ONCE = 12, MOST = 120;
/** Shortest time between two looks at a picture that is being painted. It doubles, up to thrice, while there is none. */
const BETWEEN = 700, DOUBLINGS = 3;
/** Pause before what could not be fetched is fetched again, and how often that is tried. */
const AGAIN = 3000, TIMES = 5;

export class Gallery {
  #list = byId("pictures");
  #cards = new Map();
  #before = null;
  /** When the latest of those shown was accepted. */
  #latest = Infinity;
  #on;
  #reading = 0;
  #seen = new IntersectionObserver(entries => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.#seen.unobserve(target);
      this.#cards.get(target.dataset.id)?.load();
    }
  }, { rootMargin: "200px" });

  /** `on.again(request)` paints it once more, `on.why(id)` tells why it was decided so. */
  constructor(on) {
    this.#on = on;
    const told = load => async () => {
      try { await load(); } catch (error) { say(byId("note"), error.message); }
    };
    byId("older").onclick = told(() => this.#more(this.#before));
    byId("newer").onclick = told(() => this.refresh());
    const large = byId("large");
    closable(large);
    large.addEventListener("close", () => large.querySelector("img").removeAttribute("src"));
  }

  /** Nothing is shown any more. */
  forget() {
    this.#reading++;
    this.#latest = Infinity;
    for (const id of [...this.#cards.keys()]) this.#drop(id);
    byId("large").close();
    say(byId("large-title"), "");
    byId("older").hidden = byId("newer").hidden = true;
    this.#count();
  }

  /** Begins anew with the latest, once they have come. */
  async refresh() {
    await this.#more(null, () => this.forget());
  }

  /** One that was just asked for. */
  add(request) {
    this.#show(request, "first");
    while (this.#cards.size > MOST) this.#drop([...this.#cards.keys()].find(id => this.#cards.get(id).ended) ?? [...this.#cards.keys()][0]);
  }

  /** Something is told of one's own request. */
  told(bar) {
    const card = this.#cards.get(bar.id);
    if (card) card.told(bar);
    else if (bar.state === "completed" && bar.accepted > this.#latest) byId("newer").hidden = false;
  }

  async #more(before, prepare = () => {}) {
    const reading = ++this.#reading;
    const page = await get(`v1/requests?limit=${AT_ONCE}${before === null ? "" : `&before=${before}`}`);
    if (reading !== this.#reading) return;
    prepare();
    if (before === null) this.#latest = 0;
    for (const request of page.requests) this.#show(request, "last");
    this.#before = page.next;
    byId("older").hidden = page.next === null;
    this.#count();
  }

  #show(request, where) {
    if (this.#cards.has(request.id)) return this.#cards.get(request.id).update(request);
    const card = new Card(request, this.#on, this.#seen);
    this.#cards.set(request.id, card);
    this.#latest = Math.max(this.#latest, Date.parse(request.accepted_at));
    if (where === "first") this.#list.prepend(card.item); else this.#list.append(card.item);
    this.#seen.observe(card.item);
    this.#count();
  }

  #drop(id) {
    this.#cards.get(id).remove();
    this.#cards.delete(id);
  }

  #count() { byId("no-pictures").hidden = this.#cards.size > 0; }
}

class Card {
  ended = false;
  #request;
  #url = null;
  #looked = 0;
  #without = 0;
  /** Whether the finished picture is there, or comes. */
  #loading = false;
  #gone = false;
  parts;

  constructor(request, on, observer) {
    const picture = element("img", { alt: "", hidden: true });
    const frame = element("button", { class: "frame", disabled: true, onclick: () => this.#enlarge() }, picture, element("span", { class: "state" }));
    const bar = element("progress", { max: 1, "aria-label": "Progress" });
    const button = (text, act) => element("button", { onclick: () => this.#act(act) }, text);
    const cancel = button("Cancel", async () => this.update(await call("DELETE", `v1/requests/${request.id}`).then(answer => answer.json())));
    const again = button("Same seed again", () => on.again(this.#request));
    const why = button("Why?", () => on.why(request.id));
    const save = element("a", { class: "button", hidden: true, download: `atelier-${request.id}.png` }, "Download");
    this.parts = { picture, frame, bar, cancel, save, prompt: element("p", { class: "prompt" }), facts: element("p", { class: "facts" }), problem: element("p", { class: "problem", role: "alert" }) };
    this.item = element("li", { "data-id": request.id, tabindex: "-1" }, frame, bar, this.parts.prompt, this.parts.facts, this.parts.problem,
      element("div", { class: "acts" }, cancel, save, again, why));
    this.observer = observer;
    this.update(request);
  }

  remove() {
    this.#gone = true;
    this.observer.unobserve(this.item);
    this.item.remove();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }

  /** The whole request, as the gateway tells it. */
  update(request) {
    // An answer that was overtaken by the end.
    if (this.ended && request.result === undefined) return;
    this.#request = request;
    const { decision, result, state } = request, { parts } = this;
    this.ended = result !== undefined;
    say(parts.prompt, request.prompt || "(no prompt)");
    parts.picture.alt = request.prompt || "picture without a prompt";
    this.#state(state, request.progress);
    const facts = [];
    const steps = result?.steps ?? decision?.steps, server = result?.server ?? decision?.server;
    if (steps) facts.push(`${plural(steps, "step")} on ${server}`);
    if (result) {
      if (state === "completed") facts.push(`quality ${number(result.quality)}`);
      facts.push(`${clock(Date.parse(result.ended_at))}, ${state === "completed" ? lateness(result.tardiness_seconds) : state}`);
      if (decision && state === "completed") {
        const off = (Date.parse(result.ended_at) - Date.parse(decision.predicted_finish)) / 1000;
        facts.push(Math.abs(off) < 0.05 ? "as predicted" : `${duration(Math.abs(off))} ${off > 0 ? "after" : "before"} the prediction`);
      }
    } else if (decision) {
      facts.push(`expected at ${clock(Date.parse(decision.predicted_finish))}, ${lateness(decision.predicted_tardiness_seconds)}`);
    }
    facts.push(`seed ${request.seed}`, `${words[request.penalty]} penalty`);
    say(parts.facts, facts.join(" · "));
    this.item.classList.toggle("tardy", isLate(result?.tardiness_seconds ?? decision?.predicted_tardiness_seconds ?? 0));
    say(parts.problem, state === "completed" ? "" : state === "expired" ? "It was not started in time." : request.reason ?? "");
    if (this.item.isConnected && result?.image) this.load();
  }

  /** What the stream tells in brief. */
  told(bar) {
    if (this.ended) return;
    this.#state(bar.state, bar.progress);
    if (bar.state === "running") this.#preview();
    const over = bar.state !== "waiting" && bar.state !== "running";
    if (over || bar.server !== this.#request.decision?.server || bar.steps !== this.#request.decision?.steps) {
      this.#whole(TIMES);
    }
  }

  /** Asks for the whole request, some times if need be. */
  async #whole(times) {
    try {
      this.update(await get(`v1/requests/${this.#request.id}`));
    } catch (error) {
      say(this.parts.problem, error.message);
      if (times > 1 && !this.#gone) setTimeout(() => this.#whole(times - 1), AGAIN);
    }
  }

  /** Fetches the finished picture, and again if need be. */
  async load(times = TIMES) {
    const image = this.#request.result?.image;
    if (!image || this.#loading || this.#gone) return;
    this.#loading = true;
    try {
      const picture = await (await call("GET", image)).blob();
      if (this.#gone) return;
      this.#show(picture);
      say(this.parts.problem, "");
      this.parts.frame.disabled = false;
      this.parts.save.href = this.#url;
      this.parts.save.hidden = false;
    } catch (error) {
      say(this.parts.problem, error.message);
      this.#loading = false;
      // A picture whose time is over does not come back.
      const passes = error.status !== 410 && error.status !== 404;
      if (passes && times > 1) setTimeout(() => this.load(times - 1), Math.max(AGAIN, 1000 * (error.after || 0)));
    }
  }

  #state(state, progress) {
    const { frame, picture, bar, cancel } = this.parts, live = state === "waiting" || state === "running";
    say(frame.querySelector(".state"), state === "completed" ? "" : state);
    if (state === "completed") frame.setAttribute("aria-label", `Enlarge: ${picture.alt}`);
    else frame.removeAttribute("aria-label");
    this.item.dataset.state = state;
    bar.hidden = !live;
    if (state === "running" && progress !== undefined) bar.value = progress;
    else bar.removeAttribute("value");
    if (state === "waiting") bar.value = 0;
    // What hides with the focus on it hands it on.
    if (!live && document.activeElement === cancel) this.item.focus();
    cancel.hidden = !live;
  }

  /** Looks at the picture as far as it is, where the server shows it. */
  async #preview() {
    const now = Date.now();
    if (document.hidden || now - this.#looked < BETWEEN * 2 ** Math.min(this.#without, DOUBLINGS)) return;
    this.#looked = now;
    try {
      const answer = await call("GET", `v1/requests/${this.#request.id}/preview`);
      if (answer.status === 204) return void this.#without++;
      this.#without = 0;
      const seen = await answer.blob();
      if (!this.ended && !this.#gone && !this.#loading) this.#show(seen);
    } catch {
      this.#without++;
    }
  }

  #show(blob) {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = URL.createObjectURL(blob);
    this.parts.picture.src = this.#url;
    this.parts.picture.hidden = false;
  }

  #enlarge() {
    const large = byId("large"), picture = large.querySelector("img");
    picture.src = this.#url;
    picture.alt = this.parts.picture.alt;
    say(byId("large-title"), this.#request.prompt);
    large.showModal();
  }

  async #act(what) {
    say(this.parts.problem, "");
    try { await what(); } catch (error) { say(this.parts.problem, error.message); }
  }
}
