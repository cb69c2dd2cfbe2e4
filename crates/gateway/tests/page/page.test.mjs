// The page in a browser, before a gateway as it is.
//
//     npm ci && ATELIER=PATH/TO/atelier node --test
//
// With PICTURES=FOLDER the pictures of the documentation are taken on the way.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Atelier, close, configuration, live, visit } from "./house.mjs";
import { picture, serious } from "./looks.mjs";

after(close);

/** Asks for a picture by the form, and hands back its card. */
async function ask(page, prompt, due) {
  await page.locator("#ask [name=prompt]").fill(prompt);
  await page.getByLabel("Due in, s").fill(String(due));
  await page.getByRole("button", { name: "Paint" }).click();
  const card = page.locator("#pictures li").filter({ hasText: prompt }).first();
  await card.waitFor();
  return card;
}

const ended = (card, state) => card.and(card.page().locator(`[data-state=${state}]`)).waitFor({ timeout: 60_000 });

test("one asks, sees the quote, the progress and the picture, and takes it away", async () => {
  const house = await Atelier.serve(configuration());
  const page = await visit(house);
  await live(page);
  await page.locator("#quote", { hasText: /At the moment: \d+ steps? on (quick|slow), ready in .* s, on time, quality/ }).waitFor();
  const preview = page.waitForResponse(answer => answer.url().endsWith("/preview") && answer.status() === 200);
  const card = await ask(page, "a yellow ring on blue", 5);
  assert.match((await preview).headers()["content-type"], /^image\/png/);
  await ended(card, "completed");
  const drawn = card.locator("img");
  await page.waitForFunction(image => image.complete && image.naturalWidth === 64, await drawn.elementHandle());
  assert.match(await card.locator(".facts").innerText(), /\d+ steps? on (quick|slow) · quality \d.* on time · .*(prediction|as predicted) · seed \d+ · linear penalty/);
  const download = page.waitForEvent("download");
  await card.getByRole("link", { name: "Download" }).click();
  assert.match((await download).suggestedFilename(), /^atelier-.*\.png$/);
  await card.getByRole("button", { name: "Enlarge: a yellow ring on blue" }).click();
  await page.getByRole("dialog", { name: "a yellow ring on blue" }).getByRole("button", { name: "Close" }).click();
  await card.getByRole("button", { name: "Same seed again" }).click();
  await page.waitForFunction(() => document.querySelectorAll("#pictures li[data-state=completed]").length === 2);
  const { requests } = await house.call("GET", "/v1/requests");
  assert.equal(requests[0].seed, requests[1].seed);
  await page.leave();
  await house.stop();
});

test("what is late is marked late, by words as well", async () => {
  const house = await Atelier.serve(configuration({ servers: [["slow", 4]] }));
  const page = await visit(house);
  await live(page);
  await page.getByText("More", { exact: true }).click();
  await page.getByLabel("Minimum steps").fill("6");
  const card = await ask(page, "too late", 0.2);
  await ended(card, "completed");
  assert.match(await card.locator(".facts").innerText(), /\d\.\d s late/);
  assert(await card.evaluate(item => item.classList.contains("tardy")));
  await page.locator("#tiles div", { hasText: "on time" }).locator("dd", { hasText: "0 %" }).waitFor();
  await page.leave();
  await house.stop();
});

test("a request is cancelled", async () => {
  const house = await Atelier.serve(configuration({ servers: [["slow", 2]] }));
  const page = await visit(house);
  await live(page);
  await page.getByText("More", { exact: true }).click();
  await page.getByLabel("Minimum steps").fill("100");
  const card = await ask(page, "never", 50);
  await ended(card, "running");
  await card.locator("progress").waitFor();
  await card.getByRole("button", { name: "Cancel" }).click();
  await ended(card, "cancelled");
  assert.equal((await house.call("GET", "/v1/requests")).requests[0].state, "cancelled");
  await page.leave();
  await house.stop();
});

