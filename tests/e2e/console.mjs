// An operator's day in the console. It ends with 1, and says why, at the first thing that is not as it should be.

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const { CANARY, CHROMIUM, INPUT, MAIL, MODULES, PASSWORD, QUESTIONS, SCHEME, SCREENSHOTS, URL: base, WIDTH } = process.env;
const { chromium } = createRequire(MODULES)("playwright-core");

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});
const context = await browser.newContext({
  viewport: { width: Number(WIDTH), height: 844 },
  colorScheme: SCHEME,
  acceptDownloads: true,
});
context.setDefaultTimeout(30_000);
const page = await context.newPage();
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));
page.on("console", (message) => {
  if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) faults.push(message.text());
});

const OPEN = "Open: id, handle, request id or e-mail address";
const heading = (name) => page.getByRole("heading", { level: 1, name, exact: true });
const row = (text) => page.getByRole("row").filter({ hasText: text });
const click = (name, within = page) => use(within.getByRole("button", { name, exact: true }));
const follow = (name, within = page) => use(within.getByRole("link", { name, exact: true }).first());
const told = (text) => page.locator("#told").getByText(text).waitFor();
const seen = (text, within = page) => within.getByText(text).first().waitFor();
const dialog = () => page.getByRole("dialog");
const happens = (name) => page.request.post(`${base}/_test/${name}`);

/** Click it, or go to it and press Enter, which selects a checkbox with Space. */
async function use(one, key = "Enter") {
  if (INPUT === "mouse") return one.click();
  await one.focus();
  await page.keyboard.press(key);
}

const focused = () => page.evaluate(() => document.activeElement.textContent);

/** Come back from another tab, such as that of the mails, and let the page ask what it asks then. */
async function returned() {
  document.dispatchEvent(new Event("visibilitychange"));
  for (let asked = 0; asked < 5; asked += 1) await fetch("/health/live");
}

/** Wait until the table has so many rows below its heading. */
async function rows(table, number) {
  await page.getByRole("table", { name: table, exact: true }).locator("tbody tr").nth(number - 1).waitFor();
  await page.getByRole("table", { name: table, exact: true }).locator("tbody tr").nth(number).waitFor({ state: "detached" });
}

async function go(path, title) {
  await page.goto(`${base}/console#${path}`);
  await heading(title).waitFor();
}

/** What holds for every page: no wider than the screen, labels, one heading, contrast; and a picture to look at. */
async function isFine(name) {
  await page.screenshot({ path: `${SCREENSHOTS}/console-${name}-${WIDTH}-${SCHEME}.png`, fullPage: true });
  const found = await page.evaluate(check);
  assert.deepEqual(found, [], name);
}

function check() {
  const wrong = [];
  const over = document.documentElement.scrollWidth - innerWidth;
  if (over > 0) wrong.push(`${over} px too wide`);
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  for (const input of document.querySelectorAll("input, select")) if (!input.labels.length) wrong.push(`no label: ${input.name}`);
  for (const one of document.querySelectorAll("button, a")) {
    if (!(one.ariaLabel || one.textContent).trim()) wrong.push("no name");
    if (one.tabIndex < 0) wrong.push(`not reached by Tab: ${one.textContent}`);
  }
  for (const one of document.querySelectorAll("button, tbody strong, tbody time")) {
    const text = document.createRange();
    text.selectNodeContents(one);
    if ((one.matches("time") || !/\s/.test(one.textContent)) && text.getClientRects().length > 1) wrong.push(`broken over lines: ${one.textContent}`);
  }
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = numbers(color).map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (numbers(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.disabled || element.closest("option, .hidden, noscript")) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort().reverse();
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) wrong.push(`contrast ${ratio.toFixed(1)}: ${walker.currentNode.textContent.trim().slice(0, 30)}`);
  }
  return wrong;
}

