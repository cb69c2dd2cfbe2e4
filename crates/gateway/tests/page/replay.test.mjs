// The page over simulated schedules.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { Atelier, close, folder, visit } from "./house.mjs";
import { picture, serious } from "./looks.mjs";

after(close);

/** Runs a command of `atelier` in the tests' folder. */
const atelier = (...commandline) => execFileSync(resolve(process.env.ATELIER ?? "target/release/atelier"), commandline, { cwd: folder });

/** The rows of two policies on one instance, and the instance. */
function schedules() {
  const scenario = resolve("scenarios/contended.toml");
  atelier("instance", "--scenario", scenario, "--seed", "1", "--out", "I.json");
  for (const policy of ["myopic", "greedy"]) atelier("simulate", "--instance", "I.json", "--policy", policy, "--rows", `${policy}.csv`);
  return ["myopic.csv", "greedy.csv", "I.json"].map(name => join(folder, name));
}

const reward = page => page.locator(".score .reward dd").allInnerTexts();

test("two policies are played side by side, and their rewards count up", async () => {
  const [myopic, greedy, instance] = schedules();
  const house = await Atelier.start("replay", myopic, greedy, "--instance", instance);
  const page = await visit(house, { colorScheme: "light", viewport: { width: 1280, height: 1100 } });
  await page.getByRole("heading", { name: "greedy" }).waitFor();
  assert.deepEqual(await reward(page), ["0", "0"]);
  await page.getByLabel("Speed").selectOption("100");
  await page.getByRole("button", { name: "Play" }).click();
  await page.waitForFunction(() => [...document.querySelectorAll(".score .reward dd")].every(value => parseFloat(value.textContent) > 1000));
  await page.getByRole("button", { name: "Pause" }).click();
  await page.waitForTimeout(200);
  const paused = await reward(page);
  await page.waitForTimeout(300);
  assert.deepEqual(await reward(page), paused, "a pause is one");
  await page.locator("#lanes-0 canvas").focus();
  await page.keyboard.press("ArrowRight");
  assert.match(await page.locator("#card").innerText(), /Request \d+, came at[^]*myopic[^]*steps? on[^]*greedy[^]*steps? on/);
  assert.deepEqual(await serious(page), []);
  await picture(page, "replay-light.png");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForTimeout(300);
  await picture(page, "replay-dark.png");
  // To the end: what is counted is what the rows sum up to.
  await page.getByLabel("Time", { exact: true }).press("End");
  const sum = file => readFileSync(file, "utf8").trim().split("\n").slice(1).map(line => Number(line.split(",")[10])).reduce((a, b) => a + b);
  await page.waitForFunction(([myopic, greedy]) => {
    const [first, second] = [...document.querySelectorAll(".score .reward dd")].map(value => value.textContent);
    return first === myopic && second === greedy;
  }, [myopic, greedy].map(file => sum(file).toFixed(0)));
  await page.leave();
  await house.stop();
});

test("a hostile server's name is text", async () => {
  const hostile = `<img src=x onerror="globalThis.broken=1">`;
  const instance = { servers: [{ name: hostile, steps_per_second: 10 }], requests: [{ arrival: 0, due: 5, penalty: "linear" }], tardiness_weight: 1 };
  writeFileSync(join(folder, "H.json"), JSON.stringify(instance));
  atelier("simulate", "--instance", "H.json", "--policy", "myopic", "--rows", "H.csv");
  const house = await Atelier.start("replay", join(folder, "H.csv"), "--instance", join(folder, "H.json"));
  const page = await visit(house);
  await page.locator(".name", { hasText: hostile }).waitFor();
  assert.equal(await page.evaluate(() => globalThis.broken), undefined);
  assert.equal(await page.locator("img[src=x]").count(), 0);
  await page.leave();
  await house.stop();
});