test("what the gateway refuses is said beside the form", async () => {
  const house = await Atelier.serve(configuration());
  const page = await visit(house, { expected: /status of 422/ });
  await live(page);
  await page.getByText("More", { exact: true }).click();
  await page.getByLabel("Minimum steps").fill("9");
  await page.getByLabel("Maximum steps").fill("8");
  await page.getByRole("button", { name: "Paint" }).click();
  await page.locator("#ask-problem", { hasText: "min_steps: 9 is above max_steps: allowed is 1 to 8" }).waitFor();
  await page.leave();
  await house.stop();
});

test("an operator drains a server, chooses a policy, and sees the use of the keys", async () => {
  const house = await Atelier.serve(configuration({ keys: true }));
  const page = await visit(house, { key: "ann", expected: /status of 422/ });
  await live(page);
  await page.getByRole("button", { name: "Drain slow" }).click();
  await page.locator("#lanes li.drained", { hasText: "slow" }).waitFor();
  assert.equal((await house.call("GET", "/v1/servers", { key: "ann" })).servers[1].enabled, false);
  await page.getByRole("button", { name: "Enable slow" }).click();
  await page.locator("#lanes li:not(.drained)", { hasText: "slow" }).waitFor();
  await page.getByLabel("Policy").fill("greedy");
  await page.getByRole("button", { name: "Let it decide" }).click();
  await page.getByText("Decided by greedy, with greedy as its shadow.").waitFor();
  await page.getByLabel("Policy").fill("nobody");
  await page.getByRole("button", { name: "Let it decide" }).click();
  await page.locator("#operate-problem", { hasText: "nobody" }).waitFor();
  await page.getByRole("button", { name: "Reload the configuration" }).click();
  await page.locator("#operated", { hasText: "The configuration was read again" }).waitFor();
  await house.call("POST", "/v1/requests", { key: "bob", body: { prompt: "bob's secret" } });
  await page.locator("#keys tr", { hasText: "bob" }).locator("td").first().filter({ hasText: "1" }).waitFor();
  // Others' work is seen, what they asked for is not.
  await page.waitForFunction(() => document.querySelector("#tiles").innerText.match(/1\s*done|done\s*1/));
  assert(!(await page.content()).includes("secret"));
  await page.leave();
  await house.stop();
});

test("a key that may not operate sees no levers, and of others' work only that there is some", async () => {
  const house = await Atelier.serve(configuration({ keys: true, servers: [["slow", 2]] }));
  const page = await visit(house, { key: "bob" });
  await live(page);
  await house.call("POST", "/v1/requests", { key: "ann", body: { prompt: "x", min_steps: 50 } });
  await page.locator("#lanes li", { hasText: "runs" }).waitFor();
  for (const name of [/^Drain/, "Let it decide", "Reload the configuration"]) assert.equal(await page.getByRole("button", { name }).count(), 0, `${name}`);
  assert(await page.locator("#statistics").isHidden());
  assert.equal(await page.locator("#list tbody tr").count(), 0);
  await page.leave();
  await house.stop();
});

test("without a key the page says that it wants one, and takes it", async () => {
  const house = await Atelier.serve(configuration({ keys: true }));
  const page = await visit(house, { expected: /status of 401/ });
  await page.locator("#note", { hasText: "The gateway requires an API key." }).waitFor();
  await page.getByLabel("API key").fill("sk-bob");
  await page.getByRole("button", { name: "Use" }).click();
  await live(page);
  assert.equal(await page.locator("#note").innerText(), "");
  await page.leave();
  await house.stop();
});

test("another key sees nothing of what the one before it saw, and a wrong one nothing at all", async () => {
  const house = await Atelier.serve(configuration({ keys: true }));
  const page = await visit(house, { key: "ann", expected: /status of 401/ });
  await live(page);
  await ended(await ask(page, "a green ring", 5), "completed");
  await page.locator("#keys tr", { hasText: "bob" }).waitFor();
  const use = async key => {
    await page.getByLabel("API key").fill(key);
    await page.getByRole("button", { name: "Use" }).click();
  };
  const nothing = async () => {
    assert.equal(await page.locator("#pictures li, #keys tbody tr, #list tbody tr").count(), 0);
    assert(!(await page.content()).includes("a green ring"));
    await page.locator("#tiles div", { hasText: "done" }).locator("dd", { hasText: "0" }).waitFor();
  };
  await use("sk-bob");
  await page.locator("#connection.live").waitFor();
  await page.getByText("None yet.").waitFor();
  await nothing();
  await use("sk-ann");
  await page.locator("#pictures li", { hasText: "a green ring" }).waitFor();
  await use("wrong");
  await page.locator("#note", { hasText: "The gateway does not know this API key." }).waitFor();
  await nothing();
  await page.leave();
  await house.stop();
});

