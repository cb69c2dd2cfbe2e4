// In the demonstration, where pictures cost nothing: a crowd, and how hurried it is.

import { key } from "./api.js";
import { byId, duration, say } from "./dom.js";

const PEOPLE = 12;
const COLOURS = ["red", "green", "blue", "yellow", "orange", "purple", "pink", "white", "grey", "black"];
const SHAPES = ["circle", "square", "triangle", "ring", "cross"];
const PENALTIES = ["linear", "quadratic", "square_root"];

const any = list => list[Math.floor(Math.random() * list.length)];

/** The mean time that people give a picture: from a minute down to two seconds. */
const patience = hurry => 60 * (2 / 60) ** (hurry / 100);

export class Demo {
  #slider = byId("hurry");
  #send;

  /** `send(body)` asks for a picture. */
  constructor(send) {
    this.#send = send;
    this.#slider.addEventListener("input", () => this.#tell());
    byId("burst").addEventListener("click", () => this.#burst());
    this.#tell();
  }

  configure({ demo }) { byId("demo").hidden = !demo; }

  #tell() {
    const seconds = patience(Number(this.#slider.value));
    say(byId("hurry-said"), `They wait about ${duration(Math.round(seconds))}.`.replace(".0 s", " s"));
  }

  async #burst() {
    const button = byId("burst"), mean = patience(Number(this.#slider.value));
    if (button.ariaDisabled === "true") return;
    button.ariaDisabled = "true";
    const { changes } = key;
    say(byId("note"), "");
    for (let person = 0; person < PEOPLE && changes === key.changes; person++) {
      const ground = any(COLOURS), colour = any(COLOURS.filter(other => other !== ground));
      const due = mean * (0.5 + Math.random());
      const body = { prompt: `${colour === "orange" ? "an" : "a"} ${colour} ${any(SHAPES)} on ${ground}`, due_in_seconds: Math.round(10 * due) / 10, penalty: any(PENALTIES) };
      try { await this.#send(body); } catch (error) { say(byId("note"), error.message); break; }
    }
    button.ariaDisabled = "false";
  }
}
