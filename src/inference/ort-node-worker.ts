import { parentPort, workerData } from "node:worker_threads";
import * as ort from "onnxruntime-node";

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

export interface ThreadTensor {
  data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
  shape: readonly number[];
}

/** `undefined` in place of a request ends the thread. */
export type ThreadRequest =
  | { id: number; open: SessionOptions }
  | { id: number; close: number }
  | { id: number; session: number; feeds: readonly ThreadTensor[] };

export type ThreadAnswer =
  | { id: number; session: number }
  | { id: number; results: readonly ThreadTensor[]; milliseconds: number }
  | { id: number; error: string };

const { closing } = workerData as Start;
const port = parentPort!;
/** By number; a closed one leaves a gap. */
const sessions: ({ session: ort.InferenceSession; options: SessionOptions } | undefined)[] = [];
port.postMessage(ort.env.versions.node);

/** Requests are done one after another, so that each one's time is its own. */
let last: Promise<void> = Promise.resolve();
port.on("message", (request: ThreadRequest | undefined) => {
  last = last.then(() => (request === undefined ? end() : answer(request)));
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
      port.postMessage({ id, session: await open(request.open) } satisfies ThreadAnswer);
    } else if ("close" in request) {
      await sessions[request.close]?.session.release();
      sessions[request.close] = undefined;
      port.postMessage({ id, session: request.close } satisfies ThreadAnswer);
    } else {
      const { results, milliseconds } = await run(sessions[request.session]!, request.feeds);
      port.postMessage(
        { id, results, milliseconds } satisfies ThreadAnswer,
        results.map((r) => r.data.buffer),
      );
    }
  } catch (error) {
    port.postMessage({ id, error: (error as Error).message } satisfies ThreadAnswer);
  }
}

async function open(options: SessionOptions): Promise<number> {
  const { graph, inputs, outputs, provider, deviceId, allowCpuOperators = provider === "cpu" } = options;
  const session = await ort.InferenceSession.create(graph, {
    executionProviders: [provider === "cuda" ? { name: provider, deviceId: deviceId ?? 0 } : provider],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: "sequential",
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
): Promise<{ results: ThreadTensor[]; milliseconds: number }> {
  const started = performance.now();
  const tensors = feeds.map(({ data, shape }) =>
    data instanceof Float32Array
      ? new ort.Tensor("float32", data, shape)
      : new ort.Tensor("int32", data, shape),
  );
  const fed = Object.fromEntries(options.inputs.map((name, i) => [name, tensors[i]!]));
  const fetched = await session.run(fed, options.outputs);
  const milliseconds = performance.now() - started;
  const results = options.outputs.map((name) => {
    const tensor = fetched[name]!;
    if (tensor.type !== "float32" && tensor.type !== "int32") {
      throw new Error(`output ${name} is ${tensor.type}, not float32`);
    }
    // Copied: ORT's own memory cannot change threads.
    const data =
      tensor.type === "float32"
        ? new Float32Array(tensor.data as Float32Array)
        : new Int32Array(tensor.data as Int32Array);
    tensor.dispose();
    return { data, shape: tensor.dims };
  });
  return { results, milliseconds };
}
