import { parentPort, workerData } from "node:worker_threads";
import * as ort from "onnxruntime-node";
import pLimit from "p-limit";
import { product } from "../../tiling/grid/raster.ts";
import { argmaxBytes } from "../../tiling/merge/argmax.ts";
import type { Activation } from "../../tiling/pixels/activation.ts";
import { validateQuantizedProbabilities } from "../../tiling/wire/validate-quantized.ts";

// What fails is thrown, and told in a sentence; the runtime's log would tell it again in other words.
ort.env.logLevel = process.env.TILEWRIGHT_DEBUG ? "warning" : "fatal";

/**
 * Holds sessions off the main thread: onnxruntime-node computes synchronously, and the thread that waits
 * for it could neither decode, nor merge, nor hear Ctrl-C.
 */
interface Start {
  /** Not 0 once the owner closes: runs still queued are dropped. */
  closing: Int32Array;
}

export type ProviderName = "cpu" | "webgpu" | "cuda";

/** A graph, what runs it, and which of its tensors are fed and fetched, in this order. */
export interface SessionOptions {
  graph: Uint8Array;
  inputs: readonly string[];
  outputs: readonly string[];
  provider: ProviderName;
  /** Which GPU, for cuda; default the first. */
  deviceId?: number;
  /** Let the CPU run what the device has no kernel for; default no. */
  allowCpuOperators?: boolean;
}

/** Array types that tensors travel in, by ONNX Runtime's names. */
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
      /** Made beforehand, in the order of the session's outputs, where type and shape are known. */
      results?: readonly ThreadTensor[];
      /** The first output holds bytes `[N, K, ...window]` of this activation, whose classes are to be named. */
      nameAfter?: Activation;
    };

export type ThreadResponse =
  | { id: number; session: number }
  | { id: number; results: readonly ThreadTensor[]; milliseconds: number; labels?: readonly ThreadLabels[] }
  | { id: number; error: string };

const { closing } = workerData as Start;
const port = parentPort!;
/** By number; a closed one leaves a gap. */
const sessions: ({ session: ort.InferenceSession; options: SessionOptions } | undefined)[] = [];
port.postMessage(ort.env.versions.node);

/** Requests run one after another, so that each is timed alone. */
const mutex = pLimit(1);
port.on("message", (request: ThreadRequest | undefined) => {
  void mutex(() => (request === undefined ? end() : answer(request)));
});

/** Ending the thread from outside while a run is under way would abort the whole process. */
async function end(): Promise<void> {
  for (const opened of sessions) await opened?.session.release();
  port.close();
}

async function answer(request: ThreadRequest): Promise<void> {
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
      const labels = request.nameAfter && labelsOf(results[0]!, request.nameAfter);
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
    // The runtime hands what a device cannot do to the CPU without a word, unless it is told not to.
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
    Object.fromEntries(names.map((name, i) => [name, tensorOf(tensors[i]!)]));
  const fed = named(options.inputs, feeds);
  const fetched = await session.run(fed, made ? named(options.outputs, made) : options.outputs);
  // Megabytes each, of which the garbage collector sees a few bytes.
  for (const { data } of feeds) data.buffer.transfer(0);
  const milliseconds = performance.now() - started;
  // Written where it was asked for: what the runtime makes itself is there until the garbage collector sees it.
  if (made) return { results: made, milliseconds };
  const results = options.outputs.map((name) => {
    const tensor = fetched[name]!;
    if (!(tensor.type in TYPES)) throw new Error(`output ${name} is ${tensor.type}, not float32`);
    // Copied: ORT's own memory cannot change threads.
    const data = new TYPES[tensor.type as TensorType](tensor.data as Float32Array) as ThreadTensor["data"];
    tensor.dispose();
    return { data, shape: tensor.dims };
  });
  return { results, milliseconds };
}

/** Of each window; undefined where the bytes are not what the activation gives: whoever asked looks at them and says why. */
function labelsOf({ data, shape }: ThreadTensor, activation: Activation): ThreadLabels[] | undefined {
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

function tensorOf({ data, shape }: ThreadTensor): ort.Tensor {
  const type = (Object.keys(TYPES) as TensorType[]).find((name) => data instanceof TYPES[name])!;
  return new ort.Tensor(type, data as never, shape);
}
