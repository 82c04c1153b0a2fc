import { type ChildProcess, spawn } from "node:child_process";
import type { Bundles } from "../../src/cli/local-stack.ts";
import { Service, until } from "./service.ts";

/** The stack as its own process group, so that SIGKILL reaches workerd and Node at once, as a power cut would. */
export class KillableStack {
  readonly service: Service;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.service = new Service(new URL(url));
  }

  /** @param port default any free one */
  static async start(state: string, model: string, bundles: Bundles, port = 0): Promise<KillableStack> {
    const script = new URL("run-stack.ts", import.meta.url).pathname;
    const child = spawn(
      process.execPath,
      [script, state, model, bundles.jobs, bundles.segment, String(port)],
      {
        detached: true,
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let said = "";
    child.stdout!.on("data", (bytes) => {
      said += bytes;
    });
    child.stderr!.on("data", (bytes) => {
      said += bytes;
    });
    const url = await until(async () => {
      if (child.exitCode !== null) throw new Error(said);
      return /^up at (\S+)/m.exec(said)?.[1];
    });
    return new KillableStack(child, url);
  }

  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("close", resolve));
    process.kill(-this.#child.pid!, "SIGKILL");
    await gone;
  }
}
