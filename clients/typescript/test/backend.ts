import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

export interface Backend {
  url: string;
  /** The folder of the mails. */
  mail: string;
  /** Of the administrator. */
  email: string;
  password: string;
  /** Takes orders such as "stop api", see `order`. */
  switch: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    backend: Backend;
  }
}

/** The whole program as processes of its own: API, worker, PostgreSQL, and a network to RabbitMQ that can be cut. */
export default async function start(project: TestProject): Promise<() => Promise<void>> {
  const child = spawn(`${ROOT}.venv/bin/python`, ["-m", "tests.served"], { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done) throw new Error("The backend ended.");
  const orders = createServer(async ({ url = "/" }, answer) => {
    child.stdin.write(`${decodeURIComponent(url.slice(1))}\n`);
    await lines.next();
    answer.end();
  });
  await once(orders.listen(0, "127.0.0.1"), "listening");
  const { port } = orders.address() as AddressInfo;
  project.provide("backend", { ...JSON.parse(first.value), switch: `http://127.0.0.1:${port}` });
  return async () => {
    orders.close();
    child.stdin.end();
    await once(child, "exit");
  };
}
