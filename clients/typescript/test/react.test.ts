import { afterEach, expect, test } from "vitest";
import { useOperation, usePages, useUser } from "../src/react.js";
import { localStorages } from "./browser.js";
import { type Mounted, mounted } from "./mounted.js";
import { administrator, client, order, PASSWORD, somebody } from "./world.js";

const open: Pick<Mounted<unknown>, "unmount">[] = [];
afterEach(() => open.splice(0).forEach((one) => one.unmount()));

function show<T>(hook: () => T): Mounted<T> {
  const one = mounted(hook);
  open.push(one);
  return one;
}

test("useUser shows who is signed in, and nobody", async () => {
  const { api, email } = await somebody();
  const user = show(() => useUser(api));
  expect(await user.until(({ isLoading }) => !isLoading)).toMatchObject({ data: { data: { email } }, error: undefined });
  await api.auth.signOut();
  expect(await user.until(({ data }) => data === null)).toMatchObject({ isLoading: false, error: undefined });
  await api.auth.signIn({ email, password: PASSWORD });
  expect((await user.until(({ data }) => data)).data?.data.email).toBe(email);
});

test("useUser shows a change after a reload, and the version before until it is there", async () => {
  const { api } = await somebody();
  const user = show(() => useUser(api));
  const before = await user.until(({ data }) => data);
  await before.data?.update({ name: "Ada King" });
  const from = user.seen.length;
  before.reload();
  await user.until(({ data }) => data?.data.name === "Ada King");
  expect(user.seen.slice(from).every(({ data }) => data)).toBe(true);
});

test("useUser shows nothing of the earlier user when the account changes, in this tab or in another", async () => {
  const [storage, boris] = [localStorages(), await somebody()];
  const { api, email: alice } = await somebody({ session: "local", storage: storage() });
  const other = client({ session: "local", storage: storage() });
  const user = show(() => ({ epoch: api.auth.epoch(), email: useUser(api).data?.data.email }));
  await user.until(({ email }) => email === alice);
  await other.auth.signIn({ email: boris.email, password: PASSWORD });
  await user.until(({ email }) => email === boris.email);
  await api.auth.signIn({ email: alice, password: PASSWORD });
  await user.until(({ email }) => email === alice);
  const emailsOf = new Map<string, Set<string>>();
  for (const { epoch, email } of user.seen) {
    if (email) emailsOf.set(epoch, (emailsOf.get(epoch) ?? new Set()).add(email));
  }
  expect([...emailsOf.values()].map((emails) => [...emails])).toEqual([[alice], [boris.email], [alice]]);
  api.close();
  other.close();
});

test("useUser shows the new user, although the answer for the earlier one comes last", async () => {
  const [storage, boris] = [localStorages(), await somebody()];
  let late = () => {};
  const held: typeof fetch = async (url, init) => {
    const answer = await fetch(url, init);
    if (String(url).endsWith("/users/me") && isHeld) await new Promise<void>((resolve) => (late = resolve));
    return answer;
  };
  let isHeld = false;
  const { api } = await somebody({ session: "local", storage: storage(), fetch: held });
  isHeld = true;
  const user = show(() => useUser(api));
  await user.until(({ isLoading }) => isLoading);
  isHeld = false;
  await api.auth.signIn({ email: boris.email, password: PASSWORD });
  late();
  expect((await user.until(({ data }) => data)).data?.data.email).toBe(boris.email);
  expect(user.seen.every(({ data }) => !data || data.data.email === boris.email)).toBe(true);
  api.close();
});

test("useUser says why the user cannot be shown, and that somebody is signed in all the same", async () => {
  let isAway = true;
  const network: typeof fetch = (url, init) =>
    isAway && init?.method === "GET" ? Promise.reject(new TypeError("away")) : fetch(url, init);
  const { api, email } = await somebody({ fetch: network, retry: { budgetMs: 100 } });
  const user = show(() => useUser(api));
  expect(await user.until(({ error }) => error)).toMatchObject({ data: undefined, isLoading: false });
  isAway = false;
  user.shown.reload();
  const { data, error } = await user.until((shown) => shown.data);
  expect([data?.data.email, error]).toEqual([email, undefined]);
});

