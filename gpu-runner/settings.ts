import { PROVIDERS } from "../src/inference/node/open-provider.ts";
import { JobError } from "../src/orchestrator/errors.ts";
import { MIN_TOKEN_LENGTH } from "../src/service/bearer.ts";
import { isLoopback } from "./loopback.ts";

const MIB = 2 ** 20;
/** Windows in one run of a GPU, where nothing else is asked for. */
const GPU_BATCH = 16;
/** A request is taken to carry this many windows when it is told how many requests keep the runner busy. */
const WINDOWS_PER_REQUEST = 4;

/** Where shards are pulled from, and the job service that they belong to. */
export interface PullFrom {
  /** `https://api.cloudflare.com/client/v4/accounts/<account>/queues/<queue>` */
  queue: string;
  queueToken: string;
  service: string;
  /** With the scope `work`. */
  serviceToken: string;
}

export interface RunnerOptions {
  /** Takes shards from a queue too. */
  pull?: PullFrom;
  /** In order of preference. */
  providers: readonly string[];
  /** Takes another provider where none of those runs the model. */
  allowFallback?: boolean;
  /** Lets the CPU run operators that a GPU has no kernel for; else such a model is refused. */
  allowCpuOperators?: boolean;
  /** GPUs, by their numbers; sessions are spread over them. Default the first. */
  devices?: readonly number[];
  host: string;
  port: number;
  /** Bearer token; needed where other machines can reach the runner. */
  token?: string;
  /** Default: one a core on the cpu, one a GPU. */
  sessions?: number;
  /** Windows in one run of a GPU; the cpu takes one, so that a window's bytes do not depend on its neighbours. */
  maxBatch?: number;
  batchLatencyMs?: number;
  maxBodyMib?: number;
  /** After which a body that is not there yet, or an answer that is not fetched, is given up; default 60. */
  bodySeconds?: number;
  /** After which a runner that is being stopped ends in any case; default 30. */
  drainSeconds?: number;
}

/** What the options come to, once it is known what runs the model. */
export interface RunnerSettings {
  token: string | undefined;
  maxBatch: number;
  latencyMs: number;
  maxBodyBytes: number;
  /** In one request. */
  maxWindows: number;
  /** How many requests at a time keep the sessions busy. */
  requests: number;
  /** Requests whose bodies are whole, at most; those on their way hold as many bytes as these together may. */
  places: number;
  /** Windows that wait, at most. */
  maxQueued: number;
  bodyTimeoutMs: number;
  drainMs: number;
}

/** What can be said before anything is opened. @throws {JobError} */
export function checkOptions({ providers, host, token, maxBodyMib = 16 }: RunnerOptions): void {
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

export function settingsFor(options: RunnerOptions, provider: string, sessions: number): RunnerSettings {
  const maxBatch = provider === "cpu" ? 1 : (options.maxBatch ?? GPU_BATCH);
  // Every session at a run and with one in line behind it, and one request on its way.
  const requests = 2 * sessions * Math.ceil(maxBatch / WINDOWS_PER_REQUEST) + 1;
  const places = 3 * requests;
  const maxWindows = Math.max(64, 2 * maxBatch);
  return {
    token: options.token,
    maxBatch,
    latencyMs: options.batchLatencyMs ?? 5,
    maxBodyBytes: (options.maxBodyMib ?? 16) * MIB,
    maxWindows,
    requests,
    places,
    maxQueued: places * maxWindows,
    bodyTimeoutMs: (options.bodySeconds ?? 60) * 1000,
    drainMs: (options.drainSeconds ?? 30) * 1000,
  };
}
