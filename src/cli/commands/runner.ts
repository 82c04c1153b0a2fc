import type { RunnerOptions } from "../../../gpu-runner/settings.ts";
import { loadModel } from "../../local/resolve-model.ts";

/** For threads to end after everything else has. */
const HUNG_MS = 5000;

export interface RunnerCommand extends RunnerOptions {
  model: string;
  variant?: string;
  signal: AbortSignal;
}

/** Runs the service that segments windows for others, until the signal says stop. */
export async function runner(options: RunnerCommand): Promise<void> {
  const { signal } = options;
  const model = await loadModel(options.model, { variant: options.variant, half: true, signal });
  // Loaded by this command only: the others need no server.
  const { startRunner } = await import("../../../gpu-runner/start.ts");
  const running = await startRunner({ ...options, model });
  console.log(running.sentence);
  await new Promise<void>((stop) => {
    // Told to stop while the model was still being opened.
    if (signal.aborted) stop();
    signal.addEventListener("abort", () => stop(), { once: true });
  });
  await running.stop();
  // A device that hangs would hold its thread, and that the process, even one that exits.
  setTimeout(() => process.kill(process.pid, "SIGKILL"), HUNG_MS).unref();
}
