// How the page looks to those who cannot see it, and to the documentation.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds that matters. */
export async function serious(page) {
  // As the browser's own tools would do it: the page itself may run nothing that is not its own.
  const session = await page.context().newCDPSession(page);
  const run = async expression => {
    const { result, exceptionDetails } = await session.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    assert(!exceptionDetails, exceptionDetails?.exception?.description);
    return result.value;
  };
  await run(`${AXE};0`);
  const found = await run("axe.run().then(({ violations }) => violations.map(({ id, impact, nodes }) => ({ id, impact, at: nodes.map(node => node.target.join(' ')) })))");
  return found.filter(({ impact }) => impact === "serious" || impact === "critical");
}

/** Takes a picture of a page, or of a part of it, for the documentation, if it is asked for. */
export const picture = async (part, name) => {
  if (process.env.PICTURES) await part.screenshot({ path: join(process.env.PICTURES, name) });
};
