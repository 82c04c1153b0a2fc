import { parentPort, workerData } from "node:worker_threads";
import * as ort from "onnxruntime-node";

/**
 * Holds one session off the main thread: onnxruntime-node computes synchronously, and the thread that waits
 * for it could neither decode, nor merge, nor hear Ctrl-C.
 */
interface Start {
  model: Uint8Array;
  input: string;
  output: string;
  /** Not 0 once the owner closes: runs still queued are dropped. */
  closing: Int32Array;
}

/** `undefined` in place of a request ends the thread. */
export interface RunRequest {
  id: number;
  data: Float32Array<ArrayBuffer>;
  shape: readonly number[];
}

export type RunAnswer =
  | { id: number; data: Float32Array<ArrayBuffer>; shape: readonly number[]; milliseconds: number }
  | { id: number; error: string };

const { model, input, output, closing } = workerData as Start;
const port = parentPort!;

const session = await ort.InferenceSession.create(model, {
  executionProviders: ["cpu"],
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: "sequential",
});
if (!session.inputNames.includes(input) || !session.outputNames.includes(output)) {
  throw new Error(
    `the graph has inputs ${session.inputNames} and outputs ${session.outputNames}, model.json says ${input} and ${output}`,
  );
}
port.postMessage(ort.env.versions.node);

/** Requests are done one after another, so that each one's time is its own. */
let last: Promise<void> = Promise.resolve();
port.on("message", (request: RunRequest | undefined) => {
  last = last.then(() => (request === undefined ? end() : run(request)));
});

/** Ending the thread from outside while a run is under way would abort the whole process. */
async function end(): Promise<void> {
  await session.release();
  port.close();
}

async function run({ id, data, shape }: RunRequest): Promise<void> {
  if (Atomics.load(closing, 0) !== 0) return;
  try {
    const started = performance.now();
    const result = await session.run({ [input]: new ort.Tensor("float32", data, shape) }, [output]);
    const milliseconds = performance.now() - started;
    const tensor = result[output]!;
    if (tensor.type !== "float32") throw new Error(`output ${output} is ${tensor.type}, not float32`);
    // Copied: ORT's own memory cannot change threads.
    const values = new Float32Array(tensor.data as Float32Array);
    tensor.dispose();
    const answer: RunAnswer = { id, data: values, shape: tensor.dims, milliseconds };
    port.postMessage(answer, [values.buffer]);
  } catch (error) {
    port.postMessage({ id, error: (error as Error).message } satisfies RunAnswer);
  }
}
