import { afterEach, expect, test, vi } from "vitest";
import { createClient, isProblem, SessionChanged, Unreachable } from "../src/index.js";
import { localStorages } from "./browser.js";
import { Network } from "./network.js";
import { administrator, backend, client, mailsTo, order, PASSWORD, recording, refreshes, refusal, somebody } from "./world.js";

afterEach(() => void vi.useRealTimers());

test("products are created, changed, listed, imported and exported", async () => {
  const api = await administrator();
  const product = await api.products.create({ name: "Laptop", price: "899.99", stock: 3, sku: "HP-15" });
  const changed = await product.update({ name: "Laptop HP" });
  expect(changed.data).toMatchObject({ name: "Laptop HP", version: 2 });
  const added = await api.products.stock.add(product.data.id, { quantity: 2 });
  expect(added.data.stock).toBe(5);
  await api.products.create({ name: "Mouse HP", price: 5, stock: 1 });

  const names: string[] = [];
  for await (const { name } of api.products.list({ q: "hp", limit: 1, sort: "price" })) names.push(name);
  expect(names).toEqual(["Mouse HP", "Laptop HP"]);

  const told: number[] = [];
  const file = new Blob(["name,price,stock\nA,1,1\nB,-1,1\n"]);
  const { progress } = await api.products.import(file, { onProgress: ({ done }) => told.push(done) });
  expect(progress?.failures).toMatchObject([{ line: 3, problem: { code: "validation_failed" } }]);
  expect(told.at(-1)).toBe(2);
  expect(await (await api.products.export()).text()).toContain("Laptop HP");
});

test("a problem names its code and its fields", async () => {
  const api = await administrator();
  await api.products.create({ name: "A", price: 1, stock: 1, sku: "taken" });
  const taken = await api.products.create({ name: "B", price: 1, stock: 1, sku: "taken" }).catch(refusal);
  expect(isProblem(taken, "sku_taken")).toBe(true);
  const invalid = await api.products.create({ name: "", price: "x", stock: 1 }).catch(refusal);
  expect(isProblem(invalid, "sku_taken")).toBe(false);
  expect(isProblem(invalid) && Object.keys(invalid.fields()).sort()).toEqual(["name", "price"]);
});

test("a conflict is merged into the version that won", async () => {
  const { api } = await somebody();
  const mine = await api.users.me();
  await (await api.users.me()).update({ phone_number: "+34600000000" });
  await expect(mine.update({ age: 36 })).rejects.toMatchObject({ code: "stale_version" });
  const merged = await mine.update({ age: 36 }, { onConflict: (changes, theirs) => theirs.phone_number ? changes : undefined });
  expect(merged.data).toMatchObject({ age: 36, phone_number: "+34600000000" });
});

test("requests whose token was revoked are sent again after one refresh", async () => {
  const { sent, fetch } = recording();
  const { api, id } = await somebody({ fetch });
  await (await administrator()).users.roles(id, { roles: ["admin"] });
  const all = await Promise.all(Array.from({ length: 8 }, () => api.users.me()));
  expect(all.every(({ data }) => data.roles.includes("admin"))).toBe(true);
  expect(refreshes(sent)).toHaveLength(1);
});

test("a token is refreshed before it expires, whatever the clock of the computer says", async () => {
  const { sent, fetch } = recording();
  const { api } = await somebody({ fetch });
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3_600_000 });
  await api.users.me();
  expect(refreshes(sent)).toHaveLength(0);
  vi.useRealTimers();
  const now = performance.now.bind(performance);
  const later = vi.spyOn(performance, "now").mockImplementation(() => now() + 880_000);
  await Promise.all([api.users.me(), api.users.me()]);
  later.mockRestore();
  expect(refreshes(sent)).toHaveLength(1);
  expect(sent.filter((one) => one.endsWith("401"))).toEqual([]);
});

test("a command whose answer is lost takes effect once", async () => {
  const network = await Network.to(backend.url);
  const api = await administrator({ baseUrl: network.url });
  network.losing = 2;
  const product = await api.products.create({ name: "Once", price: 1, stock: 1, sku: "once" });
  expect(network.losing).toBe(0);
  expect(product.data.sku).toBe("once");
  network.losing = Infinity;
  const short = await administrator();
  const hasty = createClient({ baseUrl: network.url, session: "memory", retry: { budgetMs: 500 } });
  await expect(hasty.products.list().page()).rejects.toBeInstanceOf(Unreachable);
  expect((await short.products.list({ q: "once" }).page()).items).toHaveLength(1);
  network.close();
});

test("a sign-in is not repeated when its answer is lost", async () => {
  const network = await Network.to(backend.url);
  network.losing = 1;
  const { email, password } = backend;
  await expect(client({ baseUrl: network.url }).auth.signIn({ email, password })).rejects.toBeInstanceOf(Unreachable);
  network.close();
});

test.each(["signOut", "signOutEverywhere"] as const)("a %s whose answer is lost is repeated", async (signOut) => {
  const network = await Network.to(backend.url);
  const { api } = await somebody({ baseUrl: network.url });
  network.losing = 1;
  await api.auth[signOut]();
  expect(network.losing).toBe(0);
  expect(api.auth.isSignedIn()).toBe(false);
  network.close();
});

