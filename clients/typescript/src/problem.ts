import type { ProblemCode } from "./generated/api.js";
import type { Schemas } from "./types.js";

type Details = Schemas["Problem"];

/** An error that the API answered with (RFC 9457). Branch on `code`. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly code: ProblemCode | (string & {});
  readonly status: number;
  readonly title: string;
  /** For people: what went wrong, without internals. */
  readonly detail: string;
  /** A page that explains the code. */
  readonly type: string;
  /** Quote it when you report the problem. */
  readonly requestId: string;
  readonly errors: NonNullable<Details["errors"]>;
  /** Seconds until the next try may succeed, if the API says so. */
  readonly retryAfter: number | undefined;

  constructor(details: Details, retryAfter = details.retry_after) {
    super(`${details.code}: ${details.detail || details.title}`);
    this.code = details.code;
    this.status = details.status;
    this.title = details.title;
    this.detail = details.detail;
    this.type = details.type;
    this.requestId = details.request_id;
    this.errors = details.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /** The first reason for each field, such as `{email: "Not a valid email address."}`; "" is the body as a whole. */
  fields(): Record<string, string> {
    const found: Record<string, string> = {};
    for (const { pointer, parameter, detail } of this.errors) {
      found[parameter ?? (pointer ?? "").replace(/^\//, "")] ??= detail;
    }
    return found;
  }
}

/** Whether it is a problem, and if codes are given, one of these. */
export function isProblem(error: unknown, ...codes: ProblemCode[]): error is Problem {
  return error instanceof Problem && (codes.length === 0 || codes.includes(error.code as ProblemCode));
}

/** No answer within the budget. A command with this `key` may still take effect: repeat it with the same key. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
  constructor(
    cause: unknown,
    readonly key?: string,
  ) {
    super("The API could not be reached.", { cause });
  }
}

/** Another session began, or this one ended, before the answer came: the answer is dropped. */
export class SessionChanged extends Error {
  override readonly name = "SessionChanged";
  constructor() {
    super("The session has changed.");
  }
}
