/** Sessions in a browser that is used as browsers are: tabs, wrong clocks, slow and broken networks. */
import type { Page } from "@playwright/test";
import { API, expect, order, PASSWORD, somebody, test } from "./world";
import { field, fill, signIn } from "./hands";

const KINDS = ["cookie", "local", "memory"] as const;

const keepIn = (page: Page, kind: string) => page.addInitScript((kind) => localStorage.setItem("session kind", kind), kind);
const save = (page: Page) => page.getByRole("button", { name: "Save" }).click();
const saved = (page: Page) => expect(page.getByText("Saved.")).toBeVisible({ timeout: 60_000 });

/** The requests to a path of the API from now on. */
function asked(page: Page, path: string): string[] {
  const found: string[] = [];
  page.on("request", (one) => one.url().startsWith(`${API}/api/v1${path}`) && one.method() !== "OPTIONS" && found.push(one.method()));
  return found;
}

for (const kind of KINDS) {
  test.describe(`a session in ${kind}`, () => {
    test(`lasts as long as it should${kind === "local" ? " @short" : ""}`, async ({ page, context }) => {
      await keepIn(page, kind);
      const ada = await somebody();
      await signIn(page, ada);
      await fill(page, { Name: "Ada King" });
      await save(page);
      await saved(page);
      expect((await context.cookies()).length > 0).toBe(kind === "cookie");
      expect(await page.evaluate(() => document.cookie)).toBe("");
      await page.reload();
      if (kind === "memory") await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
      else await expect(field(page, "Name")).toHaveValue("Ada King");
    });

    test("shows nothing of one user to the next", async ({ page }) => {
      await keepIn(page, kind);
      const [alice, boris] = [await somebody("Alice"), await somebody("Boris")];
      await signIn(page, alice);
      await expect(field(page, "Name")).toHaveValue("Alice");
      await page.getByRole("button", { name: "Sign out" }).click();
      await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
      // Without a reload: what the page itself keeps counts, too.
      await fill(page, { "E-mail address": boris.email, Password: PASSWORD });
      await page.getByRole("button", { name: "Sign in" }).click();
      await expect(field(page, "Name")).toHaveValue("Boris");
      await save(page);
      await page.goBack();
      await expect(page.getByText(alice.email)).not.toBeVisible();
    });

    test("is refreshed when the server no longer takes the token", async ({ page }) => {
      await keepIn(page, kind);
      await signIn(page, await somebody());
      const refreshes = asked(page, "/auth/refresh");
      await refuseOnce(page);
      await fill(page, { Name: "Ada King" });
      await save(page);
      await saved(page);
      await expect(page.getByRole("alert")).toHaveCount(0);
      expect(refreshes).toEqual(["POST"]);
    });
  });
}

for (const kind of ["cookie", "local"]) {
  test(`a page that the browser kept for the back button shows nothing of the user before: ${kind}`, async ({ playwright, launchOptions, baseURL }) => {
    const ignoreDefaultArgs = ["--disable-back-forward-cache"]; // which Playwright passes
    const browser = await playwright.chromium.launch({ ...launchOptions, ignoreDefaultArgs });
    const page = await browser.newPage({ baseURL: baseURL!, locale: "en" });
    await keepIn(page, kind);
    const [alice, boris] = [await somebody("Alice"), await somebody("Boris")];
    await signIn(page, alice);
    await page.goto("/profile");
    await expect(field(page, "Name")).toHaveValue("Alice");
    const there = await page.evaluate(() => {
      const values = () => Array.from(document.querySelectorAll("input"), ({ value }) => value).join() + document.body.innerText;
      addEventListener("pageshow", () => requestAnimationFrame(() => Object.assign(window, { drawn: values() })));
      return history.length;
    });
    await page.goto("/security");
    await page.getByRole("button", { name: "Sign out" }).click();
    await fill(page, { "E-mail address": boris.email, Password: PASSWORD });
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByRole("button", { name: "Sign out" })).toBeVisible();
    await page.evaluate((there) => history.go(there - history.length), there);
    const drawn = await page.waitForFunction(() => "drawn" in window && String(window.drawn)); // there in a kept page only
    expect(await drawn.jsonValue()).not.toContain("Alice");
    await expect(field(page, "Name")).toHaveValue("Boris");
    await browser.close();
  });
}

/** As if the token had expired on the way. */
async function refuseOnce(page: Page): Promise<void> {
  let refused = false;
  await page.route(`${API}/api/v1/users/me`, async (route) => {
    if (refused || route.request().method() === "OPTIONS") return route.fallback();
    refused = true;
    const headers = { "Content-Type": "application/problem+json", "Access-Control-Allow-Origin": new URL(page.url()).origin, "Access-Control-Allow-Credentials": "true" };
    const body = JSON.stringify({ type: "/problems/invalid_token", title: "Invalid token", status: 401, detail: "", code: "invalid_token", request_id: "x" });
    await route.fulfill({ status: 401, headers, body });
  });
}

