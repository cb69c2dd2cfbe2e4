// What the tests of the page stand on: an `atelier` in a process and a folder of its own, and a browser before it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const ATELIER = resolve(process.env.ATELIER ?? "target/release/atelier");
export const folder = mkdtempSync(join(tmpdir(), "atelier-page-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const digest = key => createHash("sha256").update(key).digest("hex");

/** Painters that are fast enough for tests and slow enough to be seen at work. */
export function configuration({ keys = false, servers = [["quick", 40], ["slow", 8]], head = "", more = "" } = {}) {
  const key = (name, operator) => `[[key]]\nname = "${name}"\nsha256 = "${digest(`sk-${name}`)}"\nrequests_per_minute = 600\noperator = ${operator}\n`;
  return `policy = "myopic"\nshadow_policy = "greedy"\njournal = "journal.db"\n${head}
[defaults]\nwidth = 64\nheight = 64\ndue_in_seconds = 10.0\n[limits]\nside = 128\n${more}
${keys ? key("ann", true) + key("bob", false) : ""}
${servers.map(([name, rate]) => `[[server]]\nname = "${name}"\nsteps_per_second = ${rate.toFixed(1)}\nbackend = { kind = "demo" }\n`).join("\n")}`;
}

let count = 0;

/** A running `atelier`, with its address. */
export class Atelier {
  static async start(...commandline) {
    const house = new Atelier();
    house.folder = mkdtempSync(join(folder, `${count++}-`));
    house.commandline = commandline;
    await house.begin(0);
    return house;
  }

  /** The gateway with a configuration file, or the demonstration. */
  static async serve(text) {
    if (text === undefined) return Atelier.start("serve", "--demo");
    const file = join(folder, `${count}.toml`);
    writeFileSync(file, text);
    return Atelier.start("serve", "--config", file);
  }

  async begin(port) {
    const options = { cwd: this.folder, env: { ...process.env, XDG_STATE_HOME: this.folder }, stdio: ["ignore", "ignore", "pipe"] };
    this.process = spawn(ATELIER, [...this.commandline, "--listen", `127.0.0.1:${port}`], options);
    houses.add(this);
    this.said = "";
    await new Promise((done, failed) => {
      this.process.once("error", failed);
      this.process.once("exit", code => failed(new Error(`atelier ended with ${code}: ${this.said}`)));
      this.process.stderr.setEncoding("utf8").on("data", text => {
        this.said += text;
        const found = this.said.match(/http:\/\/[0-9.:]+/);
        if (found) { this.url = found[0]; done(); }
      });
    });
  }

  async stop() {
    const ended = new Promise(done => this.process.once("exit", done));
    this.process.kill("SIGTERM");
    await ended;
    houses.delete(this);
  }

  /** Ends and comes back at the same address. */
  async restart() {
    await this.stop();
    await this.begin(Number(new URL(this.url).port));
  }

  async call(method, path, { key, body } = {}) {
    const headers = { "content-type": "application/json", ...(key && { authorization: `Bearer sk-${key}` }) };
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    assert(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text && JSON.parse(text);
  }
}

let browser;
const houses = new Set();
export const open = async () => (browser ??= await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] }));

/** Ends all that tests have left, also where they failed. */
export async function close() {
  await browser?.close();
  for (const house of houses) house.process.kill("SIGKILL");
}

/**
 * A page before a house. What it says on its console, what it breaks, and whom it asks beside the house make its test fail, unless
 * they are `expected`, a pattern.
 */
export async function visit(house, { key, path = "/", expected, ...options } = {}) {
  const context = await (await open()).newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  if (process.env.PAGE) await fromFolder(page);
  const wrong = [];
  page.on("console", message => { if (["error", "warning"].includes(message.type())) wrong.push(`${message.text()} ${message.location().url}`); });
  page.on("pageerror", error => wrong.push(error.stack));
  page.on("request", request => {
    const url = new URL(request.url());
    if (!["blob:", "data:"].includes(url.protocol) && url.origin !== house.url) wrong.push(`asks ${url}`);
  });
  if (key) await page.addInitScript(key => sessionStorage.setItem("api-key", key), `sk-${key}`);
  await page.goto(house.url + path);
  page.leave = async () => {
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await context.close();
    const left = expected ? wrong.filter(text => !expected.test(text)) : wrong;
    assert.deepEqual(left, [], "nothing goes wrong in the browser");
  };
  return page;
}

/** With PAGE=crates/gateway/page the page is that of the folder, so that a change to it needs no build. */
async function fromFolder(page) {
  const part = async (route, name) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: readFileSync(join(process.env.PAGE, name)) });
  };
  await page.route(/\/page\/[^?]*$/, route => part(route, new URL(route.request().url()).pathname.replace(/.*\/page\//, "")));
  await page.route(/^http:\/\/[^/]*\/([a-z]+\/)?$/, async route => {
    const title = (await (await route.fetch()).text()).match(/<title>(.*)<\/title>/)[1];
    await part(route, title === "atelier replay" ? "replay.html" : "index.html");
  });
}

/** Waits until the page has the house's word. */
export const live = page => page.locator("#connection.live").waitFor();