test("usePages shows page after page, begins anew with other inputs, and has nothing left for the next user", async () => {
  const api = await administrator();
  for (const at of [1, 2, 3]) await api.products.create({ name: `Paged ${at}`, price: at, stock: 1 });
  let input = { q: "paged", sort: "price" as "price" | "-price", limit: 2 };
  const pages = show(() => usePages(api, () => api.products.list(input), [input]));
  const names = () => pages.shown.items.map(({ name }) => name);
  await pages.until(({ isLoading }) => !isLoading);
  expect([names(), pages.shown.hasMore]).toEqual([["Paged 1", "Paged 2"], true]);
  await Promise.all([pages.shown.loadMore(), pages.shown.loadMore()]); // pressed twice
  await pages.until(({ items }) => items.length > 2);
  expect([names(), pages.shown.hasMore]).toEqual([["Paged 1", "Paged 2", "Paged 3"], false]);
  input = { ...input, sort: "-price" };
  pages.render();
  await pages.until(({ items }) => items[0]?.name === "Paged 3");
  expect(names()).toEqual(["Paged 3", "Paged 2"]);
  await api.products.create({ name: "Paged 4", price: 4, stock: 1 });
  pages.shown.reload();
  await pages.until(({ items }) => items[0]?.name === "Paged 4");

  const own = show(() => ({ epoch: api.auth.epoch(), ids: usePages(api, () => api.operations.list(), []).items.map(({ id }) => id) }));
  const { epoch, ids } = await own.until((shown) => shown.ids.length > 0);
  const boris = await somebody();
  await api.auth.signIn({ email: boris.email, password: PASSWORD });
  await own.until((shown) => shown.epoch !== epoch);
  const later = own.seen.filter((shown) => shown.epoch !== epoch).flatMap((shown) => shown.ids);
  expect(later.filter((id) => ids.includes(id))).toEqual([]);
});

test("usePages tells a page that could not be loaded, keeps the others, and loads it later", async () => {
  let isAway = false;
  const network: typeof fetch = (url, init) => (isAway ? Promise.reject(new TypeError("away")) : fetch(url, init));
  const api = await administrator({ fetch: network, retry: { budgetMs: 100 } });
  for (const at of [1, 2]) await api.products.create({ name: `Kept ${at}`, price: at, stock: 1 });
  const pages = show(() => usePages(api, () => api.products.list({ q: "kept", sort: "price", limit: 1 }), []));
  await pages.until(({ hasMore }) => hasMore);
  isAway = true;
  await pages.shown.loadMore();
  expect((await pages.until(({ error }) => error)).items).toHaveLength(1);
  isAway = false;
  await pages.shown.loadMore();
  expect((await pages.until(({ items }) => items.length === 2)).error).toBeUndefined();
});

test("useOperation follows a command to its end", async () => {
  const api = await administrator();
  await order("stop worker");
  const { id } = await api.products.import.start(new Blob(["name,price,stock\nFollowed,1,1\nB,-1,1\n"]));
  let handle: string | undefined;
  const operation = show(() => useOperation(api, handle));
  expect((await operation.until(() => true)).status).toBe("none");
  handle = id;
  operation.render();
  await operation.until(({ status }) => status === "pending");
  await order("start worker");
  const { progress, error } = await operation.until(({ status }) => status === "succeeded");
  expect([progress?.done, progress?.failures.map(({ line }) => line), error]).toEqual([2, [3], undefined]);
});

test("useOperation tells why a command failed, and cancels one", async () => {
  const api = await administrator();
  await api.products.create({ name: "A", price: 1, stock: 1, sku: "followed" });
  const refused = await api.products.create.start({ name: "B", price: 1, stock: 1, sku: "followed" });
  const operation = show(() => useOperation(api, refused));
  expect((await operation.until(({ status }) => status === "failed")).error).toMatchObject({ code: "sku_taken" });

  await order("stop worker");
  const waiting = await api.products.create.start({ name: "Never", price: 1, stock: 1 });
  const cancelled = show(() => useOperation(api, waiting));
  await cancelled.until(({ status }) => status === "pending");
  await cancelled.shown.cancel();
  await order("start worker");
  expect((await cancelled.until(({ status }) => status === "failed")).error).toMatchObject({ code: "cancelled" });
});

test("useOperation shows nothing of an operation to the next user", async () => {
  const [api, boris] = [await administrator(), await somebody()];
  const handle = await api.products.create.start({ name: "Hers", price: 1, stock: 1 });
  const operation = show(() => ({ epoch: api.auth.epoch(), ...useOperation(api, handle) }));
  const { epoch } = await operation.until(({ status }) => status === "succeeded");
  await api.auth.signIn({ email: boris.email, password: PASSWORD });
  const { error } = await operation.until((shown) => shown.error);
  expect(error).toMatchObject({ code: "not_found" });
  expect(operation.seen.filter((shown) => shown.epoch !== epoch && shown.operation)).toEqual([]);
});
