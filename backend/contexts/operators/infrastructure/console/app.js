// The shell: who is signed in, which page is shown, and what is away.

import { Away, get, health, Problem, SignedOut, signIn, signInWithCode, signOut } from "./api.js";
import { button, h, put } from "./dom.js";
import * as audit from "./audit.js";
import * as deadLetters from "./dead-letters.js";
import * as operations from "./operations.js";
import * as overview from "./overview.js";
import * as settings from "./settings.js";
import * as users from "./users.js";

const PAGES = [
  ["/", "Overview", overview],
  ["/operations", "Operations", operations],
  ["/dead-letters", "Dead letters", deadLetters],
  ["/users", "Users", users],
  ["/audit", "Audit", audit],
  ["/settings", "Settings", settings],
];

const place = (id) => document.getElementById(id);
let shown = 0; // the number of the page that is shown: what an earlier one still fetches is dropped
let timer = null;
let me = null;

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the page
  place("content").focus();
});
window.addEventListener("hashchange", () => open({ moved: true }));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  me = null; // asked for again: another tab may have signed somebody else in
  // What was entered stays: the other tab may have the code of a sign-in.
  const entering = place("content").querySelector("form") && !place("away").hasChildNodes();
  if (!entering) open();
});
open();

/** The page of the address: its path, the rest of the path, its query. */
function address() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  const [, first = "", ...rest] = path.split("/");
  return { first: `/${first}`, rest: rest.map(decodeURIComponent), query: Object.fromEntries(new URLSearchParams(query)) };
}

/** Show the page of the address again, with what is true now. */
async function open({ moved = false } = {}) {
  const mine = ++shown;
  const from = document.activeElement;
  const { first, rest, query } = address();
  const [path, title, page] = PAGES.find(([known]) => known === first) || PAGES[0];
  clearTimeout(timer);
  let every = page.every;
  try {
    me ??= await get("/users/me"); // one request finds out whether anybody is signed in
    if (!me.roles.includes("admin")) throw new Problem(403, {});
    const answer = await page.show({ rest, query, again: () => open(), tell });
    if (mine !== shown) return;
    if (document.querySelector("dialog")) return again(every, mine); // the focus returns to what is there now
    const content = { title, every, ...(Array.isArray(answer) ? { nodes: answer } : answer) };
    document.title = `${content.title} · Console`;
    const arrives = moved && document.activeElement === from; // or the keyboard went on meanwhile
    navigation(path);
    put(place("content"), h("h1", { tabindex: "-1", "data-key": "heading" }, content.title), content.nodes);
    put(place("away"));
    every = content.every;
    if (arrives) place("content").firstChild.focus();
  } catch (error) {
    if (mine !== shown) return;
    every = await explain(error, title);
  }
  again(every, mine);
}

/** Show the same page again in so many seconds, unless another one is shown or nobody looks. */
function again(every, mine) {
  if (every && mine === shown) timer = setTimeout(() => (document.hidden ? null : open()), every * 1000);
}

/** Say what went wrong; the seconds until another try. */
async function explain(error, title) {
  if (error instanceof SignedOut) {
    showSignIn();
    return null;
  }
  if (error instanceof Away) {
    const cause = await causeOf(error);
    const since = new Date().toLocaleTimeString();
    const empty = !place("content").querySelector("h1 + *");
    const below = empty ? "Until then nothing can be shown." : "What is below is not current.";
    put(place("away"), h("p", {}, h("strong", {}, cause), ` ${below} Last try at ${since}; the next in 5 s.`));
    if (empty) put(place("content"), h("h1", { tabindex: "-1" }, title));
    return 5;
  }
  if (error instanceof Problem && error.status === 403) {
    navigation(null);
    place("pages").hidden = true;
    put(
      place("content"),
      h("h1", { tabindex: "-1" }, "Not an administrator"),
      h("p", {}, "The console is for accounts with the role admin. Where REQUIRE_ADMIN_TWO_STEP is set, they need two-step sign-in."),
    );
    return null;
  }
  const id = error.requestId ? ` Request ${error.requestId}.` : "";
  put(
    place("content"),
    h("h1", { tabindex: "-1" }, title),
    h("p", { role: "alert", class: "problem" }, [error.message, ...(error.reasons || [])].join(" ") + id),
    h("p", {}, button("Try again", () => open())),
  );
  if (!(error instanceof Problem)) console.error(error);
  return null;
}

/** Why something is away, in a sentence. */
async function causeOf(error) {
  const state = await health();
  if (state === null) return "The API does not answer.";
  const names = { database: "PostgreSQL", broker: "RabbitMQ" };
  const down = Object.keys(names).filter((name) => state[name] === "down");
  if (state.reason) return `${state.reason.replace(/\.$/, "")}.`;
  return down.length ? `${down.map((name) => names[name]).join(" and ")} cannot be reached.` : error.message;
}

function navigation(current) {
  const links = PAGES.map(([path, title]) =>
    h("a", { href: `#${path}`, "aria-current": path === current ? "page" : null, "data-key": `page ${path}` }, title),
  );
  put(place("pages"), links);
  put(place("account"), h("span", { class: "quiet" }, me?.email), button("Sign out", leave, { "data-key": "sign out" }));
  place("pages").hidden = place("account").hidden = false;
}

async function leave() {
  await signOut();
  showSignIn();
}

/** Say something that is read aloud, and goes after a while. */
function tell(text) {
  const line = h("p", {}, text);
  put(place("told"), line);
  setTimeout(() => line.remove(), 8000);
}

function showSignIn() {
  me = null;
  shown += 1;
  clearTimeout(timer);
  document.title = "Sign in · Console";
  place("pages").hidden = place("account").hidden = true;
  put(place("away"));
  put(place("content"), form("Sign in", [
    ["name", "E-mail address or username", { autocomplete: "username", required: true }],
    ["password", "Password", { type: "password", autocomplete: "current-password", required: true }],
  ], async ({ name, password }) => {
    const challenge = await signIn(name, password);
    if (challenge) showCode(challenge);
    else await enter();
  }));
  place("content").querySelector("input").focus();
}

function showCode(challenge) {
  put(place("content"), form("Enter the code", [
    ["code", "The six digits that were mailed to you", { autocomplete: "one-time-code", inputmode: "numeric", required: true }],
  ], async ({ code }) => {
    await signInWithCode(challenge, code);
    await enter();
  }));
  place("content").querySelector("input").focus();
}

async function enter() {
  try {
    me = await get("/users/me");
  } catch (error) {
    if (!(error instanceof SignedOut)) throw error;
    throw new Error("The browser did not keep the session cookie. Open the console over https, or on this machine.");
  }
  await open({ moved: true });
}

function form(title, fields, act) {
  const error = h("p", { role: "alert", class: "problem", hidden: true });
  const submit = h("button", { type: "submit", class: "main" }, title === "Sign in" ? "Sign in" : "Continue");
  return h(
    "form",
    {
      class: "narrow",
      async onsubmit(event) {
        event.preventDefault();
        error.hidden = submit.disabled = true;
        try {
          await act(Object.fromEntries(new FormData(event.target)));
        } catch (failure) {
          error.textContent = failure instanceof Away ? await causeOf(failure) : failure.message;
          error.hidden = submit.disabled = false;
        }
      },
    },
    h("h1", {}, title),
    fields.map(([name, label, attributes]) =>
      h("p", {}, h("label", { for: name }, label), h("input", { id: name, name, ...attributes })),
    ),
    error,
    submit,
  );
}
