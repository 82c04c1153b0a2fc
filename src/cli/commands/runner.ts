import type { PullFrom, RunnerOptions } from "../../../gpu-runner/settings.ts";
import { PROVIDERS } from "../../inference/node/open-provider.ts";
import { loadModel } from "../../local/resolve-model.ts";
import { JobError } from "../../orchestrator/errors.ts";
import type { AddCommand } from "../options/context.ts";
import { parseCount, parsePort, parseUrl, parseWhole, parseWholeList } from "../options/parsers.ts";

/** For threads to end after everything else has. */
const HUNG_MS = 5000;

interface RunnerFlags {
  executionProvider: string;
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
    .description(
      "run the service that segments windows for others: on a GPU, or on the cores of this machine",
    )
    .option(
      "--execution-provider <names>",
      `what runs the model: ${PROVIDERS.join(", ")}, or several in order`,
      "cpu",
    )
    .option("--allow-fallback", "take another provider where none of those runs the model")
    .option("--allow-cpu-operators", "let the CPU run operators that the GPU has no kernel for")
    .option("--devices <i,j,k>", "GPUs, by their numbers; default the first", parseWholeList)
    .option(
      "--host <address>",
      "address to listen on; others than loopback let other machines in",
      "127.0.0.1",
    )
    .option("--port <n>", "port to listen on; 0 takes any free one", parsePort, 8788)
    .option("--token <token>", "bearer token to ask for; default the environment's TILEWRIGHT_TOKEN")
    .option("--model <name|dir>", "bundled model or package directory", "nuclei")
    .option("--variant <name>", "variant of the model; default as the package says")
    .option(
      "--sessions <n>",
      "copies of the model that compute at a time; default a core or a GPU each",
      parseCount,
    )
    .option("--max-batch <n>", "windows in one run of a GPU; default 16", parseCount)
    .option("--max-queue-delay-ms <n>", "how long a window waits for others to be run with", parseWhole, 5)
    .option("--max-body-mib <n>", "the largest request that is taken", parseCount, 16)
    .option(
      "--shutdown-timeout <seconds>",
      "when stopped, how long what is under way may take",
      parseWhole,
      30,
    )
    .option("--pull <url>", "take shards from this queue too (token in TILEWRIGHT_QUEUE_TOKEN)", parseUrl)
    .option("--service <url>", "the job service they belong to (token in TILEWRIGHT_SERVICE_TOKEN)", parseUrl)
    .action((flags: RunnerFlags) => {
      setResumeHint("what is under way is answered first");
      const { executionProvider, maxQueueDelayMs, shutdownTimeout, ...rest } = flags;
      return runRunner({
        ...rest,
        providers: executionProvider.split(","),
        batchLatencyMs: maxQueueDelayMs,
        drainSeconds: shutdownTimeout,
        pull: toPullFrom(flags),
        token: flags.token ?? (process.env.TILEWRIGHT_TOKEN || undefined),
        signal,
      });
    });
};

/** Where shards come from. Each token may be one of its own, or all the same: `tilewright up` has one for everything. */
function toPullFrom({ pull, service }: RunnerFlags): PullFrom | undefined {
  if (pull === undefined && service === undefined) return undefined;
  if (pull === undefined || service === undefined) {
    throw new JobError("--pull and --service go together: shards come from the one and go to the other");
  }
  const { TILEWRIGHT_TOKEN, TILEWRIGHT_SERVICE_TOKEN, TILEWRIGHT_QUEUE_TOKEN } = process.env;
  const serviceToken = TILEWRIGHT_SERVICE_TOKEN || TILEWRIGHT_TOKEN;
  const queueToken = TILEWRIGHT_QUEUE_TOKEN || TILEWRIGHT_TOKEN;
  if (!serviceToken || !queueToken) {
    throw new JobError("pulling needs tokens: set TILEWRIGHT_QUEUE_TOKEN and TILEWRIGHT_SERVICE_TOKEN");
  }
  return { queue: pull, queueToken, service, serviceToken };
}

/** Runs the service that segments windows for others, until the signal says stop. */
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
