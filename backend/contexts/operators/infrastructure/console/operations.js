// Operations: how commands fare, a search, and the timeline of one.

import { get, post, Problem } from "./api.js";
import { ago, ask, button, clock, duration, facts, filters, h, link, pager, statusOf, table } from "./dom.js";

const PATH = "/operations";
const WINDOWS = { 60: "hour", 360: "6 hours", 1440: "24 hours" };

export async function show({ rest, query, again, tell }) {
  if (rest.length) return one(rest[0], again, tell);
  if (query.find) {
    location.replace(`#${PATH}/${encodeURIComponent(query.find)}`);
    return [];
  }
  const { minutes = "60", ...filter } = query;
  const [stats, found] = await Promise.all([get("/operations/stats", { minutes }), get("/operations", filter)]);
  const fields = {
    find: ["Open: id, handle, request id or e-mail address", {}],
    command: ["Command", { list: stats.items.map((item) => item.command) }],
    status: ["Status", { choices: ["pending", "succeeded", "failed"] }],
    actor: ["Actor (user id)", {}],
    resource: ["Resource", { placeholder: "/api/v1/users/…" }],
    request_id: ["Request id", {}],
    since: ["Since", { type: "datetime-local" }],
    until: ["Until", { type: "datetime-local" }],
  };
  return [
    filters(PATH, fields, query),
    h("h2", {}, `Commands in the last ${WINDOWS[minutes] || `${minutes} minutes`}`),
    h("p", { class: "actions" }, Object.entries(WINDOWS).map(([size, name]) => link(`last ${name}`, PATH, { ...filter, minutes: size }, size === minutes)), h("span", { class: "quiet" }, "counted since ", clock(stats.since))),
    table("Commands", COMMANDS(stats.since), stats.items, "No command ended."),
    h("h2", {}, "Operations"),
    h("p", { class: "quiet" }, "Those with an outcome, and those in the outbox, newest first. One that is still in RabbitMQ is found by its handle."),
    table("Operations", OPERATIONS, found.items, "None matches."),
    pager(PATH, query, found.next_cursor),
  ];
}

const COMMANDS = (since) => [
  ["Command", (item) => link(item.command, PATH, { command: item.command, since })],
  ["Succeeded", (item) => item.succeeded, "number"],
  ["Failed", (item) => (item.failed ? link(String(item.failed), PATH, { command: item.command, status: "failed", since }) : 0), "number"],
  ["p50", (item) => duration(item.p50), "number"],
  ["p95", (item) => duration(item.p95), "number"],
  ["Why they failed", (item) => problems(item.problems)],
];

const problems = (found) =>
  Object.entries(found)
    .map(([code, number]) => `${number} × ${code}`)
    .join(", ") || null;

const OPERATIONS = [
  ["Command", (item) => link(item.command, `${PATH}/${encodeURIComponent(item.id)}`)],
  ["Status", (item) => [statusOf(item.status), item.error ? h("span", { class: "quiet" }, ` ${item.error.code}`) : null]],
  ["Accepted", (item) => ago(item.accepted_at)],
  ["Took", (item) => took(item), "number"],
  ["Actor", (item) => actor(item.actor)],
  ["Request", (item) => (item.request_id ? h("code", {}, item.request_id) : null)],
];

const took = ({ accepted_at: from, finished_at: to }) => (from && to ? duration((new Date(to) - new Date(from)) / 1000) : null);

const actor = (id) => (id ? link(id, `/users/${id}`) : "anonymous");

/** The operation or request with this id or handle, with its timeline; or the requests of an address. */
async function one(identity, again, tell) {
  if (identity.includes("@")) return ofAddress(identity);
  const path = encodeURIComponent(identity);
  const [operation, trace] = await Promise.all([operationOf(identity), get(`/traces/${path}`)]);
  const nodes = [
    h("p", {}, link("All operations", PATH)),
    operation ? described(operation) : h("p", {}, h("code", {}, identity), " names no operation with an outcome. What the request of this id caused:"),
    operation?.status === "pending" ? h("p", { class: "actions" }, cancelButton(operation, again, tell)) : null,
    h("h2", {}, "Timeline"),
    timeline(trace),
  ];
  return { title: operation ? operation.command : "Request", nodes, every: operation?.status === "pending" ? 2 : null };
}

/** What was asked for with this address, by whoever: a visitor has no account to look for. */
async function ofAddress(email) {
  const trace = await post("/traces", { email });
  return { title: `Requests of ${email}`, nodes: [h("p", {}, link("All operations", PATH)), timeline(trace)] };
}

/** By its handle, or by its id; null if it names a request, or an operation without an outcome. */
async function operationOf(identity) {
  if (/^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(identity)) return (await get("/operations", { id: identity })).items[0] || null;
  try {
    return await get(`/operations/${encodeURIComponent(identity)}`);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

function described(operation) {
  const { error, progress } = operation;
  return [
    facts([
      ["Status", statusOf(operation.status)],
      ["Problem", error ? [h("code", {}, error.code), ` ${error.detail}`] : null],
      ["Accepted", clock(operation.accepted_at)],
      ["Finished", clock(operation.finished_at)],
      ["Took", took(operation)],
      ["Progress", progress ? `${progress.done} of ${progress.total}, ${progress.failed} failed` : null],
      ["Resource", operation.resource],
      ["Actor", operation.actor ? actor(operation.actor) : null],
      ["Request", operation.request_id ? h("code", {}, operation.request_id) : null],
      ["Handle", h("code", {}, operation.id)],
    ]),
    progress ? h("progress", { max: progress.total, value: progress.done, "aria-label": "Progress" }) : null,
  ];
}

function cancelButton(operation, again, tell) {
  return button("Cancel", async () => {
    const text = "It ends as failed, unless a worker has finished it. A worker that has started is not interrupted: the first to commit decides.";
    const path = `/operations/${encodeURIComponent(operation.id)}/cancel`;
    if (await ask("Cancel this operation?", text, {}, "Cancel the operation", () => post(path))) {
      tell("The operation is cancelled.");
      await again();
    }
  }, { "data-key": "cancel" });
}

function timeline(trace) {
  const first = trace.steps.length ? new Date(trace.steps[0].at) : null;
  const columns = [
    ["Step", (step) => h("strong", {}, step.what)],
    ["At", (step) => clock(step.at)],
    ["After", (step) => (new Date(step.at) - first ? `+${duration((new Date(step.at) - first) / 1000)}` : null), "number"],
    ["About", (step) => h("code", {}, step.subject), "whole"],
    ["Detail", (step) => step.detail],
  ];
  return [
    table("Timeline", columns, trace.steps, "No step is stored."),
    h("p", { class: "quiet" }, "Requests: ", trace.request_ids.length ? trace.request_ids.map((id) => [link(id, `${PATH}/${id}`), " "]) : "unknown"),
    h("p", { class: "quiet" }, `Note: ${trace.unknown}.`),
  ];
}
