/**
 * Property tests from a random start, in bounded time: `npm run test:random -- [start] [minutes]`. Prints the start; what it finds
 * becomes a test with that example.
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { SLOW } from "../vitest.config.ts";

const [start = Math.floor(Math.random() * 2 ** 31), minutes = 10] = process.argv.slice(2).map(Number);
const root = join(import.meta.dirname, "..");
const isSlow = (name: string) => SLOW.some((path) => `test/${name}`.startsWith(path.replace("**", "")));
const files = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.ts") && !isSlow(name) && !/^(s3|webgpu)\//.test(name))
  .filter((name) => readFileSync(join(import.meta.dirname, name), "utf8").includes('from "fast-check"'))
  .map((name) => `test/${name}`);
console.log(`start ${start}: ${files.length} files, at most ${minutes} minutes`);
const vitest = join(root, "node_modules/vitest/vitest.mjs");
const child = spawn(process.execPath, [vitest, "run", ...files], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, TILEWRIGHT_START: String(start) },
});
const ending = setTimeout(() => {
  console.log(`stopped after ${minutes} minutes`);
  child.kill();
}, minutes * 60_000);
child.on("exit", (code, signal) => {
  clearTimeout(ending);
  console.log(`start ${start}: ${signal ? "stopped" : code === 0 ? "nothing found" : "failed"}`);
  process.exitCode = signal ? 0 : (code ?? 1);
});
