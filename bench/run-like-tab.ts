import { segment } from "../src/index.ts";

/**
 * `segment --backend wasm` in its own process, with the variant that the tab runs.
 *   node bench/run-like-tab.ts <scan> <out>
 * prints {"seconds", "cpuSeconds" of all threads}, from the start of the process
 */
const [source, out] = process.argv.slice(2) as [string, string];
await segment({ source, model: "nuclei", variant: "int4-edge", out, backends: ["wasm"], force: true });
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ seconds: process.uptime(), cpuSeconds: (user + system) / 1e6 }));
