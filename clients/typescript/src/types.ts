import type { components, operations } from "./generated/schema.js";

export type Schemas = components["schemas"];
export type Operation = Schemas["Operation"];
export type Progress = Schemas["Progress"];
export type OperationId = keyof operations;

type Responses<K extends OperationId> = operations[K]["responses"];
type Content<R> = R extends { content: { "application/json": infer B } }
  ? B
  : R extends { content: { "text/csv": unknown } }
    ? Blob
    : undefined;
type First<R, S extends number> = S extends keyof R ? Content<R[S]> : never;

/** What an operation answers when it has done its work. */
export type Answered<K extends OperationId> = 200 | 201 | 204 extends infer S
  ? [S & keyof Responses<K>] extends [never]
    ? First<Responses<K>, 202>
    : First<Responses<K>, S & keyof Responses<K> & number>
  : never;
type Asked<K extends OperationId> = NonNullable<operations[K]["requestBody"]>;
export type Body<K extends OperationId> = [Asked<K>] extends [never]
  ? undefined
  : Asked<K> extends { content: { "application/json": infer B } }
    ? B
    : undefined;
export type Query<K extends OperationId> = NonNullable<operations[K]["parameters"]["query"]>;
export type ItemOf<K extends OperationId> = Answered<K> extends { items: (infer I)[] } ? I : never;

/** Where the tokens are: in cookies that no script reads, in this tab's memory, or in `localStorage`. */
export type SessionKind = "cookie" | "memory" | "local";
export type KeyValues = Pick<Storage, "getItem" | "setItem" | "removeItem">;

export interface ClientOptions {
  /** Where the API is, without `/api/v1`; "" for the origin of the page. */
  baseUrl: string;
  session: SessionKind;
  /** How long a request that gets no answer, or 429 or 503, is repeated: 30 s by default. */
  retry?: { budgetMs: number };
  /** In place of the global `fetch`. */
  fetch?: typeof fetch;
  /** In place of `localStorage`. */
  storage?: KeyValues;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

export interface CommandOptions extends CallOptions {
  /** Names the command, however often it is repeated. One is made if none is given. */
  idempotencyKey?: string | undefined;
  /** The ETag of the version to change. */
  etag?: string | undefined;
}

export interface WaitOptions extends CallOptions {
  onProgress?: ((progress: Progress) => void) | undefined;
}

export interface ImportOptions extends CommandOptions, WaitOptions {
  onSent?: ((sent: number, total: number) => void) | undefined;
  /** By the name of the file, or CSV. */
  format?: "csv" | "ndjson";
}

/** Sends a command and waits for its outcome; with `start`, until it is accepted. */
export interface Command<A extends unknown[], T> {
  (...args: A): Promise<T>;
  start(...args: A): Promise<Handle<T>>;
}

/** A command that was accepted. */
export interface Handle<T> {
  /** Keep it, and `api.operations.resume(id)` finds the command again, for 30 days. */
  readonly id: string;
  /** Its Idempotency-Key; "" for one that was resumed. */
  readonly key: string;
  status(options?: CallOptions): Promise<Operation>;
  /**
   * The result.
   * @throws Problem why the command failed.
   */
  wait(options?: WaitOptions): Promise<T>;
  /**
   * End it, unless a worker was faster.
   * @throws Problem `operation_finished` if one was.
   */
  cancel(options?: CallOptions): Promise<Operation>;
}

/** A resource in one version, and what changes it. */
export interface Resource<U extends OperationId> {
  readonly data: Answered<U>;
  readonly etag: string;
  /**
   * Change the given fields of this version.
   * @throws Problem `stale_version` if it has changed meanwhile, and `onConflict` is not given or gives up.
   */
  update(changes: Body<U>, options?: UpdateOptions<U>): Promise<Resource<U>>;
}

export interface UpdateOptions<U extends OperationId> extends CallOptions {
  /** From your changes and the version that won, the changes to make to that one; nothing gives up. */
  onConflict?: (mine: Body<U>, theirs: Answered<U>) => Body<U> | undefined;
}

export interface SignedIn {
  kind: "signed-in";
  /** An administrator should turn two-step sign-in on. */
  twoStepMissing: boolean;
}

/** A code was mailed. */
export interface CodeSent {
  kind: "code";
  /** Seconds. */
  expiresIn: number;
  /** @throws Problem `invalid_code`. */
  answer(code: string, options?: CallOptions): Promise<SignedIn>;
  resend(options?: CallOptions): Promise<void>;
}

/** An account, or a mail with the link that makes it one. */
export type SignedUp = { kind: "created"; user: Schemas["User"] } | { kind: "mailed" };

/** A request as it is sent; for `api.request`, the parts that the OpenAPI document has. */
export interface Request extends CallOptions {
  path?: object | undefined;
  query?: object | undefined;
  body?: unknown;
  headers?: Record<string, string | undefined>;
  file?: Blob | undefined;
  onSent?: ImportOptions["onSent"];
}

export interface RequestOf<K extends OperationId> extends CallOptions {
  path?: NonNullable<operations[K]["parameters"]["path"]>;
  query?: Query<K>;
  body?: Body<K>;
  headers?: Record<string, string | undefined>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}
