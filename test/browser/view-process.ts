import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;

export interface ViewProcess {
  /** The printed address, with its token after #. */
  url: string;
  /** Harmless if it has ended. */
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
// Even if the tests are stopped half-way.
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts `tilewright view` and waits for its address. */
export async function startView(args: readonly string[]): Promise<ViewProcess> {
  const child = spawn(process.execPath, [MAIN, "view", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  let text = "";
  const url = await new Promise<string>((resolve, reject) => {
    const take = (bytes: Buffer) => {
      text += bytes.toString();
      const found = /http:\/\/127\.0\.0\.1:\d+\/#token=\S+/.exec(text);
      if (found) resolve(found[0]);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("exit", (code) => reject(new Error(`view ended with ${code}: ${text}`)));
  });
  return { url, stop: () => stop(child) };
}

/** Stops every process that a test has left, because it failed before it could. */
export async function stopViews(): Promise<void> {
  await Promise.all([...running].map(stop));
}

async function stop(child: ChildProcess): Promise<void> {
  if (!running.has(child)) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}
