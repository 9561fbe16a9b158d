import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type Client, type ClientOptions, Unreachable } from "../src/index.js";
import { localStorages, locks } from "./browser.js";
import { backend, client, endTokens, PASSWORD, recording, refreshes, refusal, somebody } from "./world.js";

let held: ReturnType<typeof locks>;
const opened: Client[] = [];

beforeEach(() => {
  held = locks();
  vi.stubGlobal("navigator", { locks: held });
});
afterEach(() => {
  vi.unstubAllGlobals();
  for (const one of opened.splice(0)) one.close();
});

/** A person with so many tabs of one browser, and what these send. */
async function tabs(number: number, delay = 0) {
  const [storage, { sent, fetch }] = [localStorages(delay), recording()];
  const options = (): Partial<ClientOptions> => ({ session: "local", storage: storage(), fetch });
  const { api, id, email } = await somebody(options());
  const all = [api, ...Array.from({ length: number - 1 }, () => client(options()))];
  opened.push(...all);
  return { all, sent, id, email };
}

test("several tabs whose token has ended refresh once", async () => {
  const { all, sent, id, email } = await tabs(4);
  await Promise.all(all.map((tab) => tab.users.me()));
  await endTokens(id);
  const answers = await Promise.all(all.flatMap((tab) => [tab.users.me(), tab.users.me()]));
  expect(answers.map(({ data }) => data.email)).toEqual(Array(8).fill(email));
  expect(refreshes(sent)).toEqual(["POST /api/v1/auth/refresh 200"]);
  await Promise.all(all.map((tab) => tab.users.me()));
  expect(sent.slice(-4)).toEqual(Array(4).fill("GET /api/v1/users/me 200"));
});

test("a tab that never gives the lock back hangs no other", async () => {
  const { all, sent, id } = await tabs(2);
  const hanging = held.request(`session of ${backend.url}`, {}, () => new Promise<never>(() => undefined));
  await endTokens(id);
  const answers = await Promise.all(all.map((tab) => tab.users.me()));
  expect(answers.every(({ data }) => data.roles.includes("admin"))).toBe(true);
  expect(refreshes(sent).every((one) => one.endsWith("200"))).toBe(true);
  await all[1]?.users.me();
  void hanging;
});

test.each([0, 50])("a sign-out in one tab is told to the others, which see it %i ms later", async (delay) => {
  const { all } = await tabs(3, delay);
  const [one, ...others] = all as [Client, ...Client[]];
  const told = others.map((tab) => new Promise<void>((resolve) => void tab.auth.onChange(resolve)));
  await one.auth.signOut();
  await Promise.all(told);
  expect(others.map((tab) => tab.auth.isSignedIn())).toEqual([false, false]);
  for (const tab of others) await expect(tab.users.me()).rejects.toMatchObject({ code: "invalid_token" });
});

test("a page that was kept for the back button looks again when it is shown", async () => {
  const seen = new Map<string, string>();
  const untold = { getItem: (name: string) => seen.get(name) ?? null, setItem: (name: string, value: string) => void seen.set(name, value), removeItem: () => undefined };
  const options: Partial<ClientOptions> = { session: "local", storage: untold };
  const [{ api }, kept] = [await somebody(options), client(options)];
  opened.push(api, kept);
  await kept.users.me();
  const told = vi.fn();
  kept.auth.onChange(told);
  await api.auth.signOut();
  expect(told).not.toHaveBeenCalled();
  globalThis.dispatchEvent(new Event("pageshow"));
  expect(told).toHaveBeenCalledOnce();
});

test("when a session was ended elsewhere, every tab is told once, and none signs in again by itself", async () => {
  const { all, sent, email } = await tabs(2);
  const changes = vi.fn();
  for (const tab of all) tab.auth.onChange(changes);
  const elsewhere = client();
  await elsewhere.auth.signIn({ email, password: PASSWORD });
  await elsewhere.auth.signOutEverywhere();
  await Promise.all(all.map((tab) => tab.users.me().catch(refusal)));
  await vi.waitUntil(() => changes.mock.calls.length === 2);
  expect(all.map((tab) => tab.auth.isSignedIn())).toEqual([false, false]);
  expect(refreshes(sent)).toEqual(["POST /api/v1/auth/refresh 401"]);
});

test("a refresh that finds no network signs nobody out, and is made again later", async () => {
  let isAway = false;
  const network: typeof fetch = (url, init) => (isAway ? Promise.reject(new TypeError("away")) : fetch(url, init));
  const { api, id } = await somebody({ session: "local", storage: localStorages()(), fetch: network, retry: { budgetMs: 100 } });
  opened.push(api);
  await endTokens(id);
  isAway = true;
  await expect(api.users.me()).rejects.toBeInstanceOf(Unreachable);
  expect(api.auth.isSignedIn()).toBe(true);
  isAway = false;
  expect((await api.users.me()).data.roles).toEqual(["admin"]);
});
