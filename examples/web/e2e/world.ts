import { readdirSync, readFileSync, statSync } from "node:fs";
import { expect, type Page, request, test as base } from "@playwright/test";

const { API = "http://127.0.0.1:8000", MAIL = "../../var/mail", SWITCH = "", SCREENSHOTS = "../../var/e2e" } = process.env;
const { ADMIN_EMAIL = "", ADMIN_PASSWORD = "" } = process.env;

export { API, expect };
export const PASSWORD = "correct horse battery";
export const ADMIN = { email: ADMIN_EMAIL, password: ADMIN_PASSWORD };

export const test = base.extend<{ shot: (name: string, page?: Page) => Promise<void> }>({
  /** Keeps a screenshot. */
  shot: async ({ page }, use) => {
    await use(async (name, of = page) => void (await of.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true })));
  },
});

let people = 0;

/** Somebody with an account, registered behind the browser's back. */
export async function somebody(name = "Ada"): Promise<{ email: string; password: string; name: string }> {
  const person = { name, email: `${name.slice(0, 5).trim().toLowerCase()}${Date.now()}.${people++}@example.com`, password: PASSWORD };
  const api = await request.newContext();
  const answer = await api.post(`${API}/api/v1/users`, { data: person, headers: { Prefer: "wait=10" } });
  expect(answer.status()).toBe(201);
  await api.dispose();
  return person;
}

/** The text of the newest mail to an address that has this in it; waits for it. */
export async function mailTo(email: string, containing: string): Promise<string> {
  let found = "";
  await expect(() => {
    const mails = readdirSync(MAIL).filter((name) => name.endsWith(".eml")).map((name) => `${MAIL}/${name}`);
    const newestFirst = mails.sort((one, other) => statSync(other).mtimeMs - statSync(one).mtimeMs);
    found = newestFirst.map((path) => readFileSync(path, "utf8")).find((text) => text.includes(`To: ${email}`) && text.includes(containing)) ?? "";
    expect(found).not.toBe("");
  }).toPass({ timeout: 20_000 });
  return found;
}

/** The link in the newest mail to an address that leads to this path. */
export async function linkTo(path: string, email: string): Promise<string> {
  const mail = await mailTo(email, `${path}?token=`);
  return new RegExp(`https?://\\S+${path}\\?token=[^\\s"]+`).exec(mail)![0];
}

/** The code in the newest mail to an address. */
export async function codeOf(email: string): Promise<string> {
  return /^(\d{6})\r?$/m.exec(await mailTo(email, "Your sign-in code"))![1]!;
}

/** Stops or starts a part of the program: "stop api", "start api", "broker away", "broker back" … */
export const order = (what: string) => fetch(`${SWITCH}/${encodeURIComponent(what)}`, { method: "POST" });

/** Whether nothing is cut off or has to be scrolled sideways. */
export async function fits(page: Page): Promise<void> {
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
}
