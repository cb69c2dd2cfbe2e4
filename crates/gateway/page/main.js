"use strict";
const form = document.getElementById("ask"), note = document.getElementById("note");
form.key.value = sessionStorage.getItem("api-key") || "";
form.key.onchange = () => { sessionStorage.setItem("api-key", form.key.value); refresh(); };

async function call(method, path, body) {
  const headers = { "content-type": "application/json" };
  if (form.key.value) headers.authorization = "Bearer " + form.key.value;
  // The gateway may stand below a path of its own.
  const response = await fetch(path.replace(/^\//, ""), { method, headers, body: body && JSON.stringify(body) });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  throw new Error(problem.detail);
}

// Text is always set as text: prompts come from anybody.
function cell(row, content, number) {
  const td = row.insertCell();
  if (content instanceof Node) td.append(content); else td.textContent = content ?? "";
  if (number) td.className = "n";
  return td;
}
const fixed = (value, digits) => value == null ? "" : value.toFixed(digits);

function bar(share) {
  const outer = document.createElement("div"), inner = document.createElement("i");
  outer.className = "bar";
  inner.style.width = 100 * share + "%";
  outer.append(inner);
  return outer;
}

const pictures = new Map();
function picture(request) {
  const img = document.createElement("img");
  img.alt = "";
  if (!request.result?.image) return "";
  if (!pictures.has(request.id)) {
    pictures.set(request.id, call("GET", request.result.image).then(r => r.blob()).then(b => URL.createObjectURL(b)));
  }
  pictures.get(request.id).then(url => { img.src = url; }, () => {});
  return img;
}

// What can be asked for; nothing to choose where no models are configured.
function offerModels(servers) {
  const names = [...new Set(servers.flatMap(server => (server.models ?? []).map(model => model.name)))].sort();
  if (names.join() === [...form.model.options].map(option => option.value).join()) return;
  form.model.replaceChildren(...names.map(name => new Option(name)));
  form.model.hidden = names.length === 0;
}

function showServers(servers) {
  offerModels(servers);
  const body = document.getElementById("servers");
  body.replaceChildren();
  for (const server of servers) {
    const row = body.insertRow();
    cell(row, server.name);
    const busy = server.running ? "running" : server.preloading ? "loading " + server.preloading : "idle";
    const state = !server.healthy ? "unhealthy" : !server.enabled ? "draining" : busy;
    cell(row, state).title = server.trouble || "";
    const loaded = (server.models ?? []).filter(model => model.loaded);
    cell(row, loaded.map(model => model.name).join(", "));
    const { steps_per_second, overhead_seconds } = loaded[0] ?? server;
    cell(row, fixed(steps_per_second, 1), true);
    cell(row, fixed(overhead_seconds, 2) + " s", true);
    cell(row, server.waiting, true);
    cell(row, fixed(server.backlog_seconds, 1) + " s", true);
    const button = document.createElement("button");
    button.textContent = server.enabled ? "drain" : "enable";
    button.onclick = () => act(() => call("PATCH", "/v1/servers/" + server.name, { enabled: !server.enabled }));
    cell(row, button);
  }
}

function showRequests(requests) {
  const body = document.getElementById("requests");
  body.replaceChildren();
  for (const request of requests) {
    const row = body.insertRow(), decision = request.decision, result = request.result;
    cell(row, picture(request));
    cell(row, request.prompt).title = request.model ?? "";
    cell(row, request.state === "running" ? bar(request.progress) : request.state).title = request.reason || "";
    cell(row, result?.server ?? decision?.server).title = decision?.why || "";
    cell(row, result?.steps ?? decision?.steps, true);
    cell(row, fixed(result?.quality ?? decision?.expected_quality, 1), true);
    const late = result ? result.tardiness_seconds : decision?.predicted_tardiness_seconds;
    // What is shown as 0.0 s is not marked.
    cell(row, late == null ? "" : fixed(late, 1) + " s", true).classList.toggle("late", late >= 0.05);
  }
}

async function refresh() {
  try {
    const [policies, servers, list] = await Promise.all([
      call("GET", "/v1/policy").then(r => r.json()),
      call("GET", "/v1/servers").then(r => r.json()),
      call("GET", "/v1/requests?limit=25").then(r => r.json()),
    ]);
    document.getElementById("policy").textContent = "Decided by " + policies.policy +
      (policies.shadow_policy ? ", with " + policies.shadow_policy + " as its shadow." : ".");
    showServers(servers.servers);
    showRequests(list.requests);
  } catch (error) { note.textContent = error.message; }
}
async function act(what) {
  note.textContent = "";
  try { await what(); } catch (error) { note.textContent = error.message; }
  refresh();
}
form.onsubmit = event => {
  event.preventDefault();
  act(() => call("POST", "/v1/requests", {
    prompt: form.prompt.value, due_in_seconds: Number(form.due.value), penalty: form.penalty.value,
    model: form.model.value || null,
  }));
};
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 1000);
