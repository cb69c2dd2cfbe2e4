// Calls to the gateway. All addresses are relative: it may stand below a path of its own.

/** What the gateway said instead of doing it. */
export class Problem extends Error {
  constructor(status, reason, detail, after) {
    super(detail);
    Object.assign(this, { status, reason, after });
  }
}

const NAME = "api-key";
export const key = {
  /** How often it has changed: what was asked under another one is nobody's business any more. */
  changes: 0,
  get: () => sessionStorage.getItem(NAME) ?? "",
  set(text) {
    this.changes++;
    if (text) sessionStorage.setItem(NAME, text);
    else sessionStorage.removeItem(NAME);
  },
};

/** The answer to a call, if it is a good one. */
export async function call(method, path, { body, signal } = {}) {
  // Headers can hold nothing else, and so can no key that the gateway knows.
  if (/[^\x20-\x7e]/.test(key.get())) throw new Problem(401, "unknown_key", "The API key has characters that no key has.");
  const headers = {};
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path.replace(/^\//, ""), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "The gateway cannot be reached.");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const detail = said.detail ?? `${response.status} ${response.statusText}`;
  throw new Problem(response.status, said.reason, said.field ? `${said.field}: ${detail}` : detail, Number(response.headers.get("retry-after")));
}

export const get = (path, options) => call("GET", path, options).then(response => response.json());
