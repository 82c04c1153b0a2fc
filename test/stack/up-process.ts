import { type ChildProcess, spawn } from "node:child_process";
import { Service, until } from "./service.ts";

const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;

/** Runs `tilewright up`. */
export class UpProcess {
  readonly service: Service;
  readonly token: string;
  readonly child: ChildProcess;
  readonly #said: () => string;

  private constructor(child: ChildProcess, said: () => string) {
    this.child = child;
    this.#said = said;
    this.token = /TILEWRIGHT_TOKEN=(\S+)/.exec(said())![1]!;
    this.service = new Service(new URL(/is up at (\S+)/.exec(said())![1]!));
  }

  static async start(state: string, model: string, more: readonly string[] = []): Promise<UpProcess> {
    const { child, said } = spawnUp(state, model, more);
    await until(async () => {
      if (child.exitCode !== null) throw new Error(said());
      return /--server \S+ --watch/.test(said()) || undefined;
    });
    return new UpProcess(child, said);
  }

  /** Runs `tilewright up` where it must fail. @returns its exit code and output */
  static async refused(state: string, model: string): Promise<{ code: number | null; said: string }> {
    const { child, said } = spawnUp(state, model, []);
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { code, said: said() };
  }

  /** Its output so far. */
  get said(): string {
    return this.#said();
  }

  async end(signal: "SIGINT" | "SIGKILL" = "SIGINT"): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill(signal);
    await gone;
  }
}

function spawnUp(state: string, model: string, more: readonly string[]) {
  const child = spawn(
    process.execPath,
    [MAIN, "up", "--data-dir", state, "--model", model, "--port", "0", ...more],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (bytes) => (said += bytes));
  return { child, said: () => said };
}
