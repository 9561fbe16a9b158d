import { Problem, SessionChanged } from "./problem.js";
import type { KeyValues, Schemas, SessionKind } from "./types.js";

export type Tokens = Partial<Pick<Schemas["TokenPair"], "access_token" | "refresh_token" | "expires_in">>;
/** Sends the refresh token, or the cookies if there is none. */
type Refresh = (token: string | undefined) => Promise<Tokens>;

/** What all tabs share. `epoch` is another for each sign-in and sign-out, `turn` for each refresh. */
interface Kept {
  readonly epoch: string;
  readonly turn: string;
  readonly signedIn: boolean;
  readonly tokens: Tokens;
}

const LOCK_PATIENCE_MS = 5_000;
const LOOK_AT = ["storage", "pageshow"];
const NOBODY: Kept = { epoch: "", turn: "", signedIn: false, tokens: {} };

/** A random name, also where `crypto.randomUUID` is missing because the page is not served over TLS. */
export function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Aborted as soon as one of them is. */
export function either(...signals: (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any(signals.filter((one) => one !== undefined));
}

/** Who is signed in, in step with the other tabs. */
export class Session {
  #kept = NOBODY;
  #raw: string | null = null;
  #refreshAt = Infinity;
  #ended = new AbortController();
  readonly #refreshing = new Map<string, Promise<boolean>>();
  readonly #listeners = new Set<() => void>();
  readonly #storage: KeyValues | undefined;
  readonly #look = () => void this.current();

  constructor(
    readonly kind: SessionKind,
    private readonly name: string,
    private readonly send: Refresh,
    storage: KeyValues | undefined,
  ) {
    if (kind === "memory") return;
    this.#storage = storage ?? browserStorage();
    this.current();
    this.#refreshAt = Infinity; // when the tokens of an earlier page expire is not known here: a 401 will tell
    // Not by BroadcastChannel: its message may come before this tab sees what the other tab wrote. A page that the
    // browser kept for the back button was told nothing meanwhile.
    for (const event of LOOK_AT) globalThis.addEventListener?.(event, this.#look);
  }

  /** Names the time from one sign-in or sign-out to the next, as far as this tab knows. */
  get epoch(): string {
    return this.#kept.epoch;
  }

  /** The state now. What another tab wrote since the last look is taken over, and ends the requests of an old epoch. */
  current(): Kept {
    const raw = this.#storage ? this.#storage.getItem(this.name) : this.#raw;
    if (raw !== this.#raw) this.#take(raw, raw ? (JSON.parse(raw) as Kept) : NOBODY);
    return this.#kept;
  }

  /** The signal of a caller, also aborted when the epoch ends: a sequence of requests is one person's. */
  bound(signal?: AbortSignal): AbortSignal {
    this.current();
    return either(this.#ended.signal, signal);
  }

  /** A new epoch: somebody signed in or out. */
  begin(signedIn: boolean, tokens: Tokens = {}): void {
    this.#write({ epoch: randomName(), turn: randomName(), signedIn, tokens });
  }

  /** Other tokens of the same session. */
  renew(tokens: Tokens): void {
    this.#write({ ...this.current(), signedIn: true, turn: randomName(), tokens });
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    for (const event of LOOK_AT) globalThis.removeEventListener?.(event, this.#look);
  }

  /** What a request carries. Tokens that are about to expire, by a clock that nobody sets, are refreshed first. */
  async credentials(): Promise<{ turn: string; token: string | undefined }> {
    if (performance.now() > this.#refreshAt) await this.refresh(this.#kept.turn);
    const { turn, tokens } = this.current();
    return { turn, token: tokens.access_token };
  }

  /** Replace the tokens of that turn, once for all who ask, in all tabs; false if the session has ended. */
  refresh(turn: string): Promise<boolean> {
    const renewed =
      this.#refreshing.get(turn) ?? this.#alone(() => this.#renew(turn)).finally(() => this.#refreshing.delete(turn));
    this.#refreshing.set(turn, renewed);
    return renewed;
  }

  async #renew(turn: string): Promise<boolean> {
    const before = this.current();
    if (before.turn !== turn) return before.signedIn; // another tab was faster
    if (this.kind !== "cookie" && !before.tokens.refresh_token) return false;
    const tokens = await this.send(before.tokens.refresh_token).catch((error: unknown) => {
      if (error instanceof Problem && [401, 415].includes(error.status)) return undefined; // 415: no cookie either
      throw error;
    });
    if (this.current().turn !== turn) return this.#kept.signedIn; // signed out meanwhile: the answer is dropped
    if (tokens) this.renew(tokens);
    else if (before.signedIn) this.begin(false);
    return tokens !== undefined;
  }

  /** Hold the lock of all tabs. One that is not given back must not hang the application: after a while go on without
   *  it. Two refreshes at once do no harm, because the API answers both with the same successor. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const locks = this.#storage && globalThis.navigator?.locks;
    if (!locks) return work();
    let begun = false;
    const held = () => ((begun = true), work());
    try {
      return await locks.request(this.name, { signal: AbortSignal.timeout(LOCK_PATIENCE_MS) }, held);
    } catch (error) {
      if (begun) throw error;
      return work();
    }
  }

  #write(kept: Kept): void {
    const raw = JSON.stringify(kept);
    this.#storage?.setItem(this.name, raw);
    this.#take(raw, kept);
  }

  #take(raw: string | null, kept: Kept): void {
    const ended = kept.epoch !== this.#kept.epoch ? this.#ended : undefined;
    const seconds = kept.tokens.expires_in ?? Infinity;
    this.#raw = raw;
    this.#kept = kept;
    this.#refreshAt = performance.now() + 1000 * (seconds - Math.min(30, seconds / 5));
    if (!ended) return;
    this.#ended = new AbortController();
    ended.abort(new SessionChanged());
    for (const listener of [...this.#listeners]) listener();
  }
}

/** `localStorage`, or nothing where there is none or the user forbids it. */
function browserStorage(): KeyValues | undefined {
  try {
    return globalThis.localStorage ?? undefined;
  } catch {
    return undefined;
  }
}
