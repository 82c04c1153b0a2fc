import { checkGoldenTile } from "../inference/golden-tile.ts";
import { isNativeRuntimeInstalled } from "../inference/node/native-runtime.ts";
import { openProvider } from "../inference/node/open-provider.ts";
import { openWasm } from "../inference/node/open-wasm.ts";
import { OrtNodeSegmenter } from "../inference/node/ort-node.ts";
import { RemoteSegmenter } from "../inference/remote/remote-segmenter.ts";
import type { ModelPackage } from "../model-package/load-package.ts";
import { JobError } from "../orchestrator/errors.ts";
import type { Backend } from "../orchestrator/scheduler/backend.ts";
import type { Precision } from "../tiling/wire/mask-record.ts";

/** Where the model runs: cores or GPU of this machine, WebAssembly as on edge functions, an edge function, a runner. */
export type BackendChoice =
  | { kind: "cpu" }
  | { kind: "wasm" }
  | { kind: "cuda" }
  | { kind: "webgpu" }
  | { kind: "edge"; url: string }
  | { kind: "runner"; url: string };

/** The CPU; in WebAssembly where onnxruntime-node is not installed. */
export function defaultBackend(): "cpu" | "wasm" {
  return isNativeRuntimeInstalled() ? "cpu" : "wasm";
}

export const BACKENDS = "cpu, cuda, webgpu, wasm, edge:<url> or runner:<url>";

/** Requests beyond those that compute: one ready to start, one being merged. */
const REQUESTS_AHEAD = 2;
/** Windows in one run of a local GPU. */
const GPU_BATCH = 16;
/** Timeout of a request of a few windows, with time for a cold edge function to load its model. */
const REQUEST_TIMEOUT_MS = 120_000;

/** Whether a backend is a GPU of this machine. */
export function isDevice(name: string): name is "cuda" | "webgpu" {
  return name === "cuda" || name === "webgpu";
}

/** @throws {JobError} if `text` is not a backend */
export function parseBackend(text: string): BackendChoice {
  // "local" is an alias, for use beside remote backends.
  if (text === "cpu" || text === "local") return { kind: "cpu" };
  if (text === "wasm" || isDevice(text)) return { kind: text };
  // Release 0.1 used "gpu:" for a runner.
  const [, kind, url] = /^(edge|runner|gpu):(https?:\/\/.+)$/.exec(text) ?? [];
  if (!url || !URL.canParse(url)) throw new JobError(`there is no backend "${text}": choose of ${BACKENDS}`);
  return { kind: kind === "edge" ? "edge" : "runner", url };
}

export interface BackendOptions {
  /** Threads of the model on this machine. */
  threads?: number;
  /** Windows of one run on this machine. */
  batchSize: number;
  /** Precision of the records. */
  precision: Precision;
  /** For edge functions and runners; default from the environment. */
  token?: string;
  signal?: AbortSignal;
  /** Called for a backend that cannot be used, if others can. */
  onRefused?: (name: string, reason: string) => void;
}

/**
 * Opens the backends and verifies each with the golden tile. Backends that are unreachable or compute wrongly are
 * left out and reported.
 * @returns in the order of `names`
 * @throws the first error, if no backend is left
 */
export async function openBackends(
  names: readonly string[],
  model: ModelPackage,
  options: BackendOptions,
): Promise<Backend[]> {
  const unique = [...new Set(names.map((name) => (name === "local" ? "cpu" : name)))];
  const choices = unique.map((name) => ({ name, choice: parseBackend(name) }));
  for (const { choice } of choices) {
    if (choice.kind === "edge" && !tokenFor(choice.kind, options.token)) {
      throw new JobError("an edge function requires a token: set TILEWRIGHT_TOKEN or TILEWRIGHT_EDGE_TOKEN");
    }
  }
  const opened = await Promise.allSettled(
    choices.map(async ({ name, choice }) => {
      const backend = await open(name, choice, model, options);
      try {
        // Devices are verified when they are opened, in the requested precision.
        if (!isDevice(choice.kind)) {
          const { precision, signal } = options;
          await checkGoldenTile(backend.segmenter, model, { precision, signal });
        }
      } catch (error) {
        await backend.segmenter.close();
        throw error;
      }
      return backend;
    }),
  );
  const backends = opened.flatMap((o) => (o.status === "fulfilled" ? [o.value] : []));
  const failures = opened.flatMap((o, n) => (o.status === "rejected" ? [{ n, reason: o.reason }] : []));
  if (backends.length === 0 || options.signal?.aborted) {
    await Promise.all(backends.map((backend) => backend.segmenter.close()));
    throw failures[0]!.reason;
  }
  for (const { n, reason } of failures) options.onRefused?.(unique[n]!, (reason as Error).message);
  return backends;
}

async function open(
  name: string,
  choice: BackendChoice,
  model: ModelPackage,
  { threads, batchSize, token, signal }: BackendOptions,
): Promise<Backend> {
  if (choice.kind === "cpu" || choice.kind === "wasm") {
    const segmenter =
      choice.kind === "cpu"
        ? await OrtNodeSegmenter.create(model, { threads })
        : await openWasm(model, { threads });
    return {
      name,
      segmenter,
      concurrency: segmenter.info.threads + REQUESTS_AHEAD,
      windowsPerRequest: batchSize,
    };
  }
  if (choice.kind === "cuda" || choice.kind === "webgpu") {
    const segmenter = await openProvider(choice.kind, model, { signal });
    const windowsPerRequest = batchSize * Math.max(1, Math.floor(GPU_BATCH / batchSize));
    return { name, segmenter, concurrency: segmenter.info.threads + REQUESTS_AHEAD, windowsPerRequest };
  }
  const segmenter = await RemoteSegmenter.connect(choice.url, {
    token: tokenFor(choice.kind, token),
    modelHash: model.hash,
    signal,
  });
  const { windows, requests } = segmenter.limits;
  return {
    name,
    segmenter,
    concurrency: requests ?? "auto",
    windowsPerRequest: windows,
    timeoutMs: REQUEST_TIMEOUT_MS,
  };
}

/** Separate tokens for each kind, so that neither service receives the other's. */
function tokenFor(kind: "edge" | "runner", given: string | undefined): string | undefined {
  const { TILEWRIGHT_TOKEN, TILEWRIGHT_EDGE_TOKEN, TILEWRIGHT_RUNNER_TOKEN } = process.env;
  return (
    given ??
    ((kind === "edge" ? TILEWRIGHT_EDGE_TOKEN : TILEWRIGHT_RUNNER_TOKEN) || TILEWRIGHT_TOKEN || undefined)
  );
}
