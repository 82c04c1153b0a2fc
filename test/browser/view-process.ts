import { spawn } from "node:child_process";
import { once } from "node:events";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;

export interface ViewProcess {
  /** The printed address, with its token after #. */
  url: string;
  stop(): Promise<void>;
}

/** Starts `tilewright view` and waits for its address. */
export async function startView(args: readonly string[]): Promise<ViewProcess> {
  const child = spawn(process.execPath, [MAIN, "view", ...args], { stdio: ["ignore", "pipe", "pipe"] });
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
  return {
    url,
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    },
  };
}
