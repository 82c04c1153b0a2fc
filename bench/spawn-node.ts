import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Runs a command and parses the last line it prints as JSON. */
// biome-ignore lint/suspicious/noExplicitAny: each caller knows what its child prints
export function runJson(command: string, args: readonly string[]): Promise<any> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    let out = "";
    child.stdout.on("data", (bytes) => {
      out += bytes;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code !== 0) return reject(new Error(`${command} ${args.join(" ")} ended with ${code}`));
      resolve(JSON.parse(out.trim().split("\n").at(-1)!));
    });
  });
}

/** Runs the command line as its first line says, Node's flags and the environment included. */
export async function tilewright(...args: string[]): Promise<void> {
  const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
  const [, set, flags] = /^#!.* -S (.*?)node (.*)$/m.exec(readFileSync(main, "utf8"))!;
  const child = spawn(process.execPath, [...flags!.split(" "), main, ...args], {
    env: {
      ...process.env,
      ...Object.fromEntries(
        set!
          .trim()
          .split(" ")
          .map((pair) => pair.split("=")),
      ),
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (bytes) => {
    log += bytes;
  });
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`tilewright ${args.join(" ")} ended with ${code}: ${log}`);
}

export function node(script: string, ...args: string[]) {
  return runJson(process.execPath, [new URL(script, import.meta.url).pathname, ...args]);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
