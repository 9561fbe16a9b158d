import { Problem, Unreachable } from "./problem.js";
import { routes } from "./generated/routes.js";
import { either, Session, type Tokens } from "./session.js";
import type { Answer, ClientOptions, OperationId, Request, Schemas } from "./types.js";

const ATTEMPT_MS = 20_000;
const UPLOAD_MS = 600_000;
const UNAVAILABLE = [429, 502, 503, 504];

/** Sends requests, with the credentials of the session, and again where that is safe. */
export class Transport {
  readonly session: Session;

  constructor(private readonly options: ClientOptions) {
    const refresh = async (token: string | undefined) =>
      (await this.call("auth.refresh", token ? { body: { refresh_token: token } } : {})).body as Tokens;
    this.session = new Session(options.session, `session of ${options.baseUrl}`, refresh, options.storage);
  }

  /**
   * The answer to an operation. Where `open` is set, it is asked for without the session.
   * @throws Problem, Unreachable, SessionChanged, or the reason of the signal.
   */
  async call(id: OperationId, call: Request = {}, open = routeOf(id).marks.includes("open")): Promise<Answer> {
    const key = call.headers?.["Idempotency-Key"];
    const again = routeOf(id).method !== "POST" || /^auth\.(refresh|logout)/.test(id) || key !== undefined;
    const signal = open ? either(call.signal) : this.session.bound(call.signal);
    const until = performance.now() + (this.options.retry?.budgetMs ?? 30_000);
    let refreshed = false;
    for (let attempt = 0; ; attempt++) {
      const { turn, token } = open ? { turn: "", token: undefined } : await this.session.credentials();
      signal.throwIfAborted();
      const sent = this.#attempt(id, { ...call, signal }, token, open);
      const answer = await sent.catch((error) => (error instanceof Problem ? error : new Unreachable(error, key)));
      this.session.current(); // another tab may have signed out while the answer was on its way
      signal.throwIfAborted();
      if (!(answer instanceof Error)) return answer;
      const { status, retry_after } = answer as Partial<Problem>;
      if (status === 401 && !open && !refreshed) {
        refreshed = true;
        if (await this.session.refresh(turn)) continue;
      }
      const pause = pauseBefore(attempt + 1, again, status, retry_after);
      if (pause === undefined || performance.now() + pause > until) throw answer;
      await sleep(pause, signal);
    }
  }

  async #attempt(id: OperationId, call: Request, token: string | undefined, open: boolean): Promise<Answer> {
    const { body, file, onSent } = call;
    const { method } = routeOf(id);
    const byCookie = this.session.kind === "cookie";
    const given = {
      "Content-Type": file ? file.type : body === undefined ? undefined : "application/json",
      Authorization: token && `Bearer ${token}`,
      "X-CSRF": byCookie && method !== "GET" ? "1" : undefined,
      "X-Session": byCookie && open ? "cookie" : undefined,
      ...call.headers,
    };
    const init = {
      method,
      headers: Object.entries(given).filter((one): one is [string, string] => one[1] !== undefined),
      body: file ?? (body === undefined ? null : JSON.stringify(body)),
      signal: either(call.signal, AbortSignal.timeout(file ? UPLOAD_MS : ATTEMPT_MS)),
      credentials: byCookie ? "include" : "omit",
      cache: token || byCookie ? "no-store" : "default",
    } as const;
    const url = urlOf(this.options.baseUrl, id, call);
    const send = onSent && globalThis.XMLHttpRequest ? uploading(onSent) : (this.options.fetch ?? globalThis.fetch);
    const response = await send(url, init);
    const json = /[/+]json/.test(response.headers.get("Content-Type") ?? "");
    const read = json ? await response.json() : response.status === 204 ? undefined : await response.blob();
    const answer = { status: response.status, headers: response.headers, body: read };
    if (response.ok) return answer;
    throw problemIn(answer);
  }
}

/** Method, path with its parameters, and marks. */
export function routeOf(id: OperationId) {
  const [method = "", path = "", ...marks] = routes[id].split(" ");
  const parameters = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name as string);
  return { method, path, parameters, marks };
}

function urlOf(baseUrl: string, id: OperationId, { path, query }: Request): string {
  const names = (path ?? {}) as Record<string, string>;
  const filled = routeOf(id).path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(names[name] ?? ""));
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return baseUrl.replace(/\/$/, "") + filled + (search && `?${search}`);
}

/**
 * Wait.
 * @throws the reason of the signal.
 */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal.removeEventListener("abort", stop), resolve()), ms);
    signal.aborted ? stop() : signal.addEventListener("abort", stop, { once: true });
  });
}

export function retryAfter({ headers }: Answer): number | undefined {
  const text = headers.get("Retry-After");
  return text && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Milliseconds until the request is sent again; undefined if it must not be. */
function pauseBefore(attempt: number, again: boolean, status?: number, seconds?: number): number | undefined {
  // Unsent for certain, or harmless twice. A 429 of a sign-in is for whoever typed the password.
  if (status !== undefined && !UNAVAILABLE.includes(status)) return undefined;
  if (!again && !(status === 503 && seconds !== undefined)) return undefined;
  return seconds !== undefined ? seconds * 1000 : Math.min(125 * 2 ** attempt, 4_000) * (0.5 + Math.random() / 2);
}

function problemIn(answer: Answer): Problem {
  const { status, headers, body } = answer;
  const seconds = retryAfter(answer);
  const request_id = headers.get("X-Request-ID") ?? "";
  // Without a code it is not from the API, but from something in front of it.
  const other = { type: "about:blank", title: `HTTP ${status}`, status, detail: "", code: `http_${status}`, request_id };
  const told = typeof body === "object" && body && "code" in body ? (body as Schemas["Problem"]) : other;
  return new Problem({ ...told, ...(seconds !== undefined && { retry_after: seconds }) });
}

/** As `fetch`, which does not tell how much is sent. */
function uploading(onSent: (sent: number, total: number) => void) {
  type Sent = { method: string; headers: [string, string][]; body: Blob | string | null; signal: AbortSignal; credentials: string };
  return (url: string, { method, headers, body, signal, credentials }: Sent): Promise<Response> =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(method, url);
      request.withCredentials = credentials === "include";
      request.responseType = "blob";
      headers.forEach(([name, value]) => request.setRequestHeader(name, value));
      request.upload.onprogress = ({ loaded, total }) => onSent(loaded, total);
      request.onload = () => {
        const lines = request.getAllResponseHeaders().trim().split("\r\n");
        const answered = lines.map((line) => line.split(/: (.*)/s, 2) as [string, string]);
        resolve(new Response(request.response as Blob, { status: request.status, headers: answered }));
      };
      request.onerror = () => reject(new TypeError("The upload failed."));
      request.onabort = () => reject(signal.reason);
      signal.addEventListener("abort", () => request.abort(), { once: true });
      request.send(body);
    });
}
