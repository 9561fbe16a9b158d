/** What the API itself shows to a browser, and what a browser makes of its answers. */
import type { Locator } from "@playwright/test";
import { API, expect, fits, linkTo, PASSWORD, somebody, test } from "./world";

const PHONE = { width: 390, height: 844 };

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(`on a phone, ${colorScheme}`, () => {
    test.use({ viewport: PHONE, colorScheme });

    test("the API's documentation and problems", async ({ page, shot }) => {
      await page.goto(API);
      await expect(page).toHaveURL(/\/docs$/);
      await expect(page.getByText("/api/v1/users/me").first()).toBeVisible();
      await fits(page);
      await shot(`api-docs-${colorScheme}`);
      await page.getByRole("link", { name: "POST /api/v1/auth/login" }).click();
      const example = page.locator(".opblock.is-open .responses-wrapper .highlight-code").first();
      await expect(page.locator(".opblock.is-open .opblock-summary")).toBeInViewport();
      expect(await lightness(example), "code is light on dark, whatever is around it").toBeLessThan(128);
      await fits(page);
      for (const path of ["/problems", "/problems/stale_version"]) {
        await page.goto(API + path);
        await expect(page.locator("h1")).toBeVisible();
        await fits(page);
        await shot(`api${path.replaceAll("/", "-")}-${colorScheme}`);
      }
    });

    test("the API's own pages for mailed links", async ({ page, shot }) => {
      const { email } = await somebody();
      const { search } = new URL(await linkTo("/verify-email", email));
      await page.goto(`${API}/verify-email${search}`);
      await fits(page);
      await shot(`api-verify-${colorScheme}`);
      await page.getByRole("button").click();
      await expect(page.getByText("Your address is confirmed.")).toBeVisible();
      await page.goto(`${API}/verify-email${search}`);
      await page.getByRole("button").click();
      await expect(page.getByRole("alert")).toHaveText("This link is no longer valid. Ask for a new one.");
      await page.goto(`${API}/reset-password?token=forged`);
      await page.getByLabel("New password").fill(PASSWORD);
      await page.getByRole("button").click();
      await expect(page.getByRole("alert")).toBeVisible();
      await fits(page);
      await shot(`api-reset-${colorScheme}`);
    });
  });
}

/** From 0, black, to 255. */
async function lightness(element: Locator): Promise<number> {
  const png = (await element.screenshot()).toString("base64");
  return element.evaluate(async (_, png) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const one = new OffscreenCanvas(1, 1).getContext("2d")!;
    one.drawImage(image, 0, 0, 1, 1);
    const [red = 0, green = 0, blue = 0] = one.getImageData(0, 0, 1, 1).data;
    return (red + green + blue) / 3;
  }, png);
}

test("two users in one browser, by cookie from another origin: neither sees or changes the other's @short", async ({ page }) => {
  const [alice, boris] = [await somebody("Alice"), await somebody("Boris")];
  await page.goto("/");
  const told = await page.evaluate(
    async ([api, alice, boris]) => {
      const call = async (method: string, path: string, body?: object, headers: Record<string, string> = {}) => {
        const sent = { "Content-Type": "application/json", "X-CSRF": "1", Prefer: "wait=10", ...headers };
        const answer = await fetch(`${api}/api/v1${path}`, {
          method,
          credentials: "include",
          headers: sent,
          body: body ? JSON.stringify(body) : null,
        });
        return { status: answer.status, etag: answer.headers.get("ETag") ?? "", body: await answer.json().catch(() => null) };
      };
      const signIn = ({ email, password }: { email: string; password: string }) =>
        call("POST", "/auth/login", { email, password }, { "X-Session": "cookie" });
      await signIn(alice);
      const first = await call("GET", "/users/me");
      await call("POST", "/auth/logout");
      await signIn(boris);
      const second = await call("GET", "/users/me");
      const withHers = await call("GET", "/users/me", undefined, { "If-None-Match": first.etag });
      const written = await call("PATCH", "/users/me", { name: first.body.name }, { "If-Match": first.etag });
      return { first: first.body.name, second: second.body.name, withHers: withHers.status, written: written.status, cookie: document.cookie };
    },
    [API, alice, boris] as const,
  );
  expect(told).toEqual({ first: "Alice", second: "Boris", withHers: 200, written: 412, cookie: "" });
});

test("a write from another origin is preceded by one preflight, which the browser keeps", async ({ page, context }) => {
  const ada = await somebody();
  await page.goto("/");
  const network = await context.newCDPSession(page);
  await network.send("Network.enable");
  const sent: string[] = [];
  network.on("Network.requestWillBeSent", ({ request }) => void sent.push(`${request.method} ${request.url}`));
  const told = await page.evaluate(
    async ([api, { email, password }]) => {
      const json = { "Content-Type": "application/json", Prefer: "wait=10" };
      const signIn = await fetch(`${api}/api/v1/auth/login`, { method: "POST", headers: json, body: JSON.stringify({ email, password }) });
      const { access_token } = await signIn.json();
      const answers = [];
      for (const name of ["Ada One", "Ada Two"]) {
        const headers = { ...json, Authorization: `Bearer ${access_token}`, "Idempotency-Key": name.replace(" ", "-"), traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`, baggage: "a=1" };
        const answer = await fetch(`${api}/api/v1/users/me`, { method: "PATCH", headers, body: JSON.stringify({ name }) });
        answers.push([answer.status, answer.headers.get("ETag") !== null, answer.headers.get("X-Request-ID") !== null]);
      }
      return answers;
    },
    [API, ada] as const,
  );
  expect(told).toEqual([[200, true, true], [200, true, true]]);
  for (const path of ["/auth/login", "/users/me"]) {
    expect(sent.filter((one) => one === `OPTIONS ${API}/api/v1${path}`)).toHaveLength(1); // the second change needs none
  }
});