const DAY = {
  async "whoever is not signed in sees a form, and learns that a password is wrong"() {
    await page.goto(`${base}/console`);
    await heading("Sign in").waitFor();
    await isFine("sign-in");
    await page.keyboard.type("root@example.com"); // the first field has the focus
    await page.keyboard.press("Tab");
    await page.keyboard.type("another password");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: "incorrect" }).waitFor();
  },

  async "somebody without the role is told so"() {
    await signIn("boris@example.com");
    await heading("Not an administrator").waitFor();
    await click("Sign out");
    await heading("Sign in").waitFor();
  },

  async "by keyboard: sign in, reach the content, pause a lane"() {
    await signIn("root@example.com");
    await heading("Overview").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
    await page.locator(".skip").focus();
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "content");
    const lane = row("notifications.mail");
    await lane.getByRole("button", { name: "Pause notifications.mail" }).focus();
    await page.keyboard.press("Enter");
    await dialog().getByLabel("Reason, which everybody sees").waitFor();
    await page.keyboard.press("Escape");
    await dialog().waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Pause notifications.mail");
    await page.keyboard.press("Enter");
    await page.keyboard.type("a test whose reason is so long that the columns beside it become narrow");
    await page.keyboard.press("Enter");
    await told("notifications.mail is paused.");
    await seen("paused", lane);
    await seen("a test", lane);
    await isFine("overview");
  },

  async "a clock of this machine that is ten hours ahead changes nothing"() {
    const other = await context.newPage();
    await other.addInitScript(() => {
      const now = Date.now;
      Date.now = () => now() + 36_000_000;
    });
    await other.goto(`${base}/console`);
    const since = other.getByRole("row").filter({ hasText: "notifications.mail" }).locator("time").first();
    assert.doesNotMatch(await since.innerText(), / h ago/);
    await other.close();
  },

  async "resume the lane"() {
    const lane = row("notifications.mail");
    await click("Resume notifications.mail", lane);
    await click("Resume", dialog());
    await told("notifications.mail is resumed.");
    await seen("keeps up", lane);
    await seen("all@here");
  },

  async "the keyboard's focus stays on a link while the page is drawn again"() {
    const link = page.locator("#content").getByRole("link", { name: "Dead letters", exact: true });
    await link.focus();
    await page.waitForFunction((drawn) => !drawn.isConnected, await link.elementHandle());
    assert.equal(await focused(), "Dead letters");
  },

  async "the questions of docs/operating.md, each within three clicks from the overview"() {
    for (const { path, shows } of JSON.parse(QUESTIONS)) {
      await go("/", "Overview");
      let clicks = 0;
      for (const step of path) {
        if (step.typed) await page.getByLabel(OPEN).fill(step.typed);
        else if (step.name !== "Overview") {
          await use(page.getByRole("link", { name: step.name, exact: true }).or(page.getByRole("button", { name: step.name, exact: true })).first());
          clicks += 1;
        }
      }
      assert.ok(clicks <= 3);
      for (const text of shows) await seen(text);
    }
  },

  async "pause a command, and resume it"() {
    await go("/", "Overview");
    await click("Pause a command");
    await dialog().getByLabel("Command").selectOption("users.create_user");
    await dialog().getByLabel("Reason, which everybody sees").fill("a test");
    await click("Pause", dialog());
    await told("users.create_user is paused.");
    await rows("Paused commands", 1);
    await isFine("paused-command");
    await click("Resume users.create_user");
    await click("Resume", dialog());
    await told("users.create_user is resumed.");
    await seen("None.");
  },

  async "the commands: how fast, what failed and why"() {
    await follow("Operations");
    await heading("Operations").waitFor();
    const commands = page.getByRole("table", { name: "Commands" });
    await seen("1 × email_taken", commands);
    await isFine("operations");
    await follow("1", commands);
    const found = page.getByRole("table", { name: "Operations" });
    await seen("failed email_taken", found);
    await rows("Operations", 1);
    await follow("users.create_user", found);
    await heading("users.create_user").waitFor();
    await seen("accepted", page.getByRole("table", { name: "Timeline" }));
    await isFine("operation");
  },

  async "a search, by command and by request"() {
    await go("/operations", "Operations");
    await page.getByLabel("Command", { exact: true }).fill("users.delete_user");
    await click("Search");
    await seen("None matches.");
    await page.getByLabel(OPEN).fill("no-such-request");
    await page.keyboard.press("Enter");
    await heading("Request").waitFor();
    await seen("No step is stored.");
    await go("/operations", "Operations");
    await page.getByLabel(OPEN).fill("ada@example.com");
    await page.keyboard.press("Enter");
    await heading("Requests of ada@example.com").waitFor();
    await seen("users.create_user", page.getByRole("table", { name: "Timeline" }));
    await isFine("address");
    await go("/operations/nobody@", "Operations");
    await page.getByRole("alert").waitFor();
  },

  async "cancel what waits in the outbox"() {
    await happens("broker-down");
    const answer = await page.request.post(`${base}/api/v1/users`, {
      data: { name: "Late", email: "late@example.com", password: PASSWORD },
      headers: { Prefer: "respond-async" },
    });
    await go(`/operations/${(await answer.json()).id}`, "users.create_user");
    await seen("pending");
    await click("Cancel");
    await click("Cancel the operation", dialog());
    await told("The operation is cancelled.");
    await seen("cancelled");
  },

  async "while RabbitMQ is away the console says so"() {
    await go("/", "Overview");
    await seen("broker away");
    await isFine("broker-away");
    await happens("broker-up");
    await seen("keeps up");
  },

  async "a dead letter: its secret is masked; discard it with a reason"() {
    await follow("Dead letters");
    await heading("Dead letters").waitFor();
    await isFine("dead-letters");
    await follow("users.create_user", page.getByRole("table", { name: "Groups of dead letters" }));
    await seen("Show all");
    await use(page.getByRole("table", { name: "Dead letters", exact: true }).getByRole("link").first());
    await heading("users.create_user").waitFor();
    await seen("•••");
    assert.ok(!(await page.content()).includes(CANARY));
    await isFine("dead-letter");
    await click("Discard");
    await dialog().getByLabel("Why it will not be processed").fill("a test");
    await click("Discard", dialog());
    await told("The dead letter is discarded.");
    await seen("a test");
  },

  async "replay one, and a group with its progress"() {
    await click("Replay");
    await click("Replay", dialog());
    await told("The dead letter is replayed.");
    await go("/dead-letters", "Dead letters");
    await use(page.getByRole("button", { name: /^Replay all 3/ }));
    await click("Replay", dialog());
    await told("3 dead letters are replayed.");
    await happens("sweep");
    await follow("replayed");
    await rows("Dead letters", 4);
  },

  async "discard a group with a reason"() {
    await go("/dead-letters", "Dead letters");
    await use(page.getByRole("button", { name: /^Discard all 2 of users.request_password_reset, fault OSError/ }));
    await dialog().getByLabel("Why they will not be processed").fill("of no use any more");
    await click("Discard", dialog());
    await told("2 dead letters are discarded.");
    await follow("discarded");
    await rows("Dead letters", 2);
  },

  async "a user: search, roles, deactivate, end sessions, another link"() {
    await follow("Users");
    await heading("Users").waitFor();
    await page.getByLabel("Begins with (name, address, username)").fill("ada");
    await page.keyboard.press("Enter");
    await rows("Users", 1);
    await isFine("users");
    await follow("Ada");
    await heading("Ada").waitFor();
    await isFine("user");
    for (const [act, confirm, done] of [
      ["Resend verification", "Resend verification", "Another link is on its way"],
      ["End sessions", "End sessions", "Every session has ended."],
      ["Deactivate", "Deactivate", "Ada is deactivated."],
      ["Activate", "Activate", "Ada is active."],
    ]) {
      await click(act);
      await click(confirm, dialog());
      await told(done);
    }
    await seen("Not signed in anywhere.");
    await click("Roles");
    await use(dialog().getByLabel("admin"), "Space");
    await click("Set roles", dialog());
    await told("The roles of Ada are set.");
    await page.getByRole("definition").filter({ hasText: /^admin$/ }).waitFor();
  },

  async "whoever signs in in another tab is named when one comes back"() {
    for (const email of ["ada@example.com", "root@example.com"]) {
      const data = { email, password: PASSWORD };
      await page.request.post(`${base}/api/v1/auth/login`, { data, headers: { "X-Session": "cookie" } });
      await page.evaluate(returned);
      await seen(email, page.locator("#account"));
    }
  },

  async "the audit log: filtered and exported"() {
    await follow("Audit");
    await heading("Audit").waitFor();
    await isFine("audit");
    await page.getByLabel("Action").fill("lanes.pause");
    await page.keyboard.press("Enter");
    await rows("Audit log", 1);
    const [file] = await Promise.all([page.waitForEvent("download"), click("Export as CSV")]);
    assert.equal(file.suggestedFilename(), "audit.csv");
    const lines = (await readFile(await file.path(), "utf8")).trim().split("\r\n");
    assert.equal(lines.length, 2);
    assert.match(lines[1], /lanes\.pause/);
  },

  async "what runs, and the keyboard that goes on while the page is loading"() {
    let answer;
    const held = new Promise((resolve) => (answer = resolve));
    await page.route("**/about", async (route) => (await held, route.continue()));
    await follow("Settings");
    await page.getByRole("link", { name: "Audit", exact: true }).focus();
    answer();
    await heading("Settings").waitFor();
    assert.equal(await focused(), "Audit");
    await seen("abc1234");
    await seen("signs and seals");
    await isFine("settings");
  },

  async "an access token that is gone is renewed, and nobody notices"() {
    await context.clearCookies({ name: "access" });
    await go("/", "Overview");
    await seen("notifications.mail");
  },

  async "while PostgreSQL is away the page stays, says so, and recovers by itself"() {
    await happens("database-down");
    await page.locator("#away").filter({ hasText: "PostgreSQL cannot be reached; see DATABASE_URL." }).waitFor();
    await seen("notifications.mail"); // as it was
    await page.reload();
    await page.locator("#away").filter({ hasText: "PostgreSQL cannot be reached; see DATABASE_URL." }).waitFor();
    await isFine("database-away");
    await happens("database-up");
    await page.locator("#away").filter({ hasText: "PostgreSQL" }).waitFor({ state: "hidden" });
    await seen("notifications.mail");
  },

  async "sign out, and in again with a mailed code"() {
    await happens("two-step");
    await click("Sign out");
    await heading("Sign in").waitFor();
    await signIn("root@example.com");
    await heading("Enter the code").waitFor();
    await isFine("code");
    await page.evaluate(returned);
    await page.keyboard.type(await mailedCode());
    await page.keyboard.press("Enter");
    await heading("Overview").waitFor();
  },
};

async function signIn(email) {
  await page.getByLabel("E-mail address or username").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
}

/** The code in the newest mail that has one. */
async function mailedCode() {
  for (let tries = 0; tries < 100; tries += 1) {
    for (const name of (await readdir(MAIL)).sort().reverse()) {
      const code = /^\s*(\d{3} ?\d{3})\s*$/m.exec(await readFile(`${MAIL}/${name}`, "utf8"));
      if (code) return code[1];
    }
    await page.waitForTimeout(100);
  }
  throw new Error("no code was mailed");
}

let failed = 0;
for (const [name, scene] of Object.entries(DAY)) {
  try {
    await scene();
    assert.deepEqual(faults, []);
    console.log(`ok: ${name}`);
  } catch (error) {
    failed = 1;
    console.log(`NOT ok: ${name}\n${error.stack}\n${await page.locator("body").innerText()}`);
    await page.screenshot({ path: `${SCREENSHOTS}/console-failed-${WIDTH}.png`, fullPage: true });
    break;
  }
}
await browser.close();
process.exit(failed);
