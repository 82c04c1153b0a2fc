import type { ModelPackage } from "../model-package/load-package.ts";
import { product, type Raster, type SampleArray } from "../tiling/grid/raster.ts";
import { activate } from "../tiling/pixels/activation.ts";
import { normalizeWindows } from "../tiling/pixels/normalize.ts";
import { InferenceError } from "./errors.ts";
import type { SegmentBatchOptions } from "./segmenter.ts";

/** Runs the network: `[N, C, ...window]` → scores `[N, K, ...window]`. May take over the input's buffer. */
export type RunModel = (input: Raster<Float32Array>) => Promise<Raster<Float32Array>>;

/** The part of a package that running its graph needs. */
export type GraphPackage = Pick<ModelPackage, "manifest" | "variant">;

/**
 * Pixels `[N, ...window, C]` → class probabilities `[N, K, ...window]`: the pre- and post-processing around the `run` of a
 * runtime. A graph with a fixed number of windows is run several times.
 */
export async function segmentWindows(
  model: GraphPackage,
  batch: Raster<SampleArray>,
  { scaling, signal }: SegmentBatchOptions,
  run: RunModel,
): Promise<Raster<Float32Array>> {
  const { manifest, variant } = model;
  signal?.throwIfAborted();
  const spatial = batch.shape.slice(1, -1);
  if (spatial.join() !== manifest.window.size.join()) {
    throw new InferenceError(
      `windows are ${spatial.join("×")}, the model takes ${manifest.window.size.join("×")}`,
    );
  }
  const windows = batch.shape[0]!;
  const size = product(spatial);
  const classes = manifest.classes.length;
  const perRun = Math.min(windows, variant.windowsPerRun ?? windows);
  if (perRun === windows) {
    return activated(await run(normalizeWindows(batch, manifest.input.channels, scaling)), windows);
  }
  const data = new Float32Array(windows * classes * size);
  const samples = product(batch.shape.slice(1));
  for (let first = 0; first < windows; first += perRun) {
    signal?.throwIfAborted();
    const count = Math.min(perRun, windows - first);
    const part = batch.data.subarray(first * samples, (first + count) * samples) as SampleArray;
    const input = normalizeWindows(
      { data: part, shape: [count, ...batch.shape.slice(1)] },
      manifest.input.channels,
      scaling,
    );
    data.set(activated(await run(input), count).data, first * classes * size);
  }
  return { data, shape: [windows, classes, ...spatial] };

  function activated(scores: Raster<Float32Array>, count: number): Raster<Float32Array> {
    let data: Float32Array;
    try {
      data = activate(scores.data, count, size, manifest.output.activation);
    } catch (cause) {
      throw cause instanceof RangeError ? new InferenceError(cause.message, { cause }) : cause;
    }
    if (data.length !== count * classes * size) {
      throw new InferenceError(
        `the model returned ${scores.shape.join("×")}, expected ${classes} classes for ${count} windows of ${spatial.join("×")}`,
      );
    }
    return { data, shape: [count, classes, ...spatial] };
  }
}
