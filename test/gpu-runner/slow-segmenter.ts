import { InferenceError } from "../../src/inference/errors.ts";
import { openProvider } from "../../src/inference/node/open-provider.ts";
import type { Segmenter } from "../../src/inference/segmenter.ts";

/** What a simulated GPU does to the sessions that are opened on it; may be changed while they work. */
export interface Slowed {
  runMs: number;
  /** Runs of more windows find no memory. */
  memoryWindows: number;
  /** What runs fail with. */
  failure?: Error;
  /** Windows of each run, golden tiles included. */
  runs: number[];
}

/** Opens the model on the CPU as if that were a GPU of a speed and a memory of its own. */
export function slowed(options: Partial<Slowed> = {}): { device: Slowed; open: typeof openProvider } {
  const device: Slowed = { runMs: 0, memoryWindows: Number.POSITIVE_INFINITY, runs: [], ...options };
  const open = async (name: string, model: Parameters<typeof openProvider>[1]): Promise<Segmenter> => {
    const session = await openProvider("cpu", model, { threads: 1 });
    let last: Promise<unknown> = Promise.resolve();
    return {
      info: { ...session.info, runtime: `simulated ${name}` },
      close: () => session.close(),
      segment(batch, segmentOptions) {
        const mine = last.then(async () => {
          device.runs.push(batch.shape[0]!);
          if (device.runMs > 0) await new Promise((resolve) => setTimeout(resolve, device.runMs));
          if (batch.shape[0]! > device.memoryWindows) {
            throw new InferenceError(
              "the model failed to run: /onnxruntime/bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 1048576",
            );
          }
          if (device.failure) throw device.failure;
          return session.segment(batch, segmentOptions);
        });
        last = mine.catch(() => {});
        return mine;
      },
    };
  };
  return { device, open };
}
