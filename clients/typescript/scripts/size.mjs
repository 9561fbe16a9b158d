// Prints the size of what an application loads, and the hand-written lines behind it. Fails where the README tells
// another size, and where the lines are more than the client may have.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const MOST_LINES = 600;
const HOOKS = "react.js";

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const built = readdirSync(new URL("../dist", import.meta.url), { recursive: true });
const modules = built.filter((name) => name.endsWith(".js") && read(`dist/${name}`).trim() !== "export {};");

function size(names) {
  const code = names.map((name) => read(`dist/${name}`)).join("\n");
  return `${(gzipSync(code, { level: 9 }).length / 1000).toFixed(1)} kB`;
}

/** Lines of code, without comments and empty ones. */
function lines(name) {
  const all = read(`src/${name.replace(/js$/, "ts")}`).split("\n");
  return all.filter((line) => line.trim() !== "" && !/^\s*(\/\/|\/?\*)/.test(line)).length;
}

const told = `${size(modules.filter((name) => name !== HOOKS))} after gzip; the React hooks ${size([HOOKS])}`;
const written = modules.filter((name) => !name.startsWith("generated")).reduce((sum, name) => sum + lines(name), 0);
console.log(`${told}; ${written} lines written by hand`);
if (written > MOST_LINES) fail(`The client may have at most ${MOST_LINES} lines.`);
if (!read("README.md").includes(told)) fail("README.md tells another size.");

function fail(text) {
  console.error(text);
  process.exitCode = 1;
}
