import { type ChildProcess, spawn } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

export interface Place {
  url: string;
  mail: string;
  email: string;
  password: string;
}

/** The whole program as processes of its own: API, worker, PostgreSQL, and a network to RabbitMQ that can be cut. */
export class Backend {
  #waiting: ((line: string) => void)[] = [];

  private constructor(
    private readonly process: ChildProcess,
    output: Interface,
  ) {
    output.on("line", (line) => this.#waiting.shift()?.(line));
  }

  place!: Place;

  static async start(settings: Record<string, string> = {}): Promise<Backend> {
    const given = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
    const child = spawn(`${ROOT}.venv/bin/python`, ["-m", "tests.served", ...given], {
      cwd: ROOT,
      stdio: ["pipe", "pipe", "inherit"],
    });
    const backend = new Backend(child, createInterface({ input: child.stdout }));
    const failed = new Promise<never>((_, reject) => child.once("exit", () => reject(new Error("The backend ended."))));
    backend.place = JSON.parse(await Promise.race([backend.#line(), failed])) as Place;
    failed.catch(() => undefined);
    return backend;
  }

  /** Such as "stop api"; done when it resolves. */
  async order(order: string): Promise<void> {
    this.process.stdin?.write(`${order}\n`);
    await this.#line();
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.stdin?.end();
    await ended;
  }

  #line(): Promise<string> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
