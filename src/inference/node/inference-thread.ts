import { Worker } from "node:worker_threads";
import type { Activation } from "../../tiling/pixels/activation.ts";
import { InferenceError, isOutOfMemory } from "../errors.ts";
import { requireNativeRuntime } from "./native-runtime.ts";
import type {
  SessionOptions,
  ThreadLabels,
  ThreadRequest,
  ThreadResponse,
  ThreadTensor,
} from "./ort-node-worker.ts";

interface Settle {
  resolve: (response: ThreadResponse) => void;
  reject: (error: Error) => void;
}

export interface ThreadRun {
  /** Outputs in the order of the session's outputs. */
  results: readonly ThreadTensor[];
  milliseconds: number;
  /** Labels of each window, if requested and the bytes are valid. */
  labels?: readonly ThreadLabels[];
}

/** Sessions in a worker thread. Runs queue up there, so that the thread never waits for the main thread. */
export class InferenceThread {
  /** Version of the runtime. */
  readonly version: string;
  readonly #worker: Worker;
  readonly #closing: Int32Array;
  readonly #waiting = new Map<number, Settle>();
  #next = 0;
  #failure: Error | undefined;

  private constructor(worker: Worker, closing: Int32Array, version: string) {
    this.#worker = worker;
    this.#closing = closing;
    this.version = version;
    worker.on("message", (response: ThreadResponse) => {
      const settle = this.#waiting.get(response.id);
      if (!settle) return;
      this.#waiting.delete(response.id);
      settle.resolve(response);
    });
    const fail = (error: Error) => {
      this.#failure = error;
      for (const settle of this.#waiting.values()) settle.reject(error);
      this.#waiting.clear();
    };
    worker.on("error", (cause) => fail(new InferenceError("the inference thread failed", { cause })));
    worker.on("exit", (code) => fail(new InferenceError(`the inference thread ended with code ${code}`)));
  }

  /** @throws {InferenceError} if the runtime does not load */
  static async start(): Promise<InferenceThread> {
    requireNativeRuntime();
    // Same extension as this file: .ts from the sources, .js from the build.
    const here = import.meta.url;
    const script = new URL(`./ort-node-worker.${here.slice(here.lastIndexOf(".") + 1)}`, here);
    const closing = new Int32Array(new SharedArrayBuffer(4));
    // Disables the telemetry that onnxruntime has since 1.29. It must be set in the main thread, before the runtime loads:
    // native code does not see the copied environment of a worker.
    process.env.ORT_DISABLE_TELEMETRY ??= "1";
    const worker = new Worker(script, { workerData: { closing } });
    const version = await new Promise<string>((resolve, reject) => {
      const failed = (cause: unknown) =>
        reject(
          new InferenceError(`onnxruntime-node does not load: ${(cause as Error).message}`, {
            cause,
          }),
        );
      worker.once("error", failed);
      worker.once("message", (ready: string) => {
        worker.off("error", failed);
        resolve(ready);
      });
    });
    return new InferenceThread(worker, closing, version);
  }

  /**
   * @returns number of the session, for `run`
   * @throws {InferenceError} with the message of the runtime if the session cannot be opened
   */
  async open(options: SessionOptions): Promise<number> {
    const response = await this.#request((id) => ({ id, open: options }), [], undefined);
    if ("error" in response) {
      throw new InferenceError(response.error, { outOfMemory: isOutOfMemory(response.error) });
    }
    return (response as Extract<ThreadResponse, { session: number }>).session;
  }

  /** Whether the thread has ended, by an error or by `close`. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Frees one session after its runs; the thread continues. */
  async closeSession(session: number): Promise<void> {
    if (this.#failure) return;
    await this.#request((id) => ({ id, close: session }), [], undefined);
  }

  /** Queued and running requests. */
  get queued(): number {
    return this.#waiting.size;
  }

  /**
   * Runs a session. A started run cannot be cancelled; an abort only stops waiting for it. The buffers of `feeds` (in the
   * order of the inputs) and of `results` (in the order of the outputs, written in place) move to the thread.
   * @param labelActivation the first output holds bytes `[N, K, ...window]` of this activation: return their labels too
   */
  async run(
    session: number,
    feeds: readonly ThreadTensor[],
    signal: AbortSignal | undefined,
    results?: readonly ThreadTensor[],
    labelActivation?: Activation,
  ): Promise<ThreadRun> {
    const buffers = [...feeds, ...(results ?? [])].map((f) => f.data.buffer);
    const response = await this.#request(
      (id) => ({ id, session, feeds, results, labelActivation }),
      buffers,
      signal,
    );
    if ("error" in response) {
      throw new InferenceError(`the model failed to run: ${response.error}`, {
        outOfMemory: isOutOfMemory(response.error),
      });
    }
    return response as Extract<ThreadResponse, { results: unknown }>;
  }

  #request(
    request: (id: number) => ThreadRequest,
    transfer: readonly ArrayBuffer[],
    signal: AbortSignal | undefined,
  ): Promise<ThreadResponse> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.delete(id);
        reject(signal!.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      const settled = () => {
        signal?.removeEventListener("abort", onAbort);
      };
      this.#waiting.set(id, {
        resolve(response) {
          settled();
          resolve(response);
        },
        reject(error) {
          settled();
          reject(error);
        },
      });
      this.#worker.postMessage(request(id), transfer);
    });
  }

  /** Awaits the running request; queued ones are dropped. */
  async close(): Promise<void> {
    if (this.#failure) return;
    const exited = new Promise<void>((resolve) => this.#worker.once("exit", () => resolve()));
    Atomics.store(this.#closing, 0, 1);
    this.#worker.postMessage(undefined);
    await exited;
  }
}
