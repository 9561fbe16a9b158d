import { Problem, Unreachable } from "./problem.js";
import { routes } from "./generated/routes.js";
import { Session, type Tokens } from "./session.js";
import type { Answer, ClientOptions, OperationId, Request, Schemas } from "./types.js";

const ATTEMPT_MS = 20_000;
const UPLOAD_MS = 600_000;
const UNAVAILABLE = [429, 502, 503, 504];

/** Sends requests, with the credentials of the session, and again where that is safe. */
export class Transport {
  readonly session: Session;
  readonly #fetch: typeof fetch;
  readonly #budget: number;

  constructor(private readonly options: ClientOptions) {
    this.#fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
    this.#budget = options.retry?.budgetMs ?? 30_000;
    const refresh = async (token: string | undefined) =>
      (await this.call("auth.refresh", token ? { body: { refresh_token: token } } : {})).body as Tokens;
    this.session = new Session(options.session, `session of ${options.baseUrl}`, refresh, options.storage);
  }

  /**
   * The answer to an operation.
   * @throws Problem, Unreachable, SessionChanged, or the reason of the signal.
   */
  async call(id: OperationId, call: Request = {}, open = false): Promise<Answer> {
    const { method, path, marks } = routeOf(id);
    open ||= marks.includes("open");
    const again = method !== "POST" || id === "auth.refresh" || call.headers?.["Idempotency-Key"] !== undefined;
    const url = this.#url(path, call);
    const signal = open ? (call.signal ?? new AbortController().signal) : this.bound(call.signal);
    const until = performance.now() + this.#budget;
    let refreshed = false;
    for (let attempt = 0; ; attempt++) {
      const { turn, token } = open ? { turn: "", token: undefined } : await this.session.credentials();
      signal.throwIfAborted();
      let answer: Answer | undefined;
      let cause: unknown;
      try {
        answer = await this.#attempt(url, method, call, token, open, signal);
      } catch (error) {
        cause = error;
      }
      this.session.current(); // another tab may have signed out while the answer was on its way
      signal.throwIfAborted();
      if (answer && answer.status < 400) return answer;
      if (answer?.status === 401 && !open && !refreshed) {
        refreshed = true;
        if (await this.session.refresh(turn)) continue;
      }
      const pause = this.#pause(answer, attempt, again);
      if (pause === undefined || performance.now() + pause > until) throw failure(answer, cause, call);
      await sleep(pause, signal);
    }
  }

  /** The signal of a caller, also aborted when somebody else signs in: a sequence of requests is one person's. */
  bound(signal?: AbortSignal): AbortSignal {
    return AbortSignal.any([this.session.signal(), signal].filter((one) => one !== undefined));
  }

  async #attempt(
    url: string,
    method: string,
    { body, file, headers, onSent }: Request,
    token: string | undefined,
    open: boolean,
    signal: AbortSignal,
  ): Promise<Answer> {
    const byCookie = this.options.session === "cookie";
    const all = new Headers();
    const set = (name: string, value: string | undefined) => value === undefined || all.set(name, value);
    set("Content-Type", file ? file.type : body === undefined ? undefined : "application/json");
    set("Authorization", token && `Bearer ${token}`);
    set("X-CSRF", byCookie && method !== "GET" ? "1" : undefined);
    set("X-Session", byCookie && open ? "cookie" : undefined);
    Object.entries(headers ?? {}).forEach(([name, value]) => set(name, value));
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(file ? UPLOAD_MS : ATTEMPT_MS)]);
    const content = file ?? (body === undefined ? null : JSON.stringify(body));
    const init = { method, headers: all, signal: inTime, credentials: byCookie ? "include" : "omit", body: content } as const;
    const response =
      onSent && file && globalThis.XMLHttpRequest
        ? await upload(url, init, file, onSent)
        : await this.#fetch(url, { ...init, cache: token || byCookie ? "no-store" : "default" });
    const json = /[/+]json/.test(response.headers.get("Content-Type") ?? "");
    const read = json ? await response.json() : response.status === 204 ? undefined : await response.blob();
    return { status: response.status, headers: response.headers, body: read };
  }

  #url(template: string, { path, query }: Request): string {
    const names = (path ?? {}) as Record<string, string>;
    const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(names[name] ?? ""));
    const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
    const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
    return this.options.baseUrl.replace(/\/$/, "") + filled + (search && `?${search}`);
  }

  /** Milliseconds until the request is sent again; undefined if it must not be. */
  #pause(answer: Answer | undefined, attempt: number, again: boolean): number | undefined {
    const seconds = answer && retryAfter(answer);
    // Unsent for certain, or harmless twice. A 429 of a sign-in is for whoever typed the password.
    if (answer && !UNAVAILABLE.includes(answer.status)) return undefined;
    if (!again && !(answer?.status === 503 && seconds !== undefined)) return undefined;
    return seconds !== undefined ? seconds * 1000 : Math.min(250 * 2 ** attempt, 4_000) * (0.5 + Math.random() / 2);
  }
}

/** Method, path and marks. */
export function routeOf(id: OperationId) {
  const [method = "", path = "", ...marks] = routes[id].split(" ");
  return { method, path, marks };
}

/**
 * Wait.
 * @throws the reason of the signal.
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => (clearTimeout(timer), reject(signal?.reason));
    const timer = setTimeout(() => (signal?.removeEventListener("abort", stop), resolve()), ms);
    signal?.aborted ? stop() : signal?.addEventListener("abort", stop, { once: true });
  });
}

export function retryAfter(answer: Answer): number | undefined {
  const text = answer.headers.get("Retry-After");
  return text && /^\d+$/.test(text) ? Number(text) : undefined;
}

function failure(answer: Answer | undefined, cause: unknown, call: Request): Error {
  if (!answer) return new Unreachable(cause, call.headers?.["Idempotency-Key"]);
  const told = answer.body as Schemas["Problem"] | undefined;
  if (told && "code" in told) return new Problem(told, retryAfter(answer) ?? told.retry_after);
  const { status, headers } = answer; // not from the API, but from something in front of it
  const request_id = headers.get("X-Request-ID") ?? "";
  return new Problem({ type: "about:blank", title: `HTTP ${status}`, status, detail: "", code: `http_${status}`, request_id });
}

/** Send a file with XMLHttpRequest: `fetch` does not tell how much is sent. */
function upload(
  url: string,
  init: { method: string; headers: Headers; signal: AbortSignal; credentials: RequestCredentials },
  file: Blob,
  onSent: (sent: number, total: number) => void,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(init.method, url);
    request.withCredentials = init.credentials === "include";
    request.responseType = "blob";
    init.headers.forEach((value, name) => request.setRequestHeader(name, value));
    request.upload.onprogress = (event) => onSent(event.loaded, event.total);
    request.onload = () => {
      const lines = request.getAllResponseHeaders().trim().split("\r\n");
      const headers = new Headers(lines.map((line) => line.split(/: (.*)/s, 2) as [string, string]));
      resolve(new Response(request.status === 204 ? null : request.response, { status: request.status, headers }));
    };
    request.onerror = () => reject(new TypeError("The upload failed."));
    request.onabort = () => reject(init.signal.reason);
    init.signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}
