import type { ProblemCode } from "./generated/api.js";
import type { Schemas } from "./types.js";

type Details = Omit<Schemas["Problem"], "code"> & { code: ProblemCode | (string & {}) };

export interface Problem extends Readonly<Details> {}

/** An error that the API answered with (RFC 9457), with the fields of the answer. Branch on `code`. */
export class Problem extends Error {
  override readonly name = "Problem";

  constructor(details: Details) {
    super(`${details.code}: ${details.detail || details.title}`);
    Object.assign(this, details);
  }

  /** The first reason for each field, such as `{email: "Not a valid email address."}`; "" is the body as a whole. */
  fields(): Record<string, string> {
    const found: Record<string, string> = {};
    for (const { pointer, parameter, detail } of this.errors ?? []) {
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
  constructor(cause: unknown, readonly key?: string) {
    super("The API could not be reached.", { cause });
  }
}

/** Another session began, or this one ended, before the answer came: the answer is dropped. */
export class SessionChanged extends Error {
  override readonly name = "SessionChanged";
  override readonly message = "The session has changed.";
}
