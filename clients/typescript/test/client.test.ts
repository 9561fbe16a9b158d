import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient, isProblem } from "../src/index.js";
import { Backend } from "./backend.js";

let backend: Backend;
beforeAll(async () => {
  backend = await Backend.start();
}, 400_000);
afterAll(() => backend?.stop(), 60_000);

test("a first session", async () => {
  const { url, email, password } = backend.place;
  const api = createClient({ baseUrl: url, session: "memory" });
  expect(await api.auth.signIn({ email, password })).toMatchObject({ kind: "signed-in" });
  const product = await api.products.create({ name: "Laptop", price: "899.99", stock: 3, sku: "HP-15" });
  const changed = await product.update({ name: "Laptop HP" });
  expect(changed.data).toMatchObject({ name: "Laptop HP", version: 2 });
  const merged = await product.update({ price: 1 }, { onConflict: (mine) => mine });
  expect(merged.data).toMatchObject({ name: "Laptop HP", price: "1.00" });
  const handle = await api.products.create.start({ name: "Mouse", price: 5, stock: 1 });
  expect((await handle.wait()).data.price).toBe("5.00");
  expect(await api.operations.resume(handle.id).wait()).toMatchObject({ status: "succeeded" });
  const names: string[] = [];
  for await (const { name } of api.products.list({ limit: 1, sort: "price" })) names.push(name);
  expect(names).toEqual(["Laptop HP", "Mouse"]);
  const refused = await api.products.create({ name: "x", price: 1, stock: 1, sku: "HP-15" }).catch((error: unknown) => error);
  expect(isProblem(refused, "sku_taken")).toBe(true);
  const { progress } = await api.products.import(new Blob(["name,price,stock\nA,1,1\nB,-1,1\n"]));
  expect(progress).toMatchObject({ done: 2, failed: 1, failures: [{ line: 3, problem: { code: "validation_failed" } }] });
  expect(await (await api.products.export()).text()).toContain("Laptop HP");
  expect((await api.users.me()).data.email).toBe(email);
  await api.auth.signOut();
  await expect(api.users.me()).rejects.toMatchObject({ code: "invalid_token" });
}, 60_000);
