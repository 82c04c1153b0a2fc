import { parentPort, workerData } from "node:worker_threads";
import * as ort from "onnxruntime-node";
import pLimit from "p-limit";
import { product } from "../../tiling/grid/raster.ts";
import { argmaxBytes } from "../../tiling/merge/argmax.ts";
import type { Activation } from "../../tiling/pixels/activation.ts";
import { validateQuantizedProbabilities } from "../../tiling/wire/validate-quantized.ts";

// Errors are thrown and reported in a sentence; the log of the runtime would repeat them.
ort.env.logLevel = process.env.TILEWRIGHT_DEBUG ? "warning" : "fatal";

/**
 * Runs sessions outside of the main thread: onnxruntime-node computes synchronously, and a blocked main thread could
 * neither decode nor merge nor handle Ctrl-C.
 */
interface Start {
  /** Not 0 once the owner closes: runs still queued are dropped. */
  closing: Int32Array;
}

export type ProviderName = "cpu" | "webgpu" | "cuda";

/** A graph, its execution provider, and the names of inputs and outputs in their order. */
export interface SessionOptions {
  graph: Uint8Array;
  inputs: readonly string[];
  outputs: readonly string[];
  provider: ProviderName;
  /** Number of the GPU, for cuda; default the first. */
  deviceId?: number;
  /** Let the CPU run operators without a kernel of the device; default no. */
  allowCpuOperators?: boolean;
}

/** Array types by the type names of ONNX Runtime. */
const TYPES = {
  float32: Float32Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
} as const;
type TensorType = keyof typeof TYPES;

export interface ThreadTensor {
  data: InstanceType<(typeof TYPES)[TensorType]> & { buffer: ArrayBuffer };
  shape: readonly number[];
}

/** The class of the largest byte of each sample of a window. */
export type ThreadLabels = Uint8Array<ArrayBuffer>;

/** `undefined` in place of a request ends the thread. */
export type ThreadRequest =
  | { id: number; open: SessionOptions }
  | { id: number; close: number }
  | {
      id: number;
      session: number;
      feeds: readonly ThreadTensor[];
      /** Preallocated, in the order of the session's outputs, if type and shape are known. */
      results?: readonly ThreadTensor[];
      /** The first output holds bytes `[N, K, ...window]` of this activation, whose labels are requested. */
      labelActivation?: Activation;
    };

export type ThreadResponse =
  | { id: number; session: number }
  | { id: number; results: readonly ThreadTensor[]; milliseconds: number; labels?: readonly ThreadLabels[] }
  | { id: number; error: string };

const { closing } = workerData as Start;
const port = parentPort!;
/** By number; a closed session leaves a gap. */
const sessions: ({ session: ort.InferenceSession; options: SessionOptions } | undefined)[] = [];
port.postMessage(ort.env.versions.node);

/** Requests run one after another, so that each is timed alone. */
const mutex = pLimit(1);
port.on("message", (request: ThreadRequest | undefined) => {
  void mutex(() => (request === undefined ? end() : respond(request)));
});

/** Terminating the thread from outside during a run would abort the whole process. */
async function end(): Promise<void> {
  for (const opened of sessions) await opened?.session.release();
  port.close();
}

async function respond(request: ThreadRequest): Promise<void> {
  if (Atomics.load(closing, 0) !== 0) return;
  const { id } = request;
  try {
    if ("open" in request) {
      port.postMessage({ id, session: await open(request.open) } satisfies ThreadResponse);
    } else if ("close" in request) {
      await sessions[request.close]?.session.release();
      sessions[request.close] = undefined;
      port.postMessage({ id, session: request.close } satisfies ThreadResponse);
    } else {
      const { session, feeds } = request;
      const { results, milliseconds } = await run(sessions[session]!, feeds, request.results);
      const labels = request.labelActivation && labelWindows(results[0]!, request.labelActivation);
      port.postMessage({ id, results, milliseconds, labels } satisfies ThreadResponse, [
        ...results.map((r) => r.data.buffer),
        ...(labels ?? []).map((l) => l.buffer),
      ]);
    }
  } catch (error) {
    port.postMessage({ id, error: (error as Error).message } satisfies ThreadResponse);
  }
}

async function open(options: SessionOptions): Promise<number> {
  const { graph, inputs, outputs, provider, deviceId, allowCpuOperators = provider === "cpu" } = options;
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: [provider === "cuda" ? { name: provider, deviceId: deviceId ?? 0 } : provider],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
    enableMemPattern: false,
    // Without this the runtime silently runs unsupported operators on the CPU.
    extra: allowCpuOperators ? {} : { session: { disable_cpu_ep_fallback: "1" } },
  });
  const known = (names: readonly string[], all: readonly string[]) => names.every((n) => all.includes(n));
  if (!known(inputs, session.inputNames) || !known(outputs, session.outputNames)) {
    await session.release();
    throw new Error(
      `the graph has inputs ${session.inputNames} and outputs ${session.outputNames}, model.json says ${inputs} and ${outputs}`,
    );
  }
  return sessions.push({ session, options: { ...options, graph: new Uint8Array(0) } }) - 1;
}

async function run(
  { session, options }: { session: ort.InferenceSession; options: SessionOptions },
  feeds: readonly ThreadTensor[],
  made: readonly ThreadTensor[] | undefined,
): Promise<{ results: readonly ThreadTensor[]; milliseconds: number }> {
  const started = performance.now();
  const named = (names: readonly string[], tensors: readonly ThreadTensor[]) =>
    Object.fromEntries(names.map((name, i) => [name, toTensor(tensors[i]!)]));
  const fed = named(options.inputs, feeds);
  const fetched = await session.run(fed, made ? named(options.outputs, made) : options.outputs);
  // Megabytes each, of which the garbage collector sees only a few bytes.
  for (const { data } of feeds) data.buffer.transfer(0);
  const milliseconds = performance.now() - started;
  // Into preallocated buffers: those of the runtime live until the garbage collector frees them.
  if (made) return { results: made, milliseconds };
  const results = options.outputs.map((name) => {
    const tensor = fetched[name]!;
    if (!(tensor.type in TYPES)) throw new Error(`output ${name} is ${tensor.type}, not float32`);
    // Copied: memory of the runtime cannot move to another thread.
    const data = new TYPES[tensor.type as TensorType](tensor.data as Float32Array) as ThreadTensor["data"];
    tensor.dispose();
    return { data, shape: tensor.dims };
  });
  return { results, milliseconds };
}

/** Labels of each window; undefined if the bytes are invalid, which the caller then reports. */
function labelWindows({ data, shape }: ThreadTensor, activation: Activation): ThreadLabels[] | undefined {
  const [windows, classes, ...window] = shape as [number, number, ...number[]];
  const size = product(window);
  const bytes = data as Uint8Array;
  try {
    validateQuantizedProbabilities(bytes, windows, size, activation);
  } catch {
    return undefined;
  }
  return Array.from({ length: windows }, (_, n) => {
    const labels = new Uint8Array(size);
    argmaxBytes(bytes.subarray(n * classes * size, (n + 1) * classes * size), labels, classes);
    return labels;
  });
}

function toTensor({ data, shape }: ThreadTensor): ort.Tensor {
  const type = (Object.keys(TYPES) as TensorType[]).find((name) => data instanceof TYPES[name])!;
  return new ort.Tensor(type, data as never, shape);
}
