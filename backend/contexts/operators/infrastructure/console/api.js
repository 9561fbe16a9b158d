// Requests to the API of this origin, with the session cookie.

const { api, root } = document.body.dataset;
let refreshing = null;
let ahead = 0;

/** The time by the server's clock, in milliseconds: that of this machine may be wrong. */
export const now = () => Date.now() - ahead;

/** What the API refused: the problem details of its answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.status = status;
    this.code = body.code || "";
    this.requestId = body.request_id || "";
    this.reasons = (body.errors || []).map((one) => `${one.parameter || one.pointer}: ${one.detail}`);
  }
}

/** Nobody is signed in, or the session has ended. */
export class SignedOut extends Error {}

/** The API does not answer, or cannot at present. */
export class Away extends Error {}

export const get = (path, query) => call("GET", path, { query });
export const post = (path, body) => call("POST", path, { body });
export const put = (path, body) => call("PUT", path, { body });
export const remove = (path) => call("DELETE", path, {});

/** The answer's JSON; null for an empty answer. A session that has expired is renewed once. */
async function call(method, path, options) {
  let answer = await send(method, path, options);
  if (answer.status === 401 && !path.startsWith("/auth/")) {
    if (!(await renewed())) throw new SignedOut();
    answer = await send(method, path, options);
  }
  return read(answer);
}

/** A file of the API, as a Blob. */
export async function download(path, query) {
  await get("/users/me"); // renews the session first
  const answer = await send("GET", path, { query, accept: "text/csv" });
  return answer.ok ? answer.blob() : read(answer);
}

/** Sign in: null, or a challenge that needs the mailed code. */
export async function signIn(name, password) {
  const key = name.includes("@") ? "email" : "username";
  const found = await post("/auth/login", { [key]: name, password });
  return found.challenge || null;
}

export const signInWithCode = (challenge, code) => post("/auth/verify-code", { challenge, code });

export async function signOut() {
  try {
    await call("POST", "/auth/logout", {});
  } catch (error) {
    if (!(error instanceof Problem)) throw error; // refused: it has ended already
  }
}

/** What the API depends on, each `up` or `down`; null if the API does not answer. */
export async function health() {
  try {
    return await (await fetch(`${root}/health/ready`, { cache: "no-store" })).json();
  } catch {
    return null;
  }
}

async function send(method, path, { query, body, accept = "application/json" }) {
  const parameters = new URLSearchParams(Object.entries(query || {}).filter(([, value]) => value !== undefined && value !== null));
  const headers = { Accept: accept, "X-Session": "cookie" };
  if (method !== "GET") Object.assign(headers, { "X-CSRF": "1", Prefer: "wait=10" });
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(`${api}${path}${parameters.size ? `?${parameters}` : ""}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
    });
    compareClocks(answer);
    return answer;
  } catch {
    throw new Away("The API does not answer.");
  }
}

/** `Date` has whole seconds and was written some time ago: less than five are no difference. */
function compareClocks(answer) {
  const found = Date.now() - new Date(answer.headers.get("Date") ?? NaN);
  ahead = Math.abs(found) > 5000 ? found : 0;
}

async function read(answer) {
  const text = await answer.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    throw new Away(`Something between here and the API answered ${answer.status}.`); // a proxy's page
  }
  if (answer.ok) return body;
  if (answer.status >= 502) throw new Away(body?.detail || `HTTP ${answer.status}`);
  throw new Problem(answer.status, body || {});
}

/** Whether the session could be renewed. Requests at the same time share one renewal. */
async function renewed() {
  refreshing ??= send("POST", "/auth/refresh", { body: {} }).finally(() => {
    refreshing = null;
  });
  const answer = await refreshing;
  if (answer.status >= 500) throw new Away(`HTTP ${answer.status}`);
  return answer.ok;
}
