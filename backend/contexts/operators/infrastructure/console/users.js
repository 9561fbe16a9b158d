// Users: a search, and one with sessions, sign-ins and operations.

import { get, post, put, remove } from "./api.js";
import { ago, ask, button, clock, facts, filters, h, link, pager, state, statusOf, table } from "./dom.js";

const PATH = "/users";
const ROLES = ["admin"];

export async function show({ rest, query, again, tell }) {
  if (rest.length) return one(rest[0], again, tell);
  const found = await get("/users", query);
  const fields = {
    q: ["Begins with (name, address, username)", {}],
    email: ["E-mail address", {}],
    username: ["Username", {}],
    is_active: ["Active", { choices: ["true", "false"] }],
  };
  return [filters(PATH, fields, query), table("Users", USERS, found.items, "None matches."), pager(PATH, query, found.next_cursor)];
}

const USERS = [
  ["Name", (user) => link(user.name, `${PATH}/${user.id}`)],
  ["E-mail address", (user) => user.email],
  ["Username", (user) => user.username],
  ["State", (user) => active(user)],
  ["Roles", (user) => user.roles.join(", ") || null],
  ["Created", (user) => ago(user.created_at)],
];

const active = (user) => (user.is_active ? state("good", "active") : state("bad", "deactivated"));

async function one(id, again, tell) {
  const path = `${PATH}/${encodeURIComponent(id)}`;
  const [user, sessions, signIns, operations] = await Promise.all([
    get(path),
    get(`${path}/sessions`),
    get("/audit", { about: id, action: "auth.sign_in", limit: 10 }),
    get("/operations", { actor: id, limit: 10 }),
  ]);
  return {
    title: user.name,
    nodes: [
      h("p", {}, link("All users", PATH)),
      facts([
        ["State", active(user)],
        ["E-mail address", [user.email, " ", user.email_verified ? state("good", "verified") : state("warn", "not verified")]],
        ["Username", user.username],
        ["Roles", user.roles.join(", ") || "none"],
        ["Two-step sign-in", user.two_step ? "on" : "off"],
        ["Created", clock(user.created_at)],
        ["Id", h("code", {}, user.id)],
      ]),
      h("p", { class: "actions" }, acts(user, path, sessions.items.length, again, tell)),
      h("h2", {}, "Sessions"),
      table("Sessions", SESSIONS, sessions.items, "Not signed in anywhere."),
      h("h2", {}, "Last sign-ins"),
      table("Last sign-ins", SIGN_INS, signIns.items, "None in the audit log."),
      h("h2", {}, "Last operations"),
      table("Last operations", OPERATIONS, operations.items, "None in the last 30 days."),
      h("p", { class: "actions" }, link("All operations", "/operations", { actor: id }), link("Requests with this address", `/operations/${encodeURIComponent(user.email)}`), link("Audit log", "/audit", { about: id })),
    ],
  };
}

const SESSIONS = [
  ["Session", (session) => [h("code", {}, session.id), session.current ? h("span", { class: "quiet" }, " this one") : null]],
  ["Began", (session) => ago(session.created_at)],
  ["Last used", (session) => ago(session.last_used_at)],
  ["Address", (session) => session.ip],
  ["Browser", (session) => session.user_agent],
];

const SIGN_INS = [
  ["When", (entry) => ago(entry.at)],
  ["Outcome", (entry) => (entry.outcome === "succeeded" ? statusOf("succeeded") : state("bad", entry.outcome))],
  ["Address", (entry) => entry.ip],
  ["Request", (entry) => link(entry.request_id, `/operations/${entry.request_id}`)],
];

const OPERATIONS = [
  ["Command", (item) => link(item.command, `/operations/${encodeURIComponent(item.id)}`)],
  ["Status", (item) => [statusOf(item.status), item.error ? h("span", { class: "quiet" }, ` ${item.error.code}`) : null]],
  ["Accepted", (item) => ago(item.accepted_at)],
];

function acts(user, path, sessions, again, tell) {
  const act = (label, title, text, send, done) =>
    button(label, async () => {
      if (await ask(title, text, {}, label, async () => finished(await send()))) {
        tell(done);
        await again();
      }
    }, { "data-key": label.replace("Deactivate", "Activate") });
  return [
    user.is_active
      ? act("Deactivate", `Deactivate ${user.name}?`, "They cannot sign in any more, and every session of theirs ends at once.", () => post(`${path}/deactivate`), `${user.name} is deactivated.`)
      : act("Activate", `Activate ${user.name}?`, "They can sign in again.", () => post(`${path}/activate`), `${user.name} is active.`),
    sessions ? act("End sessions", `End every session of ${user.name}?`, "They may sign in again.", () => remove(`${path}/sessions`), "Every session has ended.") : null,
    roles(user, path, again, tell),
    user.email_verified
      ? null
      : act("Resend verification", `Mail another link to ${user.email}?`, "A newer link replaces the earlier one. At most 10 mails an hour go to one address.", () => post("/auth/resend-verification", { email: user.email }), "Another link is on its way, unless there were too many."),
  ];
}

function roles(user, path, again, tell) {
  return button("Roles", async () => {
    const fields = Object.fromEntries(ROLES.map((role) => [role, [role, { type: "checkbox", checked: user.roles.includes(role) }]]));
    const text = "Their access tokens are refused from the next request on. A refresh brings the new roles.";
    const act = async (values) => finished(await put(`${path}/roles`, { roles: ROLES.filter((role) => role in values) }));
    if (await ask(`Roles of ${user.name}`, text, fields, "Set roles", act)) {
      tell(`The roles of ${user.name} are set.`);
      await again();
    }
  }, { "data-key": "roles" });
}

/** A command that was accepted and has no outcome within ten seconds is not done yet. */
function finished(answer) {
  if (answer?.status === "pending") throw new Error(`Accepted, but not processed yet: look for operation ${answer.id}.`);
}
