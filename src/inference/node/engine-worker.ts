import { parentPort, workerData } from "node:worker_threads";
import type { Kernels } from "../engine/engine.ts";
import type { WindowRequest, WindowResult } from "../engine/engine-pool.ts";
import { type PlannedModel, WindowRunner } from "../engine/window-runner.ts";
import { isOutOfMemory } from "../errors.ts";

/** Runs windows on the engine outside of the main thread, which decodes and merges meanwhile. */
export interface EngineWorkerData {
  model: PlannedModel;
  kernels: Kernels;
}

/** `undefined` in place of a request ends the thread. */
export interface EngineRequest extends WindowRequest {
  id: number;
}

export type EngineResponse =
  | { ready: string; byteLength: number }
  | ({ id: number } & WindowResult)
  | { id: number; error: string; outOfMemory: boolean };

const port = parentPort!;
const { model, kernels } = workerData as EngineWorkerData;
const runner = await WindowRunner.create(model, kernels);

port.on("message", (request: EngineRequest | undefined) => {
  if (request === undefined) return port.close();
  const { id, pixels, channels, scaling, precision } = request;
  try {
    const before = runner.runMilliseconds;
    const { data, labels } = runner.segment(pixels, channels, scaling, precision);
    const milliseconds = runner.runMilliseconds - before;
    const moved = [data, labels].flatMap((array) => (array ? [array.buffer as ArrayBuffer] : []));
    port.postMessage({ id, data, labels, milliseconds } satisfies EngineResponse, moved);
  } catch (error) {
    const { message } = error as Error;
    port.postMessage({ id, error: message, outOfMemory: isOutOfMemory(message) } satisfies EngineResponse);
  }
});
port.postMessage({ ready: runner.arithmetic, byteLength: runner.byteLength } satisfies EngineResponse);
