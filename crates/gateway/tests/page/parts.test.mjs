// Parts of the page by themselves, in a browser, as they are served.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Atelier, close, configuration, visit } from "./house.mjs";

after(close);

/** What `body` hands back, a function that is given a part of the page and a value. */
async function within(part, body, value) {
  const house = await Atelier.serve(configuration()), page = await visit(house, { path: "/healthz" });
  await page.goto(`${house.url}/`);
  const result = await page.evaluate(async ([part, body, value]) => {
    const module = await import(`./page/${part}`);
    // The policy of the page allows no text as script, so what is to be run is one of these.
    return ({
      parsed: ({ EventParser }, { text, size }) => {
        const parser = new EventParser(), events = [];
        for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
        return events;
      },
      settled: ({ Workshop }, { briefs, now }) => {
        const workshop = new Workshop();
        workshop.setRequests(briefs);
        return workshop.barsOf("a", now).map(({ id, from, to }) => [id, from, to]);
      },
      kept: ({ Workshop }, { many }) => {
        const workshop = new Workshop(), date = time => new Date(time).toISOString();
        for (let index = 0; index < many; index++) {
          const time = Date.now() - 60_000 + index;
          workshop.setRequests([{ id: `${index}`, state: index % 1000 ? "completed" : "waiting", server: "a", steps: 1, accepted_at: date(time), due: date(time), start: date(time), finish: date(time + 1) }]);
        }
        const live = [...workshop.requests.values()].filter(bar => bar.state === "waiting").length;
        return [workshop.requests.size, workshop.barsOf("a", 0).length, live];
      },
      words: (dom, values) => values.map(([name, value]) => dom[name](value)),
    })[body](module, value);
  }, [part, body, value]);
  await page.leave();
  await house.stop();
  return result;
}

test("events are read however their text is cut", async () => {
  const text = `:\n\nevent: x\ndata: {"a":"é\\n"}\n\n:\n\nevent: y\ndata: 1\n\nevent: cut`;
  for (const size of [1, 2, 3, 7, 1000]) {
    assert.deepEqual(await within("stream.js", "parsed", { text, size }), [["x", `{"a":"é\\n"}`], ["y", "1"]], `${size} at a time`);
  }
});

test("what waits stands behind what runs, without gaps", async () => {
  const begun = Date.now() - 60_000, date = seconds => new Date(begun + 1000 * seconds).toISOString();
  let decided = 0;
  const brief = (id, state, start, finish) => ({ id, state, server: "a", steps: 1, accepted_at: date(0), decided_at: date(decided++), due: date(99), start: date(start), finish: date(finish) });
  const briefs = [brief("done", "completed", 0, 10), brief("runs", "running", 10, 20), brief("next", "waiting", 20, 25), brief("last", "waiting", 25, 40)];
  const at = async (now, changed = {}) => within("workshop.js", "settled", { now: begun + 1000 * now, briefs: briefs.map(one => ({ ...one, ...changed[one.id] })) });
  const seconds = bars => bars.map(([id, from, to]) => [id, (from - begun) / 1000, (to - begun) / 1000]);
  assert.deepEqual(seconds(await at(15)), [["done", 0, 10], ["runs", 10, 20], ["next", 20, 25], ["last", 25, 40]]);
  // It takes longer than predicted.
  assert.deepEqual(seconds(await at(23)), [["done", 0, 10], ["runs", 10, 23], ["next", 23, 28], ["last", 28, 43]]);
  // One that was decided later, as a gap had closed, stands last whatever was predicted of it.
  assert.deepEqual(seconds(await at(15, { last: { start: date(19), finish: date(34) } })).slice(2), [["last", 25, 40], ["next", 20, 25]]);
  // It ended early.
  assert.deepEqual(seconds(await at(18, { runs: { state: "completed", finish: date(17) } })), [["done", 0, 10], ["runs", 10, 17], ["next", 18, 23], ["last", 23, 38]]);
});

test("of ten thousand requests the oldest go, and none that is under way", async () => {
  assert.deepEqual(await within("workshop.js", "kept", { many: 12_000 }), [10_000, 10_000, 12]);
});

test("spans of time and shares are told as people say them", async () => {
  const cases = [["duration", 0.04, "0.0 s"], ["duration", 99.9, "99.9 s"], ["duration", 99.96, "1 min 40 s"], ["duration", 3599.6, "1 h 0 min"], ["duration", NaN, "–"],
    ["lateness", 0.04, "on time"], ["lateness", 0.05, "0.1 s late"], ["percent", 0.999, "99.9 %"], ["percent", 1, "100 %"], ["percent", NaN, "–"]];
  assert.deepEqual(await within("dom.js", "words", cases), cases.map(([, , said]) => said));
});