test("of several on one server each waits behind those before it", async () => {
  const house = await Atelier.serve(configuration({ keys: true, servers: [["slow", 2]] }));
  const send = (key, prompt) => house.call("POST", "/v1/requests", { key, body: { prompt, min_steps: 40, due_in_seconds: 9 } });
  for (let index = 0; index < 3; index++) await send("ann", "x");
  const { decision } = await send("bob", "bob's");
  const page = await visit(house, { key: "bob" });
  await live(page);
  // What bob does not see counts all the same.
  const row = page.locator("#list tbody tr");
  const seconds = text => { const [, minutes, rest] = text.match(/(?:(\d+) min )?([\d.]+) s/); return 60 * (minutes ?? 0) + Number(rest); };
  const expected = (Date.parse(decision.predicted_finish) - Date.now()) / 1000;
  assert(Math.abs(seconds(await row.locator("td").nth(3).innerText()) - expected) < 10, `${await row.innerText()}, and not in ${expected} s`);
  assert.match(await row.innerText(), /late/);
  await page.leave();
  await house.stop();
});

test("a crowd comes to the demonstration, and why each was decided so can be seen", async () => {
  const house = await Atelier.serve();
  const page = await visit(house, { colorScheme: "light", viewport: { width: 1280, height: 1000 } });
  await live(page);
  assert.deepEqual(await serious(page), []);
  await page.getByLabel("How hurried are they?").fill("50");
  await page.getByRole("button", { name: "Send 12 people" }).click();
  await page.waitForFunction(() => document.querySelectorAll("#pictures li").length === 12);
  await page.locator("#list tbody tr").nth(3).waitFor();
  // By keyboard.
  await page.locator("#lanes canvas").focus();
  await page.keyboard.press("ArrowRight");
  await page.locator("#card table.offers").waitFor();
  assert.match(await page.locator("#card").innerText(), /Decided by myopic|decided by myopic/i);
  assert.match(await page.locator("#card .offers .chosen").innerText(), /\(chosen\)/);
  for (const arrow of ["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"]) await page.keyboard.press(arrow);
  assert.match(await page.locator("#lanes [role=status]").innerText(), /^(master|journeyman|apprentice), \d+ steps? with ddim: (waits|runs|done)/);
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Why this decision?" }).locator(".offers").waitFor();
  assert.deepEqual(await serious(page), []);
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelectorAll("#pictures li[data-state=completed]").length >= 9, null, { timeout: 60_000 });
  await page.locator("#lanes canvas").blur();
  await picture(page, "page-light.png");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForTimeout(300);
  assert.deepEqual(await serious(page), []);
  await picture(page, "page-dark.png");
  await page.waitForFunction(() => !document.querySelector("#list tbody tr"), null, { timeout: 60_000 });
  await page.emulateMedia({ colorScheme: "light" });
  // Something to see in the picture of the charts.
  for (let crowd = 0; process.env.PICTURES && crowd < 6; crowd++) {
    await page.getByRole("button", { name: "Send 12 people" }).click();
    await page.waitForTimeout(25_000);
  }
  await page.locator("#charts").scrollIntoViewIfNeeded();
  await page.locator("#chart-quality p", { hasText: /\d/ }).waitFor();
  await page.locator("#chart-shadow p", { hasText: "greedy (shadow)" }).waitFor();
  await picture(page.locator("#statistics"), "page-charts.png");
  await page.leave();
  await house.stop();
});

test("on a phone nothing is wider than the screen", async () => {
  const house = await Atelier.serve();
  const page = await visit(house, { viewport: { width: 390, height: 844 } });
  await live(page);
  await page.getByRole("button", { name: "Send 12 people" }).click();
  await page.locator("#list tbody tr").nth(5).waitFor();
  await page.locator("#charts").scrollIntoViewIfNeeded();
  await page.locator("#chart-backlog canvas").waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
  assert.deepEqual(await serious(page), []);
  await page.leave();
  await house.stop();
});

