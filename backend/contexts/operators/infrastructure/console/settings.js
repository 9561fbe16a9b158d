// What this deployment runs.

import { get } from "./api.js";
import { facts, h, state, table } from "./dom.js";

export async function show() {
  const about = await get("/about");
  return [
    facts([
      ["Version", about.version],
      ["Commit", about.commit ? h("code", {}, about.commit) : "unknown: COMMIT is not set"],
      ["Environment", about.environment],
      ["Contexts", about.contexts.join(", ")],
      ["Migrations", migrations(about)],
    ]),
    h("h2", {}, "Keys"),
    table("Keys", KEYS, about.keys),
    h("h2", {}, "Limits"),
    h("p", { class: "quiet" }, "Every setting that is a number or a switch. Texts are not shown: some are secrets."),
    table("Limits", LIMITS, Object.entries(about.limits)),
  ];
}

function migrations({ migrations_pending: pending, migrations_unknown: unknown }) {
  if (pending.length) return state("bad", `pending: ${pending.join(", ")}. Run alembic upgrade heads.`);
  if (unknown.length) return state("warn", `of a newer release: ${unknown.join(", ")}`);
  return state("good", "all applied");
}

const KEYS = [
  ["Id", (key) => h("code", {}, key.id)],
  ["Use", (key) => (key.use === "signs" ? state("good", "signs and seals") : state("quiet", "verifies and opens"))],
];

const LIMITS = [
  ["Setting", ([name]) => h("code", {}, name)],
  ["Value", ([, value]) => (typeof value === "boolean" ? (value ? "yes" : "no") : value.toLocaleString())],
];
