// Dead letters: groups by cause, one in full, replay and discard.

import { get, post } from "./api.js";
import { ago, ask, button, clock, facts, h, link, pager, sparkline, statusOf, table } from "./dom.js";

const PATH = "/dead-letters";
const STATES = ["open", "replayed", "discarded"];

export async function show({ rest, query, again, tell }) {
  if (rest.length) return one(rest[0], again, tell);
  const { status = "open", cursor, ...group } = query;
  const [groups, found] = await Promise.all([
    get("/dead-letters/groups", { status, ...group }),
    get("/dead-letters", { status, cursor, ...group }),
  ]);
  const chosen = Object.values(group).filter(Boolean).join(" · ");
  return [
    h("p", { class: "actions" }, STATES.map((state) => link(state, PATH, { ...group, status: state }, state === status))),
    chosen ? h("p", { class: "actions" }, h("span", {}, "Only ", h("code", {}, chosen)), link("Show all", PATH, { status })) : null,
    h("h2", {}, "By cause"),
    table("Groups of dead letters", groupColumns(status, again, tell), groups.items, `None is ${status}.`),
    found.items.length ? [h("h2", {}, "Each"), table("Dead letters", LETTERS, found.items)] : null,
    pager(PATH, query, found.next_cursor),
  ];
}

const causeOf = ({ task, reason, error }) => ({ task, reason, error });

function groupColumns(status, again, tell) {
  return [
    ["Task", (group) => link(group.task || "(unknown)", PATH, { ...causeOf(group), status })],
    ["Reason", (group) => group.reason],
    ["Error", (group) => (group.error ? h("code", {}, group.error) : null)],
    ["Number", (group) => group.number, "number"],
    ["First", (group) => ago(group.first_dead_at)],
    ["Last", (group) => ago(group.last_dead_at)],
    ["Last 24 hours", (group) => sparkline(group.per_hour, `${group.per_hour.reduce((sum, one) => sum + one, 0)} in the last 24 hours, ${group.per_hour.at(-1)} in the last hour`)],
    ["", (group) => (status === "open" ? [replayGroup(group, again, tell), " ", discardGroup(group, again, tell)] : null)],
  ];
}

/** Replay a group, at most 1000 at once, until none is left or none can be replayed. */
function replayGroup(group, again, tell) {
  const label = `Replay all ${group.number} of ${group.task || "unknown tasks"}, ${group.reason} ${group.error}`;
  return button("Replay all", async () => {
    let replayed = 0;
    const act = async (_values, progress) => {
      let answer;
      do {
        answer = await post("/dead-letters/replay", causeOf(group));
        replayed += answer.replayed;
        const bar = h("progress", { max: group.number, value: replayed, "aria-label": "Replayed" });
        progress([bar, h("p", {}, `${replayed} replayed, ${answer.remaining} still open`)]);
      } while (answer.replayed && answer.remaining && replayed < group.number); // those that fail again are open again
    };
    const text = "Their messages are delivered again, the oldest first, on behalf of whoever sent them. Each takes effect once.";
    if (await ask(`Replay ${group.number} of ${group.task}?`, text, {}, "Replay", act)) {
      tell(`${replayed} dead letters are replayed.`);
      await again();
    }
  }, { "aria-label": label, "data-key": `replay ${Object.values(causeOf(group)).join(" ")}` });
}

function discardGroup(group, again, tell) {
  const label = `Discard all ${group.number} of ${group.task || "unknown tasks"}, ${group.reason} ${group.error}`;
  return button("Discard all", async () => {
    const fields = { note: ["Why they will not be processed", { required: true, maxlength: 500 }] };
    let discarded = 0;
    const act = async (values) => ({ discarded } = await post("/dead-letters/discard", { ...causeOf(group), ...values }));
    if (await ask(`Discard ${group.number} of ${group.task}?`, "Their operations stay failed.", fields, "Discard", act)) {
      tell(`${discarded} dead letters are discarded.`);
      await again();
    }
  }, { "aria-label": label, "data-key": `discard ${Object.values(causeOf(group)).join(" ")}` });
}

const LETTERS = [
  ["Message", (letter) => link(letter.message_id, `${PATH}/${letter.id}`)],
  ["Task", (letter) => (letter.task ? h("code", {}, letter.task) : "(unknown)")],
  ["Reason", (letter) => [letter.reason, letter.error ? h("span", { class: "quiet" }, ` ${letter.error}`) : null]],
  ["Status", (letter) => statusOf(letter.status)],
  ["Failed", (letter) => `${letter.times}×`, "number"],
  ["Last", (letter) => ago(letter.last_dead_at)],
];

async function one(id, again, tell) {
  const letter = await get(`${PATH}/${encodeURIComponent(id)}`);
  return {
    title: letter.task || "Dead letter",
    nodes: [
      h("p", {}, link("All dead letters", PATH)),
      facts([
        ["Status", statusOf(letter.status)],
        ["Note", letter.note],
        ["Reason", letter.reason],
        ["Error", letter.error ? h("code", {}, letter.error) : null],
        ["Failed", `${letter.times}×`],
        ["First", clock(letter.first_dead_at)],
        ["Last", clock(letter.last_dead_at)],
        ["Lane", h("code", {}, letter.lane)],
        ["Operation", [link(letter.message_id, `/operations/${letter.message_id}`), letter.operation ? [" ", statusOf(letter.operation)] : null]],
        ["Request", letter.request_id ? link(letter.request_id, `/operations/${letter.request_id}`) : null],
      ]),
      h("p", { class: "actions" }, replay(letter, again, tell), letter.status === "open" ? discard(letter, again, tell) : null),
      h("h2", {}, "Body"),
      h("p", { class: "quiet" }, "Secrets are masked."),
      h("pre", { tabindex: "0", "aria-label": "Body" }, letter.body ? JSON.stringify(letter.body, null, 2) : `${letter.content_type}, in base64: ${letter.raw}`),
      h("h2", {}, "Headers"),
      h("pre", { tabindex: "0", "aria-label": "Headers" }, JSON.stringify(letter.headers, null, 2)),
      letter.traceback.length ? [h("h2", {}, "Traceback"), letter.traceback.map(traceback)] : null,
    ],
  };
}

function traceback(link) {
  const frames = (link.frames || []).map((frame) => `${frame.file}:${frame.line} ${frame.function}`);
  return h("pre", { tabindex: "0", "aria-label": "Traceback" }, [link.type, ...frames.reverse()].join("\n  "));
}

function replay(letter, again, tell) {
  return button("Replay", async () => {
    const text = "Its message is delivered again, on behalf of whoever sent it. It takes effect once.";
    if (await ask("Replay this dead letter?", text, {}, "Replay", () => post(`${PATH}/${letter.id}/replay`))) {
      tell("The dead letter is replayed.");
      await again();
    }
  }, { "data-key": "replay" });
}

function discard(letter, again, tell) {
  return button("Discard", async () => {
    const fields = { reason: ["Why it will not be processed", { required: true, maxlength: 500 }] };
    const act = (values) => post(`${PATH}/${letter.id}/discard`, values);
    if (await ask("Discard this dead letter?", "Its operation stays failed.", fields, "Discard", act)) {
      tell("The dead letter is discarded.");
      await again();
    }
  }, { "data-key": "discard" });
}
