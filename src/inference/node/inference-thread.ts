import { Worker } from "node:worker_threads";
import type { Activation } from "../../tiling/pixels/activation.ts";
import { InferenceError, isOutOfMemory } from "../errors.ts";
import type {
  SessionOptions,
  ThreadLabels,
  ThreadRequest,
  ThreadResponse,
  ThreadTensor,
} from "./ort-node-worker.ts";

interface Settle {
  resolve: (answer: ThreadResponse) => void;
  reject: (error: Error) => void;
}

export interface ThreadRun {
  /** In the order of the session's outputs. */
  results: readonly ThreadTensor[];
  milliseconds: number;
  /** Of each window, where that was asked for and the bytes are what the activation gives. */
  labels?: readonly ThreadLabels[];
}

/** Sessions in a thread of their own. Runs queue up there, so that it never waits for us. */
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
    worker.on("message", (answer: ThreadResponse) => {
      const settle = this.#waiting.get(answer.id);
      if (!settle) return;
      this.#waiting.delete(answer.id);
      settle.resolve(answer);
    });
    const fail = (error: Error) => {
      this.#failure = error;
      for (const settle of this.#waiting.values()) settle.reject(error);
      this.#waiting.clear();
    };
    worker.on("error", (cause) => fail(new InferenceError("the inference thread failed", { cause })));
    worker.on("exit", (code) => fail(new InferenceError(`the inference thread ended with code ${code}`)));
  }

  /** @throws {InferenceError} when the runtime itself does not load */
  static async start(): Promise<InferenceThread> {
    // Same extension as this file: .ts from the sources, .js from the build.
    const here = import.meta.url;
    const script = new URL(`./ort-node-worker.${here.slice(here.lastIndexOf(".") + 1)}`, here);
    const closing = new Int32Array(new SharedArrayBuffer(4));
    // Since 1.29 the runtime gathers for Microsoft what it runs, unless it is told not to before it loads: from here, for a worker's own
    // environment is a copy that native code does not see.
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
   * @returns the session's number for `run`
   * @throws {InferenceError} with the runtime's own words when it cannot be made
   */
  async open(options: SessionOptions): Promise<number> {
    const answer = await this.#ask((id) => ({ id, open: options }), [], undefined);
    if ("error" in answer) {
      throw new InferenceError(answer.error, { outOfMemory: isOutOfMemory(answer.error) });
    }
    return (answer as Extract<ThreadResponse, { session: number }>).session;
  }

  /** Whether the thread is gone, by a fault or closed. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Frees one session when its runs are done; the thread goes on. */
  async closeSession(session: number): Promise<void> {
    if (this.#failure) return;
    await this.#ask((id) => ({ id, close: session }), [], undefined);
  }

  /** Runs that are queued or under way. */
  get queued(): number {
    return this.#waiting.size;
  }

  /**
   * A run that has begun cannot be taken back: abort only stops the waiting. The feeds, in the order of the session's
   * inputs, change hands, and so do `results`, in the order of its outputs: what is made beforehand is written into.
   * @param nameAfter the first output holds bytes `[N, K, ...window]` of this activation: name their classes
   */
  async run(
    session: number,
    feeds: readonly ThreadTensor[],
    signal: AbortSignal | undefined,
    results?: readonly ThreadTensor[],
    nameAfter?: Activation,
  ): Promise<ThreadRun> {
    const buffers = [...feeds, ...(results ?? [])].map((f) => f.data.buffer);
    const answer = await this.#ask((id) => ({ id, session, feeds, results, nameAfter }), buffers, signal);
    if ("error" in answer) {
      throw new InferenceError(`the model failed to run: ${answer.error}`, {
        outOfMemory: isOutOfMemory(answer.error),
      });
    }
    return answer as Extract<ThreadResponse, { results: unknown }>;
  }

  #ask(
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
        resolve(answer) {
          settled();
          resolve(answer);
        },
        reject(error) {
          settled();
          reject(error);
        },
      });
      this.#worker.postMessage(request(id), transfer);
    });
  }

  /** Waits for a run that is under way; those still queued are dropped. */
  async close(): Promise<void> {
    if (this.#failure) return;
    const exited = new Promise<void>((resolve) => this.#worker.once("exit", () => resolve()));
    Atomics.store(this.#closing, 0, 1);
    this.#worker.postMessage(undefined);
    await exited;
  }
}
