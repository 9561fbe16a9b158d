import { Problem } from "./problem.js";
import { either, randomName } from "./session.js";
import { retryAfter, routeOf, sleep, type Transport } from "./transport.js";
import type { Answer, Command, CommandOptions, Handle, Operation, OperationId, Request, WaitOptions } from "./types.js";

/** The request of a command. Where `open` is set, the handle alone may read the operation. */
type Asked = Request & CommandOptions & WaitOptions & { open?: boolean };

/** Commands, each sent under one Idempotency-Key until its outcome is known. */
export class Commands {
  constructor(readonly transport: Transport) {}

  /** A command, from its arguments to its request, and from the answer to its result. */
  define<A extends unknown[], T>(
    id: OperationId,
    request: (...args: A) => Asked,
    result: (answer: Answer, asked: Asked) => T,
  ): Command<A, T> {
    const { marks } = routeOf(id);
    const asked = (args: A) => {
      const given = request(...args);
      const open = given.open || marks.includes("open");
      const signal = open ? either(given.signal) : this.transport.session.bound(given.signal);
      return { ...given, signal, open, idempotencyKey: given.idempotencyKey ?? randomName() };
    };
    const send = ({ idempotencyKey, etag, ...given }: Asked, prefer: string) =>
      this.transport.call(id, {
        ...given,
        headers: { "Idempotency-Key": idempotencyKey, "If-Match": etag, Prefer: prefer },
      });
    const finish = async (given: Asked, answer: Answer): Promise<T> => {
      if (answer.status !== 202) return result(answer, given);
      const accepted = answer.body as Operation;
      if (accepted.error) throw new Problem(accepted.error);
      if (accepted.status !== "pending") return result(answer, given);
      const operation = await this.outcome(accepted.id, given, given.open);
      // Asked again under its key, the API answers with what the command made.
      const again = given.file || marks.includes("empty") ? answer : await send(given, "wait=10");
      return result(again.status === 202 ? { ...again, body: operation } : again, given);
    };
    const run = async (...args: A) => {
      const given = asked(args); // a file is sent once, and whoever reports progress asks often
      return finish(given, await send(given, given.file || given.onProgress ? "respond-async" : "wait=10"));
    };
    const start = async (...args: A) => {
      const given = asked(args);
      const answer = await send(given, "respond-async");
      const wait = (options: WaitOptions) =>
        finish({ ...given, ...options, signal: either(given.signal, options.signal) }, answer);
      return this.#handle((answer.body as Operation).id, given.idempotencyKey, wait, given.open);
    };
    return Object.assign(run, { start });
  }

  /** The handle of a command that was started earlier, also by an earlier page. */
  resume(id: string): Handle<Operation> {
    return this.#handle(id, "", (options) => this.outcome(id, options));
  }

  /**
   * The operation when it has succeeded.
   * @throws Problem why it failed.
   */
  async outcome(handle: string, { signal: given, onProgress }: WaitOptions, open = false): Promise<Operation> {
    const signal = open ? either(given) : this.transport.session.bound(given);
    for (;;) {
      const asked = performance.now();
      const headers = { Prefer: onProgress ? "respond-async" : "wait=10" };
      const answer = await this.transport.call("operations.get", { path: { handle }, signal, headers }, open);
      const operation = answer.body as Operation;
      if (operation.progress) onProgress?.(operation.progress);
      if (operation.error) throw new Problem(operation.error);
      if (operation.status === "succeeded") return operation;
      const pause = 1000 * (retryAfter(answer) ?? 1) - (performance.now() - asked);
      await sleep(Math.max(pause, 0), signal);
    }
  }

  #handle<T>(id: string, key: string, wait: (options: WaitOptions) => Promise<T>, open = false): Handle<T> {
    const path = { handle: id };
    return {
      id,
      key,
      status: async (options) => (await this.transport.call("operations.get", { path, ...options }, open)).body as Operation,
      wait: (options = {}) => wait(options),
      cancel: async (options) => (await this.transport.call("operations.cancel", { path, ...options })).body as Operation,
    };
  }
}
