// The audit log: filters, and an export of what they match.

import { download, get } from "./api.js";
import { button, clock, filters, h, link, pager, state, statusOf, table } from "./dom.js";

const PATH = "/audit";

export async function show({ query, tell }) {
  const found = await get("/audit", query);
  const fields = {
    action: ["Action", { placeholder: "users.delete_user" }],
    outcome: ["Outcome", { list: ["succeeded"] }],
    actor: ["Actor (user id)", {}],
    about: ["About (id)", {}],
    request_id: ["Request id", {}],
    since: ["Since", { type: "datetime-local" }],
    until: ["Until", { type: "datetime-local" }],
  };
  return [
    filters(PATH, fields, query),
    h("p", { class: "actions" }, button("Export as CSV", () => save(query, tell)), h("span", { class: "quiet" }, "what the filters match, at most 100,000 entries")),
    table("Audit log", ENTRIES, found.items, "None matches."),
    pager(PATH, query, found.next_cursor),
  ];
}

const ENTRIES = [
  ["At", (entry) => clock(entry.at)],
  ["Action", (entry) => link(entry.action, PATH, { action: entry.action }), "whole"],
  ["Outcome", (entry) => (entry.outcome === "succeeded" ? statusOf("succeeded") : state("bad", entry.outcome))],
  ["Actor", (entry) => [person(entry), entry.replayed_by ? [", replayed by ", link(entry.replayed_by, `/users/${entry.replayed_by}`)] : null]],
  ["About", (entry) => about(entry)],
  ["Why", (entry) => entry.reason],
  ["Address", (entry) => entry.ip],
  ["Request", (entry) => (entry.request_id ? link(entry.request_id, `/operations/${encodeURIComponent(entry.request_id)}`) : null)],
];

function person({ actor, request_id: request }) {
  if (actor) return link(actor, `/users/${actor}`);
  return request?.startsWith("cli-") ? "at the command line" : "anonymous";
}

function about(entry) {
  if (entry.detail) return h("code", {}, entry.detail);
  return entry.about ? link(entry.about, PATH, { about: entry.about }) : null;
}

async function save({ cursor, ...filter }, tell) {
  try {
    const address = URL.createObjectURL(await download("/audit/export", filter));
    h("a", { href: address, download: "audit.csv" }).click();
    URL.revokeObjectURL(address);
    tell("The export is saved.");
  } catch (error) {
    tell(`The export failed: ${error.message}`);
  }
}