test("two tabs at expiry refresh once, and both go on", async ({ context, page }) => {
  await keepIn(page, "local");
  await page.clock.install();
  await signIn(page, await somebody());
  const other = await context.newPage();
  await other.clock.install();
  await keepIn(other, "local");
  await other.goto("/profile");
  await expect(field(other, "Name")).toHaveValue("Ada");
  const refreshes = [asked(page, "/auth/refresh"), asked(other, "/auth/refresh")];
  // The token lasts 15 minutes by the server's clock; both tabs refuse it at the same moment here.
  await Promise.all([refuseOnce(page), refuseOnce(other)]);
  await Promise.all([fill(page, { Name: "Ada One" }), fill(other, { "Phone number": "+34600123456" })]);
  await Promise.all([save(page), save(other)]);
  await Promise.all([saved(page), saved(other)]);
  await expect(field(page, "Name")).toHaveValue("Ada One");
  await expect(field(other, "Phone number")).toHaveValue("+34600123456");
  await other.reload();
  await expect(field(other, "Name")).toHaveValue("Ada One");
  expect(refreshes.flat().length).toBeLessThanOrEqual(2);
});

test("a clock ten minutes off, in either direction, changes nothing", async ({ browser }) => {
  for (const minutes of [-10, 10]) {
    const page = await (await browser.newContext()).newPage();
    await page.clock.setFixedTime(Date.now() + minutes * 60_000);
    await signIn(page, await somebody());
    const refreshes = asked(page, "/auth/refresh");
    await fill(page, { Name: "Ada King" });
    await save(page);
    await saved(page);
    expect(refreshes).toEqual([]);
  }
});

test("sign-out in one tab signs out the other", async ({ context, page }) => {
  await signIn(page, await somebody());
  const other = await context.newPage();
  await other.goto("/profile");
  await expect(field(other, "Name")).toHaveValue("Ada");
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(other.getByRole("heading", { name: "Sign in" })).toBeVisible();
});

test("a tab that never gives its lock back does not hang another", async ({ context, page }) => {
  await keepIn(page, "local");
  await signIn(page, await somebody());
  const hanging = await context.newPage();
  await hanging.goto("/first.html");
  await hanging.evaluate((name) => {
    void navigator.locks.request(name, () => new Promise(() => undefined));
    return new Promise<void>((held) => {
      const look = async () => ((await navigator.locks.query()).held?.length ? held() : setTimeout(look, 50));
      void look();
    });
  }, `session of ${API}`);
  await refuseOnce(page);
  await fill(page, { Name: "Ada in spite of it" });
  await save(page);
  await saved(page);
});

test("whoever opens the application signs in there, and sees the profile @short", async ({ page }) => {
  const { email, name } = await somebody();
  await page.goto("/");
  await fill(page, { "E-mail address": email, Password: PASSWORD });
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(field(page, "Name")).toHaveValue(name);
});

test("a sign-out that did not work says so", async ({ page }) => {
  await signIn(page, await somebody());
  const sent = page.waitForRequest(/logout/);
  await page.route(/logout/, (route) => route.fulfill({ status: 500, headers: { "Access-Control-Allow-Origin": new URL(page.url()).origin, "Access-Control-Allow-Credentials": "true" } }));
  await page.getByRole("button", { name: "Sign out" }).click();
  await sent;
  await expect(page.getByRole("alert")).toBeVisible();
  await expect(field(page, "Name")).toBeVisible();
});

test("the API is restarted in between: what was sent takes effect once", async ({ page, shot }) => {
  await signIn(page, await somebody());
  await fill(page, { Name: "Ada after the restart" });
  await order("stop api");
  await save(page);
  await expect(page.getByRole("button", { name: "One moment …" })).toBeVisible();
  await shot("while-the-api-is-away");
  await order("start api");
  await saved(page);
  await page.reload();
  await expect(field(page, "Name")).toHaveValue("Ada after the restart");
});

test("a slow network: one click is one change, and the form says that it waits", async ({ page, context }) => {
  await signIn(page, await somebody());
  const network = await context.newCDPSession(page);
  const slow = { offline: false, latency: 1_000, downloadThroughput: 6_000, uploadThroughput: 6_000 };
  await network.send("Network.emulateNetworkConditions", slow);
  const keys = new Set<string | undefined>();
  page.on("request", (one) => one.method() === "PATCH" && keys.add(one.headers()["idempotency-key"]));
  await fill(page, { Name: "Ada Slow" });
  await save(page);
  await page.getByRole("button", { name: "One moment …" }).click({ force: true });
  await saved(page);
  expect(keys.size).toBe(1); // the client may repeat the request, under the same key
});
