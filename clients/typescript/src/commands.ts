import { Problem } from "./problem.js";
import { randomName } from "./session.js";
import { retryAfter, routeOf, sleep, type Transport } from "./transport.js";
import type { Answer, CallOptions, Command, CommandOptions, Handle, Operation, OperationId, Request, WaitOptions } from "./types.js";

/** The request of a command. Where `open` is set, the handle alone may read the operation. */
type Asked = Request & CommandOptions & WaitOptions & { open?: boolean };

/** Commands, each sent under one Idempotency-Key until its outcome is known. */
export class Commands {
  constructor(private readonly transport: Transport) {}

  /** A command, from its arguments to its request, and from the answer to its result. */
  define<A extends unknown[], T>(
    id: OperationId,
    request: (...args: A) => Asked,
    result: (answer: Answer, asked: Asked) => T,
  ): Command<A, T> {
    const { marks } = routeOf(id);
    const asked = (args: A): Asked => {
      const given = request(...args);
      const open = given.open || marks.includes("open");
      const signal = open ? given.signal : this.transport.bound(given.signal);
      return { ...given, signal, open, idempotencyKey: given.idempotencyKey ?? randomName() };
    };
    const send = ({ idempotencyKey, etag, ...given }: Asked, prefer: string) =>
      this.transport.call(id, {
        ...given,
        headers: { "Idempotency-Key": idempotencyKey, "If-Match": etag, Prefer: prefer },
      });
    const finish = async (given: Asked, answer: Answer, options: WaitOptions): Promise<T> => {
      if (answer.status !== 202) return result(answer, given);
      let operation = answer.body as Operation;
      if (operation.error) throw new Problem(operation.error);
      if (operation.status === "pending") {
        operation = await this.outcome(operation.id, options, given.open);
        // Asked again under its key, the API answers with what the command made.
        if (!given.file && !marks.includes("empty")) answer = await send({ ...given, ...options }, "wait=10");
      }
      return result(answer.status === 202 ? { ...answer, body: operation } : answer, given);
    };
    const run = async (...args: A) => {
      const given = asked(args); // a file is sent once, and whoever reports progress asks often
      return finish(given, await send(given, given.file || given.onProgress ? "respond-async" : "wait=10"), given);
    };
    const start = async (...args: A) => {
      const given = asked(args);
      const answer = await send(given, "respond-async");
      const { id: handle } = answer.body as Operation;
      const wait = ({ signal, ...options }: WaitOptions) => {
        const signals = [given.signal, signal].filter((one) => one !== undefined);
        return finish(given, answer, { ...options, signal: AbortSignal.any(signals) });
      };
      return this.#handle(handle, given.idempotencyKey, wait, given.open);
    };
    return Object.assign(run, { start });
  }

  /** The handle of a command that was started earlier, also by an earlier page. */
  resume(id: string): Handle<Operation> {
    return this.#handle(id, "", (options) => this.outcome(id, { ...options, signal: this.transport.bound(options.signal) }));
  }

  /**
   * The operation when it has succeeded.
   * @throws Problem why it failed.
   */
  async outcome(handle: string, { signal, onProgress }: WaitOptions = {}, open = false): Promise<Operation> {
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

  #handle<T>(id: string, key: string | undefined, wait: (options: WaitOptions) => Promise<T>, open?: boolean): Handle<T> {
    const call = async (of: "operations.get" | "operations.cancel", options: CallOptions = {}) =>
      (await this.transport.call(of, { path: { handle: id }, ...options }, open && of === "operations.get")).body as Operation;
    return {
      id,
      key: key ?? "",
      status: (options) => call("operations.get", options),
      wait: (options = {}) => wait(options),
      cancel: (options) => call("operations.cancel", options),
    };
  }
}
