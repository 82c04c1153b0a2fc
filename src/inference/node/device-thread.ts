import { InferenceThread } from "./inference-thread.ts";
import type { ProviderName } from "./ort-node-worker.ts";

/** A thread to open sessions in. */
export interface DeviceThread {
  thread: InferenceThread;
  /** Releases the thread; call it once, after closing the sessions. */
  release(): Promise<void>;
}

let shared: { started: Promise<InferenceThread>; thread?: InferenceThread; users: number } | undefined;
let ending: Promise<void> = Promise.resolve();

/**
 * Starts a thread for sessions. All WebGPU sessions of the process share one: sessions in two threads at a time crash the
 * process with a segmentation fault (onnxruntime-node 1.30).
 * @throws {InferenceError} if the runtime does not load
 */
export async function acquireInferenceThread(provider: ProviderName): Promise<DeviceThread> {
  if (provider !== "webgpu") {
    const thread = await InferenceThread.start();
    return { thread, release: () => thread.close() };
  }
  // A failed thread stays with its users; new ones get another.
  if (shared?.thread?.failed) shared = undefined;
  shared ??= { started: ending.then(() => InferenceThread.start()), users: 0 };
  const acquired = shared;
  acquired.users++;
  const release = async () => {
    if (--acquired.users > 0) return;
    if (shared === acquired) shared = undefined;
    // The next thread starts after this one has ended.
    ending = acquired.started.then((thread) => thread.close()).catch(() => {});
    await ending;
  };
  try {
    acquired.thread = await acquired.started;
    return { thread: acquired.thread, release };
  } catch (error) {
    await release();
    throw error;
  }
}
