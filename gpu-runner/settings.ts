import { PROVIDERS } from "../src/inference/node/open-provider.ts";
import { JobError } from "../src/orchestrator/errors.ts";
import { MIN_TOKEN_LENGTH } from "../src/service/bearer.ts";
import { isLoopback } from "../src/service/loopback.ts";

const MIB = 2 ** 20;
/** Default of `maxBatch` on a GPU. */
const GPU_BATCH = 16;
/** Assumed size of a request, for the number of requests that keep the runner busy. */
const WINDOWS_PER_REQUEST = 4;

/** The queue that shards are pulled from, and the job service that owns them. */
export interface PullFrom {
  /** `https://api.cloudflare.com/client/v4/accounts/<account>/queues/<queue>` */
  queue: string;
  queueToken: string;
  service: string;
  /** With the scope `work`. */
  serviceToken: string;
}

export interface RunnerOptions {
  /** Pulls shards from a queue as well. */
  pull?: PullFrom;
  /** In order of preference. */
  providers: readonly string[];
  /** Tries the other providers if none of `providers` runs the model. */
  allowFallback?: boolean;
  /** Lets the CPU run operators without a GPU kernel; otherwise such a model is an error. */
  allowCpuOperators?: boolean;
  /** Numbers of the GPUs; sessions are spread over them. Default the first. */
  devices?: readonly number[];
  host: string;
  port: number;
  /** Bearer token; required if other machines can reach the runner. */
  token?: string;
  /** Default: one for each CPU core, or one for each GPU. */
  sessions?: number;
  /** Windows in one run of a GPU. The CPU takes one, so that a window's bytes do not depend on its neighbours. */
  maxBatch?: number;
  batchLatencyMs?: number;
  maxBodyMib?: number;
  /** Time limit for receiving a body and for sending a response; default 60. */
  bodySeconds?: number;
  /** Shutdown timeout; default 30. */
  drainSeconds?: number;
}

/** Settings that follow from the options and the provider. */
export interface RunnerSettings {
  token: string | undefined;
  maxBatch: number;
  latencyMs: number;
  maxBodyBytes: number;
  /** Maximum of one request. */
  maxWindows: number;
  /** Concurrent requests that keep the sessions busy. */
  requests: number;
  /** Maximum of requests in progress. Bodies that are still arriving may take as many bytes as these together. */
  maxAdmitted: number;
  /** Maximum of waiting windows. */
  maxQueued: number;
  bodyTimeoutMs: number;
  drainMs: number;
}

/** Checks options before the model is opened. @throws {JobError} */
export function checkRunnerOptions({ providers, host, token, maxBodyMib = 16 }: RunnerOptions): void {
  const unknown = providers.find((name) => !(PROVIDERS as readonly string[]).includes(name));
  if (unknown !== undefined || providers.length === 0) {
    throw new JobError(`there is no provider "${unknown ?? ""}": choose of ${PROVIDERS.join(", ")}`);
  }
  if (token !== undefined && token.length < MIN_TOKEN_LENGTH) {
    throw new JobError(
      `the token has ${token.length} characters: take ${MIN_TOKEN_LENGTH} or more, for example from "openssl rand -hex 24"`,
    );
  }
  if (token === undefined && !isLoopback(host)) {
    throw new JobError(
      `at ${host} other machines can reach the runner: set TILEWRIGHT_TOKEN, for example to what "openssl rand -hex 24" prints`,
    );
  }
  if (maxBodyMib > 1024) throw new JobError("a body has 1024 MiB at most: choose a smaller --max-body-mib");
}

export function deriveSettings(options: RunnerOptions, provider: string, sessions: number): RunnerSettings {
  const maxBatch = provider === "cpu" || provider === "wasm" ? 1 : (options.maxBatch ?? GPU_BATCH);
  // One run and one waiting run for each session, and one request on its way.
  const requests = 2 * sessions * Math.ceil(maxBatch / WINDOWS_PER_REQUEST) + 1;
  const maxAdmitted = 3 * requests;
  const maxWindows = Math.max(64, 2 * maxBatch);
  return {
    token: options.token,
    maxBatch,
    latencyMs: options.batchLatencyMs ?? 5,
    maxBodyBytes: (options.maxBodyMib ?? 16) * MIB,
    maxWindows,
    requests,
    maxAdmitted,
    maxQueued: maxAdmitted * maxWindows,
    bodyTimeoutMs: (options.bodySeconds ?? 60) * 1000,
    drainMs: (options.drainSeconds ?? 30) * 1000,
  };
}
