// Prints the size of what an application loads: the built modules, after gzip, and the hand-written lines behind them.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const at = (path) => new URL(`../${path}`, import.meta.url);
const modules = readdirSync(at("dist"), { recursive: true }).filter((name) => name.endsWith(".js"));
const read = (names) => names.map((name) => readFileSync(at(`dist/${name}`), "utf8")).join("\n");
const gzipped = (names) => `${(gzipSync(read(names), { level: 9 }).length / 1000).toFixed(1)} kB`;
console.log(`client ${gzipped(modules.filter((name) => name !== "react.js"))}, React hooks ${gzipped(["react.js"])} after gzip`);
