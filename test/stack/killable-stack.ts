import { type ChildProcess, spawn } from "node:child_process";
import type { Bundles } from "../../src/cli/stack/local-stack.ts";
import { Service, until } from "./service.ts";

/** The stack in its own process group, so that SIGKILL ends workerd and Node at once, like a power cut. */
export class KillableStack {
  readonly service: Service;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.service = new Service(new URL(url));
  }

  /** @param given `port`: default any free one; `bindings` of both Workers, beside those of the tests */
  static async start(
    state: string,
    model: string,
    { jobs, segment }: Bundles,
    given: { port?: number; bindings?: Record<string, string> } = {},
  ): Promise<KillableStack> {
    const script = new URL("run-stack.ts", import.meta.url).pathname;
    const options = JSON.stringify({ state, model, jobs, segment, port: 0, ...given });
    const child = spawn(process.execPath, [script, options], {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
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
