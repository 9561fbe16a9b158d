/** What browsers have and Node 20 has not, as far as the client uses it. */
import { type ClientRequest, request } from "node:http";

/** Web Locks among the clients of one process, as among the tabs of a browser. */
export function locks() {
  const last = new Map<string, Promise<unknown>>();
  return {
    async request<T>(name: string, { signal }: { signal?: AbortSignal }, held: () => Promise<T>): Promise<T> {
      const before = last.get(name) ?? Promise.resolve();
      const { promise: mine, resolve: giveBack } = withResolvers();
      last.set(name, before.then(() => mine));
      const given = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
      try {
        await Promise.race([before, given]);
        return await held();
      } finally {
        giveBack();
      }
    },
  };
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((one) => (resolve = one));
  return { promise, resolve };
}

/** An upload in parts of 64 kB, over a real connection. */
export class XMLHttpRequest {
  readonly upload: { onprogress?: (event: { loaded: number; total: number }) => void } = {};
  onload?: () => void;
  onerror?: () => void;
  onabort?: () => void;
  status = 0;
  response = new Blob();
  #request!: ClientRequest;
  #lines: string[] = [];

  open(method: string, url: string): void {
    this.#request = request(url, { method });
    this.#request.on("error", () => this.onerror?.());
    this.#request.on("response", async (answer) => {
      const parts: BlobPart[] = [];
      for await (const part of answer) parts.push(part as BlobPart);
      this.status = answer.statusCode ?? 0;
      this.#lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${String(value)}`);
      this.response = new Blob(parts);
      this.onload?.();
    });
  }

  setRequestHeader(name: string, value: string): void {
    this.#request.setHeader(name, value);
  }

  getAllResponseHeaders(): string {
    return this.#lines.join("\r\n");
  }

  async send(file: Blob): Promise<void> {
    const bytes = Buffer.from(await file.arrayBuffer());
    this.#request.setHeader("Content-Length", bytes.length);
    for (let sent = 0; sent < bytes.length; ) {
      const part = bytes.subarray(sent, sent + 64_000);
      await new Promise<unknown>((done) => this.#request.write(part, done));
      sent += part.length;
      this.upload.onprogress?.({ loaded: sent, total: bytes.length });
    }
    this.#request.end();
  }

  abort(): void {
    this.onerror = () => undefined;
    this.#request.destroy();
    this.onabort?.();
  }
}
