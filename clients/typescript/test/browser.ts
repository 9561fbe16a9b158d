/** What browsers have and Node 20 has not, as far as the client uses it. */
import { type ClientRequest, request } from "node:http";

const events = new EventTarget();
const { addEventListener, removeEventListener, dispatchEvent } = events;
for (const listen of [addEventListener, removeEventListener, dispatchEvent]) {
  Object.assign(globalThis, { [listen.name]: listen.bind(events) });
}

/**
 * `localStorage` in the tabs of a browser: each call of the result is that of one more tab. What one tab writes, the
 * others see so many milliseconds later, and are told when they do.
 */
export function localStorages(delay = 0) {
  const written = new Map<string, string>();
  const tabs: Map<string, string>[] = [];
  const deliver = () => {
    for (const tab of tabs) {
      tab.clear();
      written.forEach((value, name) => tab.set(name, value));
    }
    events.dispatchEvent(new Event("storage"));
  };
  return () => {
    const own = new Map(written);
    tabs.push(own);
    const write = (change: (kept: Map<string, string>) => void) => {
      [own, written].forEach(change);
      if (delay > 0) setTimeout(deliver, delay);
      else deliver();
    };
    return {
      getItem: (name: string) => own.get(name) ?? null,
      setItem: (name: string, value: string) => write((kept) => kept.set(name, value)),
      removeItem: (name: string) => write((kept) => kept.delete(name)),
    };
  };
}

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
