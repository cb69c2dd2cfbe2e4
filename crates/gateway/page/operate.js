// What only operators may do: choose the policy, drain servers, have the configuration read again.

import { call } from "./api.js";
import { byId, duration, element, say } from "./dom.js";

const put = (path, body) => call("PUT", path, { body });

async function act(what, done) {
  say(byId("operate-problem"), "");
  say(byId("operated"), "");
  try { say(byId("operated"), done(await what())); } catch (error) { say(byId("operate-problem"), error.message); }
}

export class Operate {
  #form = byId("policy-form");
  #policy = "";

  constructor() {
    this.#form.addEventListener("submit", event => {
      event.preventDefault();
      const policy = this.#form.policy.value.trim();
      act(() => put("v1/policy", { policy }), () => `${policy} decides from now on.`);
    });
    byId("reload-form").addEventListener("submit", event => {
      event.preventDefault();
      act(async () => (await call("PUT", "v1/configuration/reload")).json(), said);
    });
  }

  configure({ operator, policy }) {
    byId("operate").hidden = byId("statistics").hidden = !operator;
    if (policy !== this.#policy) this.#form.policy.value = this.#policy = policy;
  }

  /** Nothing is shown any more. */
  forget() {
    byId("operate").hidden = byId("statistics").hidden = true;
    this.setKeys({ keys: [] });
    for (const id of ["operated", "operate-problem"]) say(byId(id), "");
  }

  setKeys({ keys }) {
    const cell = text => element("td", { class: "n" }, text);
    byId("keys").tBodies[0].replaceChildren(...keys.map(key => element("tr", {},
      element("th", { scope: "row" }, key.operator ? `${key.name} (operator)` : key.name),
      cell(key.accepted), cell(key.waiting_or_running), cell(key.completed), cell(key.late), cell(duration(key.server_seconds)),
      cell(key.requests_per_minute === null ? "no limit" : `${Math.floor(key.left_this_minute)} of ${key.requests_per_minute}`))));
  }
}

/** What a reload has changed, in words. */
function said(changes) {
  const parts = Object.entries(changes).filter(([, what]) => what !== false && what !== null && !(Array.isArray(what) && what.length === 0))
    .map(([name, what]) => `${name.replaceAll("_", " ")}: ${Array.isArray(what) ? what.join(", ") : what === true ? "changed" : what}`);
  return parts.length ? `The configuration was read again. ${parts.join("; ")}.` : "The configuration was read again, and nothing is different.";
}

/** Fills the cell of a server's name; operators have a lever in it. */
export function serverCell(item, server, operator) {
  let parts = item.parts;
  if (!parts) {
    const lever = element("button", { class: "lever" });
    item.parts = parts = { name: element("span", { class: "name" }), state: element("span", { class: "doing" }), lever };
    item.append(element("span", { class: "words" }, parts.name, parts.state), lever);
  }
  say(parts.name, server.name);
  parts.name.title = server.name;
  say(parts.state, doing(server));
  parts.state.title = server.trouble ?? "";
  item.className = !server.healthy ? "down" : !server.enabled ? "drained" : server.resting_seconds ? "resting" : "";
  parts.lever.hidden = !operator;
  const act = server.enabled ? "Drain" : "Enable";
  say(parts.lever, act);
  parts.lever.setAttribute("aria-label", `${act} ${server.name}`);
  // Not `disabled`, which would take the focus away.
  parts.lever.onclick = async () => {
    if (parts.lever.ariaDisabled === "true") return;
    parts.lever.ariaDisabled = "true";
    try {
      await call("PATCH", `v1/servers/${encodeURIComponent(server.name)}`, { body: { enabled: !server.enabled } });
      say(byId("note"), "");
    } catch (error) {
      say(byId("note"), error.message);
    }
    parts.lever.ariaDisabled = "false";
  };
}

function doing(server) {
  const waiting = server.waiting ? `, ${server.waiting} wait${server.waiting === 1 ? "s" : ""}` : "";
  if (!server.healthy) return server.trouble ? `does not answer: ${server.trouble}` : "does not answer";
  if (!server.enabled) return `${server.running ? "drains" : "drained"}${waiting}`;
  if (server.resting_seconds) return `rests ${duration(server.resting_seconds)}: jobs keep failing`;
  if (server.preloading) return `loads ${server.preloading}${waiting}`;
  return (server.running ? "runs" : "idle") + waiting;
}
