// The overview: what needs attention, the lanes, the workers, the schedule.

import { get, now, post } from "./api.js";
import { ago, ask, button, bytes, duration, h, link, sparkline, state, table } from "./dom.js";

export const every = 5;

export async function show({ again, tell }) {
  const [status, lanes, history, workers, schedule] = await Promise.all(
    [get("/status"), get("/lanes"), lastHours(), get("/workers"), get("/schedule")],
  );
  const lines = Object.fromEntries(history.items.map((one) => [one.name, one]));
  return [
    totals(status, workers.items),
    h("h2", {}, "Needs attention"),
    warnings(status.warnings),
    h("h2", {}, "Lanes"),
    table("Lanes", laneColumns(lines, again, tell), lanes.items),
    h("h2", {}, "Paused commands"),
    table("Paused commands", pausedColumns(again, tell), lanes.paused_commands, "None."),
    h("p", { class: "actions" }, pauseCommand(lanes.items, again, tell)),
    h("h2", {}, "Workers"),
    table("Workers", WORKERS, workers.items, "No worker has reported within five minutes."),
    h("h2", {}, "Schedule"),
    table("Schedule", SCHEDULE, schedule.items, "Nothing has run yet."),
  ];
}

let known = { asked: 0 };

/** The last hour of every lane, by the minute: it is asked for twice a minute, not with everything else. */
async function lastHours() {
  if (Date.now() - known.asked > 30_000) known = { asked: Date.now(), history: get("/lanes/history") };
  try {
    return await known.history;
  } catch (error) {
    known = { asked: 0 };
    throw error;
  }
}

function totals(status, workers) {
  const busy = workers.reduce((sum, worker) => sum + worker.busy.length, 0);
  const processes = workers.reduce((sum, worker) => sum + worker.processes, 0);
  const outbox = status.outbox.rows ? `the oldest ${duration(status.outbox.oldest_seconds)}` : "nothing waits";
  return h(
    "ul",
    { class: "totals" },
    total("Warnings", status.warnings.length, status.warnings.length ? "see below" : "none"),
    total("Outbox", status.outbox.rows, outbox),
    total("Dead letters", status.dead_letters, "open", "/dead-letters"),
    total("Busy processes", busy, `of ${processes}`),
  );
}

const total = (name, number, detail, path) =>
  h("li", {}, h("span", {}, path ? link(name, path) : name), h("strong", {}, String(number)), h("span", { class: "quiet" }, detail));

function warnings(items) {
  if (!items.length) return h("p", {}, state("good", "Nothing needs attention."));
  return h(
    "ul",
    { class: "warnings" },
    items.map((one) =>
      h("li", {}, state("warn", one.code.replaceAll("_", " ")), one.about ? h("code", {}, one.about) : null, h("span", {}, one.detail)),
    ),
  );
}

function laneColumns(lines, again, tell) {
  return [
    ["Lane", (lane) => h("code", {}, lane.name), "whole"],
    ["State", laneState],
    ["Ready", (lane) => lane.ready, "number"],
    ["Taken", (lane) => lane.unacked, "number"],
    ["Delayed", (lane) => lane.delayed, "number"],
    ["Consumers", (lane) => lane.consumers, "number"],
    ["Wait p95", (lane) => duration(lane.wait_seconds.p95), "number"],
    ["Last taken", (lane) => ago(lane.last_taken_at)],
    ["Last hour", (lane) => lastHour(lines[lane.name])],
    ["", (lane) => pauseOrResume(lane, again, tell)],
  ];
}

function laneState(lane) {
  if (lane.paused) {
    return h("span", {}, state("warn", "paused"), " ", ago(lane.paused.since), h("span", { class: "quiet" }, ` ${lane.paused.reason}`));
  }
  if (lane.behind) {
    const by = lane.behind.seconds === null ? "never taken" : `by ${duration(lane.behind.seconds)}`;
    return h("span", {}, state("bad", `behind ${by}`), lane.behind.since ? [", since ", ago(lane.behind.since)] : null);
  }
  if (lane.ready === null) return state("quiet", "unknown");
  return lane.consumers === 0 ? state("warn", "no consumer") : state("good", "keeps up");
}

