// Why a request was decided as it was: a card beside the bar that is pointed at or walked to, and the same at length
// in a dialog, where it can be read in peace.

import { get, key } from "./api.js";
import { beside, clock, closable, duration, element, isLate, lateness, number, plural, words } from "./dom.js";
import { isLive } from "./workshop.js";

/** Time that a bar is pointed at before the gateway is asked about it. */
const RESTED = 120;

const UNASKED = {
  unhealthy: "does not answer", draining: "is being drained", unable: "cannot paint this request", resting: "is resting because jobs keep failing there",
  failed: "has failed this request",
};

export class Decisions {
  #card;
  #dialog;
  #timer;
  #pointing = new AbortController();
  /** The bar whose dialog is open. */
  #opened = null;
  #known = new Map();

  constructor(card, dialog) {
    this.#card = card;
    this.#dialog = dialog;
    closable(dialog);
    dialog.addEventListener("close", () => { this.#opened = null; });
  }

  /** Nothing is known any more. */
  forget() {
    this.#known.clear();
    this.point(null);
    this.#card.replaceChildren();
    this.#dialog.querySelector(".body").replaceChildren();
    this.#dialog.close();
  }

  /** Shows what is known of a bar beside it, and more as soon as the gateway has said it. */
  point(bar, place) {
    clearTimeout(this.#timer);
    this.#pointing.abort();
    this.#card.hidden = !bar;
    if (!bar) return;
    this.#card.replaceChildren(summary(bar), element("p", { class: "quiet" }, "…"));
    beside(this.#card, place);
    const show = told => {
      this.#card.replaceChildren(summary(bar), ...reasons(told, bar));
      beside(this.#card, place);
    };
    const known = this.#known.get(bar.id);
    if (known?.state === bar.state) return show(known.told);
    this.#pointing = new AbortController();
    const { signal } = this.#pointing;
    this.#timer = setTimeout(() => this.#ask(bar, signal).then(show, error => {
      if (!signal.aborted) show({ problem: error.message });
    }), RESTED);
  }

  /** The same in a dialog. */
  async open(bar) {
    this.#card.hidden = true;
    const body = this.#dialog.querySelector(".body");
    body.replaceChildren(summary(bar));
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#opened = bar;
    const told = await this.#ask(bar).catch(error => ({ problem: error.message }));
    // Another one may have been opened since, or none.
    if (this.#opened === bar) body.replaceChildren(summary(bar), ...reasons(told, bar));
  }

  async #ask(bar, signal) {
    const { state } = bar, { changes } = key;
    const told = await get(`v1/requests/${bar.id}/decision`, { signal });
    if (changes !== key.changes) throw new Error("It was asked with another key.");
    if (this.#known.size > 200) this.#known.clear();
    this.#known.set(bar.id, { state, told });
    return told;
  }
}

/** What the bar itself says. */
function summary(bar) {
  const live = isLive(bar), end = live ? bar.to : bar.finish;
  const late = live ? Math.max((bar.to - bar.due) / 1000, 0) : bar.state === "completed" ? bar.tardiness : NaN;
  const when = Number.isFinite(end) ? clock(end) : "–";
  const fact = (name, value, strange) => [element("dt", {}, name), element("dd", { class: strange ? "late" : undefined }, value)];
  const title = bar.server === undefined ? "On no server yet" : `${plural(bar.steps, "step")} on ${bar.server}`;
  return element("div", { class: "summary" },
    element("h3", {}, title, " ", element("span", { class: `state ${bar.state}` }, bar.state)),
    element("dl", {},
      ...fact("arrived", clock(bar.accepted)),
      ...fact("due", `${clock(bar.due)}, ${words[bar.penalty] ?? bar.penalty} penalty`),
      ...fact(live ? "expected" : "ended", Number.isFinite(late) ? `${when}, ${lateness(late)}` : when, isLate(late)),
      ...fact(live ? "expected quality" : "quality", number(bar.quality)),
      ...fact(live ? "expected reward" : "reward", number(bar.reward)),
      ...(bar.model ? fact("model", bar.load > 0 ? `${bar.model}, loaded in ${duration(bar.load)}` : bar.model) : []),
      ...(bar.owner ? fact("asked by", bar.owner) : []),
      ...(bar.reason ? fact("reason", bar.reason, true) : [])));
}

/** What the gateway says of the decision. */
function reasons(told, bar) {
  if (told.problem) return [element("p", { class: "late" }, told.problem)];
  const parts = [];
  if (told.decision?.why) parts.push(element("p", {}, `${told.decision.why[0].toUpperCase()}${told.decision.why.slice(1)}.`));
  if (!told.offers) {
    parts.push(element("p", { class: "quiet" }, "Other servers’ offers are known only for the latest requests since the gateway started."));
    return parts;
  }
  parts.push(offers(told, bar));
  const unasked = told.unasked ?? [];
  if (unasked.length) {
    const said = unasked.slice(0, 8).map(({ server, why }) => `${server} ${UNASKED[why] ?? String(why).replaceAll("_", " ")}`);
    if (unasked.length > 8) said.push(`${unasked.length - 8} others`);
    parts.push(element("p", { class: "quiet" }, `Not asked: ${said.join("; ")}.`));
  }
  return parts;
}

const MOST = 12;

function offers(told, bar) {
  const shadow = told.shadow_offer, accepted = bar.accepted;
  const all = [...told.offers].sort((a, b) => b.chosen - a.chosen || b.expected_reward - a.expected_reward);
  const cells = offer => [
    `${offer.steps}`, `in ${duration((Date.parse(offer.predicted_start) - accepted) / 1000)}`,
    `in ${duration((Date.parse(offer.predicted_finish) - accepted) / 1000)}`,
    lateness(offer.predicted_tardiness_seconds), number(offer.expected_quality), number(offer.expected_reward),
  ];
  const line = (offer, name, kind) => element("tr", { class: kind },
    element("th", { scope: "row" }, name),
    ...cells(offer).map((text, column) => element("td", { class: column === 3 && isLate(offer.predicted_tardiness_seconds) ? "n late" : "n" }, text)));
  const rows = all.slice(0, MOST).map(offer => line(offer, offer.chosen ? `${offer.server} (chosen)` : offer.server, offer.chosen ? "chosen" : undefined));
  if (shadow) rows.push(line(shadow, `${shadow.server} (${told.decision?.shadow?.agrees ? "the shadow policy agrees" : "the shadow policy's choice"})`, "shadow"));
  const head = ["server", "steps", "start", "finish", "lateness", "quality", "reward"];
  const note = "What each server offered at that moment: with the decided steps where it was chosen, elsewhere with those that are best for this request alone.";
  return element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Offers" },
    element("table", { class: "offers" },
      element("caption", {}, note, all.length > MOST ? ` The best ${MOST} of ${all.length}.` : ""),
      element("thead", {}, element("tr", {}, ...head.map((text, column) => element("th", { scope: "col", class: column ? "n" : undefined }, text)))),
      element("tbody", {}, ...rows)));
}
