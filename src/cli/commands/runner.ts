import type { PullFrom, RunnerOptions } from "../../../gpu-runner/settings.ts";
import { PROVIDERS } from "../../inference/node/open-provider.ts";
import { defaultBackend } from "../../local/backends.ts";
import { loadModel } from "../../local/resolve-model.ts";
import { JobError } from "../../orchestrator/errors.ts";
import type { AddCommand } from "../options/context.ts";
import { parseCount, parsePort, parseUrl, parseWhole, parseWholeList } from "../options/parsers.ts";

/** Time for threads to end after everything else has. */
const HUNG_MS = 5000;

interface RunnerFlags {
  executionProvider?: string;
  allowFallback?: boolean;
  allowCpuOperators?: boolean;
  devices?: number[];
  host: string;
  port: number;
  token?: string;
  model: string;
  variant?: string;
  sessions?: number;
  maxBatch?: number;
  maxQueueDelayMs: number;
  maxBodyMib: number;
  shutdownTimeout: number;
  pull?: string;
  service?: string;
}

interface RunnerCommand extends RunnerOptions {
  model: string;
  variant?: string;
  signal: AbortSignal;
}

export const addRunnerCommand: AddCommand = (program, { signal, setResumeHint }) => {
  program
    .command("runner")
    .description("run an inference service on a GPU or on the cores of this machine")
    .option(
      "--execution-provider <names>",
      `what runs the model: ${PROVIDERS.join(", ")}, or several in order; default cpu, or wasm without onnxruntime-node`,
    )
    .option("--allow-fallback", "use another provider if none of these runs the model")
    .option("--allow-cpu-operators", "run operators on the CPU that have no GPU kernel")
    .option("--devices <i,j,k>", "GPUs, by their numbers; default the first", parseWholeList)
    .option(
      "--host <address>",
      "address to listen on; others than loopback let other machines in",
      "127.0.0.1",
    )
    .option("--port <n>", "port to listen on; 0 takes any free one", parsePort, 8788)
    .option(
      "--token <token>",
      "bearer token that clients must send; default the environment's TILEWRIGHT_TOKEN",
    )
    .option("--model <name|dir>", "bundled model or package directory", "nuclei")
    .option("--variant <name>", "variant of the model; default as the package says")
    .option(
      "--sessions <n>",
      "copies of the model that run in parallel; default one for each core or GPU",
      parseCount,
    )
    .option("--max-batch <n>", "windows in one run of a GPU; default 16", parseCount)
    .option("--max-queue-delay-ms <n>", "how long a window waits for others to fill a batch", parseWhole, 5)
    .option("--max-body-mib <n>", "the largest request body", parseCount, 16)
    .option(
      "--shutdown-timeout <seconds>",
      "when stopped, seconds for requests in progress to finish",
      parseWhole,
      30,
    )
    .option("--pull <url>", "also pull shards from this queue (token in TILEWRIGHT_QUEUE_TOKEN)", parseUrl)
    .option(
      "--service <url>",
      "the job service of these shards (token in TILEWRIGHT_SERVICE_TOKEN)",
      parseUrl,
    )
    .action((flags: RunnerFlags) => {
      setResumeHint("requests in progress are finished first");
      const { executionProvider, maxQueueDelayMs, shutdownTimeout, ...rest } = flags;
      return runRunner({
        ...rest,
        providers: executionProvider?.split(",") ?? [defaultBackend()],
        batchLatencyMs: maxQueueDelayMs,
        drainSeconds: shutdownTimeout,
        pull: toPullFrom(flags),
        token: flags.token ?? (process.env.TILEWRIGHT_TOKEN || undefined),
        signal,
      });
    });
};

/** Where shards come from. Queue and service may have separate tokens or share one, as `tilewright up` does. */
function toPullFrom({ pull, service }: RunnerFlags): PullFrom | undefined {
  if (pull === undefined && service === undefined) return undefined;
  if (pull === undefined || service === undefined) {
    throw new JobError(
      "--pull and --service go together: shards come from the queue, and results go to the service",
    );
  }
  const { TILEWRIGHT_TOKEN, TILEWRIGHT_SERVICE_TOKEN, TILEWRIGHT_QUEUE_TOKEN } = process.env;
  const serviceToken = TILEWRIGHT_SERVICE_TOKEN || TILEWRIGHT_TOKEN;
  const queueToken = TILEWRIGHT_QUEUE_TOKEN || TILEWRIGHT_TOKEN;
  if (!serviceToken || !queueToken) {
    throw new JobError("pulling needs tokens: set TILEWRIGHT_QUEUE_TOKEN and TILEWRIGHT_SERVICE_TOKEN");
  }
  return { queue: pull, queueToken, service, serviceToken };
}

/** Runs the inference service until the signal aborts. */
async function runRunner(options: RunnerCommand): Promise<void> {
  const { signal } = options;
  const model = await loadModel(options.model, { variant: options.variant, half: true, signal });
  // Loaded by this command only: the others need no server.
  const { startRunner } = await import("../../../gpu-runner/start.ts");
  const running = await startRunner({ ...options, model });
  console.log(running.sentence);
  await new Promise<void>((stop) => {
    // The signal may have come while the model was still being opened.
    if (signal.aborted) stop();
    signal.addEventListener("abort", () => stop(), { once: true });
  });
  await running.stop();
  // A device that hangs would hold its thread, and that the process, even one that exits.
  setTimeout(() => process.kill(process.pid, "SIGKILL"), HUNG_MS).unref();
}
