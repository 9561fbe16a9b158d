import { API, codeOf, expect, fits, linkTo, mailTo, PASSWORD, somebody, test } from "./world";
import { choose, fill, signIn } from "./hands";

const NEW = "staple of the horse";

test("sign up, confirm the address, sign out, sign in @short", async ({ page, shot }) => {
  const email = `ada${Date.now()}@example.com`;
  await page.goto("/sign-up");
  await shot("sign-up");
  await fill(page, { Name: "Ada", "E-mail address": "nobody", Password: "short" });
  await page.getByRole("button", { name: "Sign up" }).click();
  await expect(page.getByText("An email address must have an @-sign.")).toBeVisible();
  await expect(page.getByText("Must have 8 to 128 characters.")).toBeVisible();
  await expect(page.getByLabel("E-mail address")).toBeFocused();
  await shot("sign-up-problems");
  await fill(page, { "E-mail address": email, Password: PASSWORD });
  await page.getByRole("button", { name: "Sign up" }).click();
  await expect(page.getByRole("heading", { name: "Profile" })).toBeFocused();
  await shot("profile");

  await page.goto(await linkTo("/verify-email", email));
  await page.getByRole("button", { name: "Confirm the address" }).click();
  await expect(page.getByText("Your address is confirmed.")).toBeVisible();
  await page.goto("/profile");
  await expect(page.getByText("✓ Your address is confirmed.")).toBeVisible();

  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await page.goBack();
  await expect(page.getByText(email)).not.toBeVisible();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await fill(page, { "E-mail address": email, Password: "wrong wrong wrong" });
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText("The address or the password is wrong.")).toBeVisible();
  await fill(page, { Password: PASSWORD });
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText(email)).toBeVisible();
});

test("a taken address is said at its field", async ({ page }) => {
  const { email } = await somebody();
  await page.goto("/sign-up");
  await fill(page, { Name: "Ada", "E-mail address": email, Password: PASSWORD });
  await page.getByRole("button", { name: "Sign up" }).click();
  await expect(page.getByLabel("E-mail address")).toHaveAccessibleDescription("Another account uses this address.");
});

test("a code at the sign-in", async ({ page, shot }) => {
  const ada = await somebody();
  await signIn(page, ada);
  await page.getByRole("link", { name: "Security" }).click();
  await shot("security");
  await page.getByLabel("Current password").first().fill("wrong wrong wrong");
  await page.getByRole("button", { name: "Turn it on" }).click();
  await expect(page.getByText("The password is wrong.")).toBeVisible();
  await page.getByLabel("Current password").first().fill(PASSWORD);
  await page.getByRole("button", { name: "Turn it on" }).click();
  await expect(page.getByRole("button", { name: "Turn it off" })).toBeVisible();
  await page.getByRole("button", { name: "Sign out" }).click();
  await signIn(page, ada, "Code");
  await shot("code");
  await fill(page, { Code: "000000" });
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText("This code is wrong or has expired.")).toBeVisible();
  const code = await codeOf(ada.email);
  await fill(page, { Code: `${code.slice(0, 3)} ${code.slice(3)}` });
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText(ada.email)).toBeVisible();
});

test("a forgotten password, by the mailed link, once", async ({ page, shot }) => {
  const ada = await somebody();
  await page.goto("/sign-in");
  await page.getByRole("link", { name: "Forgot your password?" }).click();
  await fill(page, { "E-mail address": ada.email });
  await page.getByRole("button", { name: "Send the link" }).click();
  await expect(page.getByRole("status")).toContainText("one is on its way");
  const link = await linkTo("/reset-password", ada.email);
  await page.goto(link);
  await fill(page, { "New password": "password" });
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByLabel("New password")).toHaveAttribute("aria-invalid", "true");
  await shot("reset-password");
  await fill(page, { "New password": NEW });
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByText("Sign in with the new one.")).toBeVisible();
  await page.goto(link);
  await fill(page, { "New password": NEW });
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByRole("alert")).toHaveText("This link is no longer valid. Ask for a new one.");
  await signIn(page, { ...ada, password: NEW });
});

test("the password is changed, and the other sessions end", async ({ page, browser }) => {
  const ada = await somebody();
  const elsewhere = await (await browser.newContext()).newPage();
  await signIn(elsewhere, ada);
  await signIn(page, ada);
  await page.goto("/security");
  await page.getByLabel("Current password").nth(1).fill(PASSWORD);
  await page.getByLabel("New password").fill(NEW);
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByText("Your other sessions have ended.")).toBeVisible();
  await page.goto("/profile");
  await expect(page.getByText(ada.email)).toBeVisible();
  await elsewhere.goto("/profile");
  await expect(elsewhere.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await mailTo(ada.email, "Your password was changed");
});

