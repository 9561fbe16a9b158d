// Prints the size of what an application loads: the built modules, after gzip, and the hand-written lines behind them.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const at = (path) => new URL(`../${path}`, import.meta.url);
const isCode = (name) => name.endsWith(".js") && readFileSync(at(`dist/${name}`), "utf8").trim() !== "export {};";
const modules = readdirSync(at("dist"), { recursive: true }).filter(isCode);
const HOOKS = "react.js";

function told(names) {
  const built = names.map((name) => readFileSync(at(`dist/${name}`), "utf8")).join("\n");
  const written = names.filter((name) => !name.startsWith("generated"));
  const lines = written.flatMap((name) => readFileSync(at(`src/${name.replace(/js$/, "ts")}`), "utf8").split("\n"));
  const code = lines.filter((line) => line.trim() !== "" && !/^\s*(\/\/|\/?\*)/.test(line));
  return `${(gzipSync(built, { level: 9 }).length / 1000).toFixed(1)} kB after gzip, ${code.length} lines written by hand`;
}

console.log(`client: ${told(modules.filter((name) => name !== HOOKS))}`);
console.log(`React hooks: ${told([HOOKS])}`);