function lastHour(line) {
  if (!line) return null;
  const most = Math.max(...line.finished);
  const words = `${line.per_minute.toFixed(1)} per minute; in the last hour ${line.finished.reduce((sum, one) => sum + one, 0)}, at most ${most} in a minute`;
  return h("span", { class: "line" }, sparkline(line.finished, words), h("span", { class: "quiet" }, `${line.per_minute.toFixed(1)}/min`));
}

function pauseOrResume(lane, again, tell) {
  const path = `/lanes/${encodeURIComponent(lane.name)}`;
  const label = lane.paused ? "Resume" : "Pause";
  const act = async () => {
    const done = lane.paused
      ? await ask(`Resume ${lane.name}?`, "Its workers continue within five seconds.", {}, "Resume", () => post(`${path}/resume`))
      : await ask(
          `Pause ${lane.name}?`,
          "Within five seconds no worker starts a message of this lane. Commands are accepted and wait.",
          { reason: ["Reason, which everybody sees", { required: true, maxlength: 500 }] },
          "Pause",
          (values) => post(`${path}/pause`, values),
        );
    if (done) {
      tell(`${lane.name} is ${lane.paused ? "resumed" : "paused"}.`);
      await again();
    }
  };
  return button(label, act, { "aria-label": `${label} ${lane.name}`, "data-key": `lane ${lane.name}` });
}

function pausedColumns(again, tell) {
  return [
    ["Command", (one) => h("code", {}, one.name)],
    ["Since", (one) => ago(one.since)],
    ["Reason", (one) => one.reason],
    ["", (one) => resumeCommand(one.name, again, tell)],
  ];
}

function pauseCommand(lanes, again, tell) {
  return button("Pause a command", async () => {
    const fields = {
      command: ["Command", { choices: lanes.flatMap((lane) => lane.tasks).sort() }],
      reason: ["Reason, which everybody sees", { required: true, maxlength: 500 }],
    };
    const text = "Within five seconds no worker starts a message of this name. The rest of its lane goes on. Commands are accepted and wait.";
    const act = ({ command, reason }) => post(`/commands/${encodeURIComponent(command)}/pause`, { reason });
    const done = await ask("Pause a command", text, fields, "Pause", act);
    if (done) {
      tell(`${done.command} is paused.`);
      await again();
    }
  }, { "data-key": "pause a command" });
}

function resumeCommand(name, again, tell) {
  return button("Resume", async () => {
    const act = () => post(`/commands/${encodeURIComponent(name)}/resume`);
    if (await ask(`Resume ${name}?`, "Workers continue with what waits within five seconds.", {}, "Resume", act)) {
      tell(`${name} is resumed.`);
      await again();
    }
  }, { "aria-label": `Resume ${name}`, "data-key": `command ${name}` });
}

const WORKERS = [
  ["Worker", (worker) => h("code", {}, worker.name)],
  ["State", (worker) => workerState(worker)],
  ["Busy with", (worker) => busyWith(worker.busy)],
  ["Takes", (worker) => worker.kinds.join(", ")],
  ["Processes", (worker) => worker.processes, "number"],
  ["Memory", (worker) => bytes(worker.memory_bytes), "number"],
  ["Started", (worker) => ago(worker.started_at)],
];

function workerState(worker) {
  const silent = (now() - new Date(worker.seen_at)) / 1000;
  return silent > 10 ? state("bad", `silent for ${duration(silent)}`) : state("good", "reports");
}

function busyWith(busy) {
  if (!busy.length) return "nothing";
  return h("ul", { class: "plain" }, busy.map((one) => h("li", {}, h("code", {}, one.task), " for ", duration((now() - new Date(one.since)) / 1000))));
}

const SCHEDULE = [
  ["Task", (one) => h("code", {}, one.name)],
  ["Runs", (one) => one.rule],
  ["Last run", (one) => (one.last_run ? ago(one.last_run.started_at) : null)],
  ["Result", (one) => runResult(one.last_run)],
  ["Missed", (one) => one.missed, "number"],
];

function runResult(run) {
  if (!run) return null;
  if (!run.result) return state("quiet", "running");
  return state(run.result === "succeeded" ? "good" : "bad", run.result);
}
