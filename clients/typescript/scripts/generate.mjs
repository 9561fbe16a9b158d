// Writes src/generated/ from the OpenAPI document; with --check, says whether what is there is that of it.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const METHODS = ["get", "post", "put", "patch", "delete"];
const HEADER = "// Generated from the OpenAPI document by `make client-types`. Do not edit.\n\n";
/** `api.auth` has methods of its own for these. */
const OF_THE_SESSION = /^auth\.(login|logout|logoutAll|reauthenticate|refresh|resendCode|verifyCode)$/;
/** PUT does what PATCH does. */
const TWICE = /\.replace$/;

const [source, check] = process.argv.slice(2);
const document = JSON.parse(readFileSync(source, "utf8"));
const operations = Object.entries(document.paths)
  .flatMap(([path, item]) => METHODS.filter((method) => method in item).map((method) => ({ path, method, ...item[method] })))
  .sort((one, other) => (one.operationId < other.operationId ? -1 : 1));

const inPath = ({ path }) => [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
const isCommand = ({ parameters = [] }) => parameters.some(({ name }) => name === "Idempotency-Key");
const schemaOf = ({ responses }, status) => responses[status]?.content?.["application/json"]?.schema.$ref;
const isPage = (operation) => /Page$/.test(schemaOf(operation, 200) ?? "");

/** The operation that changes what this one answers with: at its path, below it (a creation), or above it. */
function updateOf(operation) {
  const shown = schemaOf(operation, 201) ?? schemaOf(operation, 200);
  const update = operations.find(({ method, path, ...patch }) => {
    const fits = path === operation.path || path.startsWith(`${operation.path}/{`) || operation.path.startsWith(`${path}/`);
    return method === "patch" && fits && shown !== undefined && schemaOf(patch, 200) === shown;
  });
  return update?.operationId;
}

/** What is given after the parameters in the path. */
function content({ requestBody, parameters = [] }) {
  if (requestBody) return "application/json" in requestBody.content ? "body" : "file";
  return parameters.some((parameter) => parameter.in === "query") ? "query" : undefined;
}

function route(operation) {
  const { method, path, responses, security } = operation;
  const update = updateOf(operation);
  const marks = {
    command: isCommand(operation),
    open: security.length === 0,
    empty: "204" in responses,
    page: isPage(operation),
    [content(operation) ?? "bare"]: true,
    [`update:${update}`]: update !== undefined,
  };
  return [method.toUpperCase(), path, ...Object.keys(marks).filter((mark) => marks[mark])].join(" ");
}

function signature(operation) {
  const { operationId: id, requestBody } = operation;
  const name = JSON.stringify(id);
  const options = isCommand(operation) ? "CommandOptions" : "CallOptions";
  const given = {
    body: `body${requestBody?.required === false ? "?" : ""}: Body<${name}>`,
    query: `query?: Query<${name}>`,
    file: "file: Blob",
  }[content(operation)];
  const last = content(operation) === "file" ? "ImportOptions" : options;
  const args = [...inPath(operation).map((one) => `${camel(one)}: string`), given, `options?: ${last}`].filter(Boolean);
  const update = updateOf(operation);
  const plain = update ? `Resource<${JSON.stringify(update)}>` : `Answered<${name}>`;
  if (isPage(operation)) return `(${args.join(", ")}): Pages<ItemOf<${name}>>`;
  if (!isCommand(operation)) return `(${args.join(", ")}): Promise<${plain}>`;
  // Where verification is required, a registration ends as an operation that tells nothing.
  const result = operation.security.length === 0 && "201" in operation.responses ? `${plain} | Operation` : plain;
  return { args, result };
}

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

/** The tree of the client's methods, by the dots in their names. */
function tree() {
  const root = {};
  for (const operation of operations.filter((one) => !one.deprecated && !OF_THE_SESSION.test(one.operationId) && !TWICE.test(one.operationId))) {
    const names = operation.operationId.split(".");
    // What is read without a parameter is called by the name of the whole: `users.me()`.
    if (names.at(-1) === "get" && inPath(operation).length === 0) names[names.length - 1] = "";
    const parent = names.slice(0, -1).reduce((node, name) => (node[name] ??= {}), root);
    parent[names.at(-1)] = operation;
  }
  return root;
}

function shown(node, indent) {
  return Object.entries(node)
    .map(([name, one]) => {
      if (!("operationId" in one)) return `${indent}${name}: {\n${shown(one, `${indent}  `)}\n${indent}};`;
      const text = signature(one);
      const typed = typeof text === "string" ? `${name}${text}` : `${name}: Command<[${text.args.join(", ")}], ${text.result}>`;
      return `${indent}/** ${described(one, indent)} */\n${indent}${typed};`;
    })
    .join("\n");
}

function described({ summary, description }, indent) {
  const more = description && description !== summary ? ["", ...description.split("\n")] : [];
  return [summary, ...more].join(`\n${indent} * `).replaceAll(" \n", "\n");
}

function codes() {
  const problems = operations.flatMap(({ responses }) =>
    Object.values(responses).map((one) => (one.$ref ? document.components.responses[one.$ref.split("/").pop()] : one)),
  );
  const schemas = problems.map((one) => one.content?.["application/problem+json"]?.schema);
  return [...new Set(schemas.flatMap((schema) => schema?.allOf?.[1].properties.code.enum ?? []))].sort();
}

const files = {
  "schema.ts": HEADER + astToString(await openapiTS(document, { alphabetize: true })),
  "routes.ts": `${HEADER}import type { operations } from "./schema.js";

/**
 * Method, path and marks of each operation. A \`command\` is carried out by a worker, an \`open\` one takes no session,
 * an \`empty\` one answers 204, a \`page\` is one of a listing, and \`update\` names the operation that changes the result.
 */
export const routes = {
${operations.map((one) => `  ${JSON.stringify(one.operationId)}: ${JSON.stringify(route(one))},`).join("\n")}
} as const satisfies Record<keyof operations, string>;
`,
  "api.ts": `${HEADER}import type { Pages } from "../pages.js";
import type {
  Answered,
  Body,
  CallOptions,
  Command,
  CommandOptions,
  ImportOptions,
  ItemOf,
  Operation,
  Query,
  Resource,
} from "../types.js";

/** The operations of the API by their names. */
export interface Api {
${shown(tree(), "  ")}
}

/** The codes of problems. A later release may have more. */
export type ProblemCode =
${codes().map((code) => `  | ${JSON.stringify(code)}`).join("\n")};
`,
};

for (const [name, text] of Object.entries(files)) {
  const path = new URL(`../src/generated/${name}`, import.meta.url);
  if (!check) writeFileSync(path, text);
  else if (readFileSync(path, "utf8") !== text) {
    console.error(`clients/typescript/src/generated/${name} is not that of the API: run \`make client-types\`, and commit it`);
    process.exitCode = 1;
  }
}
