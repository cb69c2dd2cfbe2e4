// How long a frame takes with 200 servers and 10,000 requests, under software rendering:
//
//     ATELIER=PATH/TO/atelier node smooth.mjs
//
// Live, with a gateway's stream that tells of all of them and then of 100 changes a second, and in a replay. A frame is counted from its
// beginning until the browser is done with it: scripts, style, layout and paint.

import { createServer } from "node:http";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Atelier, close, configuration, folder, live, visit } from "./house.mjs";

const SERVERS = 200, REQUESTS = 10_000, SECONDS = 10;

/** How long the page's frames take for some seconds, those in which lanes are drawn. */
const frames = page => page.evaluate(seconds => new Promise(done => {
  const took = [], channel = new MessageChannel(), end = performance.now() + 1000 * seconds;
  const clear = CanvasRenderingContext2D.prototype.clearRect;
  let [begun, drawn] = [0, false];
  CanvasRenderingContext2D.prototype.clearRect = function (...box) { drawn = true; return clear.apply(this, box); };
  channel.port1.onmessage = () => { if (drawn) took.push(performance.now() - begun); drawn = false; };
  // Asked for before the page's own, so it comes before it in each frame.
  const frame = () => {
    if (performance.now() > end) return done(took);
    begun = performance.now();
    requestAnimationFrame(frame);
    channel.port2.postMessage(0);
  };
  requestAnimationFrame(frame);
}), SECONDS);

function tell(what, took) {
  took.sort((a, b) => a - b);
  const at = share => took[Math.floor(share * (took.length - 1))].toFixed(2);
  console.log(`${what}: ${took.length} frames drawn in ${SECONDS} s, median ${at(0.5)} ms, p95 ${at(0.95)} ms, longest ${at(1)} ms`);
}

/** Both where everything moves with every frame, and where most can be seen. */
async function measure(what, page) {
  for (const [span, word] of [["30000", "half a minute"], ["600000", "ten minutes"]]) {
    await page.getByLabel("Span").selectOption(span);
    await page.waitForTimeout(1000);
    tell(`${what}, ${word}`, await frames(page));
  }
}

const names = Array.from({ length: SERVERS }, (_, index) => `server-${index}`);
const servers = names.map((name, index) => ({ name, healthy: true, enabled: true, steps_per_second: 9, overhead_seconds: 0, sigma: 0, max_pixels: 9, running: "1", waiting: index % 4, backlog_seconds: 9, failed_in_a_row: 0 }));

/** Requests in brief, so that each server has a queue that begins ten minutes ago. */
function briefs() {
  const now = Date.now(), each = REQUESTS / SERVERS, long = 13_000;
  const date = time => new Date(time).toISOString();
  return Array.from({ length: REQUESTS }, (_, index) => {
    const lane = Math.floor(index / each), place = index % each, start = now - 600_000 + place * long + lane * 50, finish = start + 12_000;
    const state = finish < now ? "completed" : start < now ? "running" : "waiting", late = index % 5 === 0 ? 2 : 0;
    return { id: `${index}`, own: index % 7 === 0, owner: "ann", state, server: names[lane], steps: 10 + (index % 40), penalty: ["linear", "quadratic", "square_root"][index % 3],
      accepted_at: date(start - 9000), decided_at: date(start - 9000), due: date(finish - 1000 * late + 3000 * (late === 0)), start: date(start), finish: date(finish), progress: state === "running" ? 0.5 : undefined,
      tardiness_seconds: late, quality: 50 + (index % 10), reward: 40, attempts: 1 };
  });
}

/** A stand-in for the gateway that serves the real page and a stream of its own. */
async function stage(house) {
  const all = briefs(), event = (name, data) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
  const site = { version: "0", now: new Date().toISOString(), demo: false, owner: "ann", operator: true, keys: false, policy: "myopic", shadow_policy: null, tardiness_weight: 1,
    defaults: { width: 64, height: 64, due_in_seconds: 9, penalty: "linear", model: null }, limits: { prompt_bytes: 99, side: 64, due_in_seconds: 99 }, models: [] };
  const server = createServer(async (request, response) => {
    if (request.url === "/v1/workshop") {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(event("site", site) + event("servers", { servers }));
      for (let index = 0; index < all.length; index += 250) response.write(event("requests", { requests: all.slice(index, index + 250) }));
      const live = all.filter(({ state }) => state !== "completed");
      let turn = 0;
      const timer = setInterval(() => {
        const changed = Array.from({ length: 20 }, () => live[turn++ % live.length]);
        for (const brief of changed) if (brief.state === "running") brief.progress = (brief.progress + 0.01) % 1;
        response.write(event("requests", { requests: changed }));
        if (turn % 60 === 0) response.write(event("servers", { servers: servers.map(server => ({ ...server, waiting: turn % 7 })) }));
      }, 200);
      request.on("close", () => clearInterval(timer));
    } else if (request.url.startsWith("/v1/")) {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ requests: [], next: null }));
    } else {
      const answer = await fetch(house.url + request.url);
      response.writeHead(answer.status, { "content-type": answer.headers.get("content-type"), "content-security-policy": answer.headers.get("content-security-policy") });
      response.end(Buffer.from(await answer.arrayBuffer()));
    }
  });
  await new Promise(done => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } };
}

async function measureLive() {
  const house = await Atelier.serve(configuration()), scene = await stage(house);
  const page = await visit(scene);
  await live(page);
  await page.waitForTimeout(2000);
  await measure("live", page);
  await page.leave();
  scene.close();
  await house.stop();
}

async function measureReplay() {
  const rows = ["request,server,steps,arrival,start,finish,due,tardiness,penalty,quality,reward"];
  for (let index = 0; index < REQUESTS; index++) {
    const arrival = 0.06 * index, late = index % 5 === 0 ? 2 : 0, finish = arrival + 11;
    rows.push(`${index},${index % SERVERS},${10 + (index % 40)},${arrival},${arrival + 1},${finish},${finish - late},${late},${late},50,${50 - late}`);
  }
  const file = join(folder, "many.csv");
  writeFileSync(file, `${rows.join("\n")}\n`);
  const house = await Atelier.start("replay", file), page = await visit(house);
  await page.getByLabel("Speed").selectOption("20");
  await page.getByRole("button", { name: "Play" }).click();
  await measure("replay", page);
  await page.leave();
  await house.stop();
}

await measureLive();
await measureReplay();
await close();
