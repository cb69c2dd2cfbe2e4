// Server-sent events over `fetch`, which can send a key where `EventSource` cannot.

import { call } from "./api.js";

/** Splits a stream of text into events, however its parts are cut. */
export class EventParser {
  #left = "";

  /** The events that are whole now, as `[name, data]`. */
  push(text) {
    const parts = (this.#left + text).split("\n\n");
    this.#left = parts.pop();
    return parts.map(part => {
      let name = "message";
      const data = [];
      for (const line of part.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data.push(line.slice(6));
      }
      return [name, data.join("\n")];
    }).filter(([, data]) => data !== "");
  }
}

const SHORTEST = 500, LONGEST = 10_000;
/** The gateway says something at least every 15 s; a connection that is silent for so long is dead. */
const SILENT = 40_000;

/** Keeps a stream open. `on.event(name, value)` hears what comes, `on.state(word, problem)` how the connection is. */
export class Stream {
  #path;
  #on;
  #attempt = new AbortController();
  #wake = () => {};

  constructor(path, on) {
    this.#path = path;
    this.#on = on;
    addEventListener("online", () => this.#wake());
    this.#run();
  }

  /** Connects anew at once, with another key for instance. */
  restart() {
    this.#attempt.abort();
    this.#wake();
  }

  async #run() {
    let pause = SHORTEST;
    for (;;) {
      this.#attempt = new AbortController();
      this.#on.state("connecting");
      const begun = performance.now();
      let problem;
      try {
        await this.#listen(this.#attempt.signal);
      } catch (error) {
        problem = error;
      }
      // One that has held for a while was a good one.
      if (performance.now() - begun > LONGEST) pause = SHORTEST;
      const wait = Math.max(pause * (0.75 + Math.random() / 2), 1000 * (problem?.after || 0));
      pause = Math.min(2 * pause, LONGEST);
      this.#on.state("lost", problem);
      if (this.#attempt.signal.aborted && problem?.name === "AbortError") pause = SHORTEST;
      else await this.#sleep(problem?.status === 401 ? 3_600_000 : wait);
    }
  }

  async #listen(signal) {
    const response = await call("GET", this.#path, { signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new EventParser();
    this.#on.state("live");
    for (;;) {
      const silence = setTimeout(() => this.#attempt.abort(), SILENT);
      try {
        const { done, value } = await reader.read();
        if (done) return;
        for (const [name, data] of parser.push(value)) this.#on.event(name, JSON.parse(data));
      } finally {
        clearTimeout(silence);
      }
    }
  }

  #sleep(milliseconds) {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => { clearTimeout(timer); resolve(); };
    });
  }
}
