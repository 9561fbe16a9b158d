export { type Client, createClient } from "./client.js";
export type { Api, ProblemCode } from "./generated/api.js";
export type { components } from "./generated/schema.js";
export { type Page, Pages } from "./pages.js";
export { isProblem, Problem, SessionChanged, Unreachable } from "./problem.js";
export type * from "./types.js";