test("two windows change one profile", async ({ page, context, shot }) => {
  const ada = await somebody();
  await signIn(page, ada);
  const other = await context.newPage();
  await other.goto("/profile");
  await expect(other.getByLabel("Name")).toHaveValue("Ada");
  await fill(page, { "Phone number": "+34600123456" });
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByLabel("Phone number")).toHaveValue("+34600123456");
  // The other window knows the version before: different fields are merged …
  await fill(other, { Name: "Ada King" });
  await other.getByRole("button", { name: "Save" }).click();
  await expect(other.getByLabel("Phone number")).toHaveValue("+34600123456");
  await expect(other.getByLabel("Name")).toHaveValue("Ada King");
  // … and where both changed one, the user decides.
  await fill(page, { Name: "Ada Lovelace" });
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Somebody changed this meanwhile, perhaps you in another window:")).toBeVisible();
  await expect(page.getByText("theirs: Ada King")).toBeVisible();
  await shot("conflict");
  await page.getByRole("button", { name: "Use mine" }).click();
  await expect(page.getByText("theirs: Ada King")).not.toBeVisible(); // it is saved then
  await expect(page.getByLabel("Name")).toHaveValue("Ada Lovelace");
  await other.reload();
  await expect(other.getByLabel("Name")).toHaveValue("Ada Lovelace");
});

test("sessions are listed and ended, and the account is deleted", async ({ page, browser, shot }) => {
  const ada = await somebody();
  const elsewhere = await (await browser.newContext({ userAgent: "An old browser" })).newPage();
  await signIn(elsewhere, ada);
  await signIn(page, ada);
  await page.getByRole("link", { name: "Sessions" }).click();
  const old = page.getByRole("listitem").filter({ hasText: "An old browser" });
  await expect(old).toBeVisible();
  await shot("sessions");
  await old.getByRole("button", { name: "End it" }).click();
  await expect(old).not.toBeVisible();
  await elsewhere.reload();
  await expect(elsewhere.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await page.getByRole("link", { name: "Security" }).click();
  await page.getByLabel("Current password").last().fill(PASSWORD);
  await page.getByRole("button", { name: "Delete the account" }).click();
  await expect(page.getByRole("heading", { name: "Sign up" })).toBeVisible();
  await page.goto("/profile");
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
});

test("in Spanish, problems too", async ({ page, shot }) => {
  await page.goto("/sign-up");
  await choose(page, "Language", "Español");
  await expect(page.locator("html")).toHaveAttribute("lang", "es");
  await page.getByLabel("Dirección de correo").fill("nadie");
  await page.getByRole("button", { name: "Crear cuenta" }).click();
  await expect(page.getByText("Escribe una dirección de correo válida.")).toBeVisible();
  await shot("sign-up-es");
  await page.reload();
  await expect(page.getByRole("heading", { name: "Crear cuenta" })).toBeVisible();
});

test("every screen fits a phone, in the dark as well", async ({ page, shot }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: "dark" });
  for (const path of ["/sign-in", "/sign-up", "/forgot-password", "/verify-email?token=x", "/reset-password?token=x"]) {
    await page.goto(path);
    await expect(page.locator("h1")).toBeVisible();
    await fits(page);
  }
  await signIn(page, await somebody("A-name-that-is-long-enough-to-need-a-second-line-on-a-telephone"));
  for (const path of ["/profile", "/security", "/sessions"]) {
    await page.goto(path);
    await expect(page.locator("main button").first()).toBeVisible();
    await fits(page);
    await shot(`phone${path.replace("/", "-")}`);
  }
  expect(API).not.toBe(new URL(page.url()).origin);
});

test("with the keyboard alone", async ({ page }) => {
  const ada = await somebody();
  await page.goto("/sign-in");
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.type(ada.email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(ada.password);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Profile" })).toBeFocused();
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("Name")).toBeFocused();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("Ada Byron");
  await page.keyboard.press("Enter");
  await expect(page.getByText("Saved.")).toBeVisible();
  await page.reload();
  await expect(page.getByLabel("Name")).toHaveValue("Ada Byron");
});

test("the first page of docs/frontend.md @short", async ({ page }) => {
  const ada = await somebody();
  await page.goto("/first.html");
  await page.getByLabel("E-mail address").fill(ada.email);
  await page.getByLabel("Password").fill("wrong wrong wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert")).not.toBeEmpty();
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText("Hello Ada")).toBeVisible();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("button", { name: "Sign in" })).toBeVisible();
});