test("the page comes back when the gateway does", async () => {
  const house = await Atelier.serve(configuration());
  const page = await visit(house, { expected: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|network error/ });
  await live(page);
  const card = await ask(page, "before", 5);
  await ended(card, "completed");
  await house.stop();
  await page.locator("#connection.lost, #connection.connecting").waitFor();
  await house.begin(Number(new URL(house.url).port));
  await live(page);
  await ended(await ask(page, "afterwards", 5), "completed");
  // What ended before is still told.
  await page.locator("#tiles div", { hasText: "done" }).locator("dd", { hasText: "2" }).waitFor();
  await page.leave();
  await house.stop();
});

const HOSTILE = `<img src=x onerror="globalThis.broken=1"><script>globalThis.broken=1</script>`;

test("a hostile prompt is text, and so is a hostile name", async () => {
  const house = await Atelier.serve(configuration({ servers: [["quick", 40]] }));
  const page = await visit(house);
  await live(page);
  await ended(await ask(page, HOSTILE, 5), "completed");
  // The gateway itself refuses such names, so this is what one that was broken into would say.
  const events = [
    ["servers", { servers: [{ name: HOSTILE, healthy: false, enabled: true, trouble: HOSTILE, waiting: 0, backlog_seconds: 0 }] }],
    ["requests", { requests: [{ id: "1", own: false, owner: HOSTILE, state: "failed", server: HOSTILE, steps: 3, model: HOSTILE, penalty: "linear", reason: HOSTILE,
      accepted_at: new Date().toISOString(), due: new Date().toISOString(), start: new Date(Date.now() - 9000).toISOString(), finish: new Date(Date.now() - 3000).toISOString() }] }],
    ["keys", { keys: [{ name: HOSTILE, operator: true, requests_per_minute: 3, left_this_minute: 2, waiting_or_running: 0, accepted: 0, completed: 0, late: 0, server_seconds: 0 }] }],
  ];
  const site = { version: HOSTILE, now: new Date().toISOString(), demo: true, owner: HOSTILE, operator: true, keys: true, policy: HOSTILE, shadow_policy: HOSTILE, tardiness_weight: 1,
    defaults: { width: 64, height: 64, due_in_seconds: 9, penalty: "linear", model: HOSTILE }, limits: { prompt_bytes: 99, side: 64, due_in_seconds: 99 }, models: [HOSTILE] };
  const body = [["site", site], ...events].map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join("");
  const other = await visit(house, { path: "/healthz", expected: /status of/ });
  await other.route("**/v1/workshop", route => route.fulfill({ contentType: "text/event-stream", body }));
  await other.route("**/v1/requests/1/decision", route => route.fulfill({ json: {
    decision: { why: HOSTILE }, unasked: [{ server: HOSTILE, why: HOSTILE }], offers: [{ server: HOSTILE, chosen: true, steps: 3, predicted_start: new Date().toISOString(),
      predicted_finish: new Date().toISOString(), predicted_tardiness_seconds: 0, expected_quality: 1, expected_reward: 1 }] } }));
  await other.goto(house.url);
  await other.locator("#lanes .name", { hasText: HOSTILE }).waitFor();
  await other.locator("#keys th", { hasText: HOSTILE }).waitFor();
  await other.locator("#lanes canvas").focus();
  await other.keyboard.press("ArrowRight");
  await other.locator("#card .offers th", { hasText: HOSTILE }).waitFor();
  for (const one of [page, other]) {
    assert.equal(await one.evaluate(() => globalThis.broken), undefined);
    assert.equal(await one.locator("img[src=x]").count(), 0);
    await one.leave();
  }
  await house.stop();
});

test("the page works below a path of its own", async () => {
  const house = await Atelier.serve(configuration({ head: 'public_url = "http://127.0.0.1/draw"' }));
  const page = await visit(house, { path: "/draw/" });
  await live(page);
  await ended(await ask(page, "a red cross", 5), "completed");
  await page.leave();
  await house.stop();
});
