import { InferenceThread } from "./inference-thread.ts";
import type { ProviderName } from "./ort-node-worker.ts";

/** A thread to open sessions in, and how to give it back. */
export interface DeviceThread {
  thread: InferenceThread;
  /** Once, when its own sessions are closed. */
  release(): Promise<void>;
}

let shared: { started: Promise<InferenceThread>; thread?: InferenceThread; users: number } | undefined;
let ending: Promise<void> = Promise.resolve();

/**
 * The one thread of this process that WebGPU is used from: sessions in two threads at a time end the process with a segmentation
 * fault (onnxruntime-node 1.30). The other providers get a thread of their own.
 * @throws {InferenceError} when the runtime does not load
 */
export async function acquireInferenceThread(provider: ProviderName): Promise<DeviceThread> {
  if (provider !== "webgpu") {
    const thread = await InferenceThread.start();
    return { thread, release: () => thread.close() };
  }
  // One that died is left to those who hold it.
  if (shared?.thread?.failed) shared = undefined;
  shared ??= { started: ending.then(() => InferenceThread.start()), users: 0 };
  const mine = shared;
  mine.users++;
  const release = async () => {
    if (--mine.users > 0) return;
    if (shared === mine) shared = undefined;
    // The next thread starts when this one is gone.
    ending = mine.started.then((thread) => thread.close()).catch(() => {});
    await ending;
  };
  try {
    mine.thread = await mine.started;
    return { thread: mine.thread, release };
  } catch (error) {
    await release();
    throw error;
  }
}
