// The form: what is asked for, and what it would get at the moment.

import { call } from "./api.js";
import { byId, duration, lateness, number, plural, say } from "./dom.js";

/** Pause after the last change before the gateway is asked for a quote, and the shortest time between two. */
const PAUSE = 350, BETWEEN = 1000;
const NUMBERS = ["due_in_seconds", "width", "height", "seed", "min_steps", "max_steps"];

export class Ask {
  #form = byId("ask");
  #timer;
  #quoted = 0;
  #asking = new AbortController();
  #submit;
  #defaults = false;

  /** `submit(body)` sends a request and hands back the promise of its answer. */
  constructor(submit) {
    this.#submit = submit;
    this.#form.addEventListener("submit", event => { event.preventDefault(); this.#send(); });
    // What the prompt says changes nothing about the time.
    this.#form.addEventListener("input", event => { if (event.target.name !== "prompt" && event.target.name !== "negative_prompt") this.quote(); });
    this.#form.addEventListener("focusin", () => { if (Date.now() - this.#quoted > 5000) this.quote(); });
  }

  /** What the gateway takes, and what it takes for granted. */
  configure({ defaults, limits, models }) {
    const form = this.#form;
    if (!this.#defaults) {
      form.due_in_seconds.value = defaults.due_in_seconds;
      form.penalty.value = defaults.penalty;
      this.#defaults = true;
    }
    form.due_in_seconds.max = limits.due_in_seconds;
    for (const side of ["width", "height"]) {
      form[side].placeholder = defaults[side];
      form[side].max = limits.side;
    }
    if (models.join("\n") !== [...form.model.options].map(option => option.value).join("\n")) {
      const chosen = form.model.value || defaults.model;
      form.model.replaceChildren(...models.map(name => new Option(name)));
      if (models.includes(chosen)) form.model.value = chosen;
    }
    byId("model-field").hidden = models.length === 0;
    this.quote();
  }

  /** The same picture again. */
  fill(request) {
    const form = this.#form;
    for (const name of ["prompt", "negative_prompt", "width", "height", "seed", "penalty"]) form[name].value = request[name] ?? "";
    if (request.model) form.model.value = request.model;
    this.quote();
  }

  body() {
    const form = this.#form, body = { prompt: form.prompt.value, penalty: form.penalty.value };
    if (form.negative_prompt.value) body.negative_prompt = form.negative_prompt.value;
    if (form.model.value) body.model = form.model.value;
    for (const name of NUMBERS) if (form[name].value !== "") body[name] = Number(form[name].value);
    return body;
  }

  quote() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#quote(), Math.max(PAUSE, this.#quoted + BETWEEN - Date.now()));
  }

  async #quote() {
    this.#quoted = Date.now();
    this.#asking.abort();
    this.#asking = new AbortController();
    if (!this.#form.checkValidity()) return say(byId("quote"), "");
    try {
      const quote = await call("POST", "v1/quotes", { body: this.body(), signal: this.#asking.signal }).then(answer => answer.json());
      const ready = (Date.parse(quote.predicted_finish) - Date.parse(quote.predicted_start)) / 1000;
      const wait = Math.max((Date.parse(quote.predicted_start) - this.now()) / 1000, 0);
      say(byId("quote"), `At the moment: ${plural(quote.steps, "step")} on ${quote.server}, ready in ${duration(wait + ready)}, ` +
        `${lateness(quote.predicted_tardiness_seconds)}, quality ${number(quote.expected_quality)}.`);
    } catch (error) {
      if (error.name !== "AbortError") say(byId("quote"), error.message);
    }
  }

  /** The gateway's time; the page puts its own here. */
  now = () => Date.now();

  async #send() {
    say(byId("ask-problem"), "");
    try {
      await this.#submit(this.body());
    } catch (error) {
      say(byId("ask-problem"), error.message);
    }
  }
}