test("a command survives a restart of the API", async () => {
  const api = await administrator({ retry: { budgetMs: 120_000 } });
  await order("stop api");
  const created = api.products.create({ name: "Late", price: 1, stock: 1, sku: "late" });
  await order("start api");
  expect((await created).data.sku).toBe("late");
});

test("a command waits while RabbitMQ is away, and is resumed by its id", async () => {
  const api = await administrator();
  await order("broker away");
  const handle = await api.products.create.start({ name: "Spooled", price: 1, stock: 1, sku: "spooled" });
  expect((await handle.status()).status).toBe("pending");
  const resumed = api.operations.resume(handle.id).wait();
  await order("broker back");
  expect(await resumed).toMatchObject({ status: "succeeded" });
  expect((await handle.wait()).data.sku).toBe("spooled");
});

test("a request is sent again as long as the API says that its database is away", async () => {
  const { sent, fetch } = recording();
  const api = await administrator({ fetch, retry: { budgetMs: 120_000 } });
  await order("stop database");
  const created = api.products.create({ name: "Patient", price: 1, stock: 1, sku: "patient" });
  await vi.waitUntil(() => sent.at(-1)?.endsWith("503"), 60_000);
  await order("start database");
  expect((await created).data.sku).toBe("patient");
});

test("a command is cancelled, and waiting for it is aborted", async () => {
  const api = await administrator();
  await order("stop worker");
  const handle = await api.products.create.start({ name: "Never", price: 1, stock: 1 });
  await expect(handle.wait({ signal: AbortSignal.timeout(500) })).rejects.toMatchObject({ name: "TimeoutError" });
  expect(await handle.cancel()).toMatchObject({ status: "failed" });
  await expect(handle.wait()).rejects.toMatchObject({ code: "cancelled" });
  await order("start worker");
});

test("a code from the mail completes a sign-in", async () => {
  const { api, email } = await somebody();
  await api.auth.twoStep({ enabled: true, password: PASSWORD });
  await api.auth.signOut();
  const asked = await api.auth.signIn({ email, password: PASSWORD });
  if (asked.kind !== "code") throw new Error("no code was asked for");
  await expect(asked.answer("000000")).rejects.toMatchObject({ code: "invalid_code" });
  const code = await vi.waitUntil(() => mailsTo(email).map((mail) => /\b\d{6}\b/.exec(mail)?.[0]).find(Boolean), 30_000);
  expect(await asked.answer(code)).toMatchObject({ kind: "signed-in" });
  expect((await api.users.me()).data.email).toBe(email);
});

test("tabs share a session, and its end", async () => {
  const storage = localStorages();
  const { api: one, email } = await somebody({ session: "local", storage: storage() });
  const other = client({ session: "local", storage: storage() });
  expect((await other.users.me()).data.email).toBe(email);
  const told = new Promise<void>((resolve) => void one.auth.onChange(resolve));
  await other.auth.signOut();
  await told;
  expect(one.auth.isSignedIn()).toBe(false);
  await expect(one.users.me()).rejects.toMatchObject({ code: "invalid_token" });
  one.close();
  other.close();
});

test("nothing of one user reaches the next", async () => {
  const boris = await somebody();
  const storage = localStorages();
  const { api } = await somebody({ session: "local", storage: storage() });
  const other = client({ session: "local", storage: storage() });
  const profile = await api.users.me();
  const pending = api.users.me();
  await other.auth.signIn({ email: boris.email, password: PASSWORD });
  await expect(profile.update({ name: "Alice" })).rejects.toBeInstanceOf(SessionChanged);
  await pending.then(({ data }) => expect(data.id).toBe(profile.data.id), () => undefined);
  expect((await api.users.me()).data).toMatchObject({ email: boris.email });
  api.close();
  other.close();
});

test("cookies carry a session", async () => {
  const jar = new Map<string, string>();
  const origin = backend.url;
  const browser: typeof fetch = async (url, init) => {
    const headers = new Headers(init?.headers);
    headers.set("Cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
    if (init?.method !== "GET") headers.set("Origin", origin);
    const response = await fetch(url, { ...init, headers });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      value ? jar.set(name, value) : jar.delete(name);
    }
    return response;
  };
  const { api, email } = await somebody({ session: "cookie", storage: localStorages()(), fetch: browser });
  expect([...jar.keys()].sort()).toEqual(["access", "refresh"]);
  expect((await (await api.users.me()).update({ age: 36 })).data).toMatchObject({ email, age: 36 });
  jar.set("access", "stale");
  expect((await api.users.me()).data.email).toBe(email);
  await api.auth.signIn({ email: backend.email, password: backend.password });
  expect((await api.users.me()).data.email).toBe(backend.email);
  await api.auth.signOut();
  expect(jar.size).toBe(0);
  await expect(api.users.me()).rejects.toMatchObject({ code: "invalid_token" });
  api.close();
});

test("an account is deleted, and its session with it", async () => {
  const { api } = await somebody();
  await api.users.me.delete();
  expect(api.auth.isSignedIn()).toBe(false);
});
