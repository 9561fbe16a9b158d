import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { XMLHttpRequest } from "./browser.js";
import { administrator } from "./world.js";

beforeEach(() => void vi.stubGlobal("XMLHttpRequest", XMLHttpRequest));
afterEach(() => void vi.unstubAllGlobals());

/** Products of 4 kB each; those of these lines have a fault. */
function file(name: string, number: number, faults: number[] = []): File {
  const row = (line: number) => `${name} ${line},${"word ".repeat(780)},${faults.includes(line) ? "nine" : "9.50"},1`;
  const rows = Array.from({ length: number }, (_, at) => row(at + 2)); // the first line names the columns
  return new File([["name,description,price,stock", ...rows].join("\n")], "products.csv");
}

test("an upload tells what was sent, then what was done, and why each refused line was", async () => {
  const api = await administrator();
  const sent: [number, number][] = [];
  const done: [number, number][] = [];
  const products = file("Upload", 100, [4, 50]);
  const { status, progress } = await api.products.import(products, {
    onSent: (some, all) => sent.push([some, all]),
    onProgress: (now) => done.push([now.done, now.total]),
  });
  expect(sent.length).toBeGreaterThan(3);
  expect(sent.at(-1)).toEqual([products.size, products.size]);
  expect(sent.map(([some]) => some)).toEqual(sent.map(([some]) => some).sort((one, other) => one - other));
  expect(done.at(-1)).toEqual([100, 100]);
  expect(status).toBe("succeeded");
  expect(progress?.failures.map(({ line, problem }) => [line, problem.code, problem.errors?.[0]?.pointer])).toEqual([
    [4, "validation_failed", "/price"],
    [50, "validation_failed", "/price"],
  ]);
});

test("an upload that is given up imports nothing", async () => {
  const api = await administrator();
  const ended = new AbortController();
  const given = api.products.import(file("Given up", 200), { signal: ended.signal, onSent: () => ended.abort() });
  await expect(given).rejects.toMatchObject({ name: "AbortError" });
  expect((await api.products.list({ q: "Given" }).page()).items).toEqual([]);
});

test("a file that the API refuses is refused with its problem", async () => {
  const api = await administrator();
  const large = api.products.import(file("Large", 1_400), { onSent: () => undefined });
  await expect(large).rejects.toMatchObject({ code: "body_too_large" });
});
