import { InferenceError } from "../../src/inference/errors.ts";
import type { EncodedWindows, SegmentBatchOptions, Segmenter } from "../../src/inference/segmenter.ts";
import type { Raster, SampleArray } from "../../src/tiling/grid/raster.ts";
import { encodeWindows } from "../../src/tiling/wire/mask-record.ts";

export interface DeviceOptions {
  /** Time of one run. */
  runMs?: number;
  /** And for each window of it. */
  windowMs?: number;
  /** Runs of more windows find no memory. */
  memoryWindows?: number;
  /** A window whose first sample is this makes its run fail. */
  poison?: number;
  runtime?: string;
}

export interface Run {
  windows: number;
  /** First sample of each window. */
  tags: number[];
  options: SegmentBatchOptions;
  atMs: number;
}

/** What the device makes of a window that begins with `tag`: class 0 has tag / 1000, class 1 the rest. */
export function expected(tag: number): [number, number] {
  return [Math.fround(tag / 1000), Math.fround(1 - tag / 1000)];
}

/**
 * A device with a speed and a memory of its own, in place of a GPU: windows of 1×2 samples with one channel, two classes.
 * It takes one run at a time, as a session does.
 */
export class SimulatedDevice implements Segmenter {
  readonly info;
  readonly runs: Run[] = [];
  /** May be changed while it works. */
  options: DeviceOptions;
  closed = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: DeviceOptions = {}) {
    this.options = options;
    this.info = {
      model: "simulated",
      variant: "none",
      runtime: options.runtime ?? "simulated device",
      threads: 1,
      classes: 2,
      window: [1, 2],
      channels: 1,
    };
  }

  segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    const mine = this.#last.then(() => this.#run(batch, options));
    this.#last = mine.catch(() => {});
    return mine;
  }

  async close(): Promise<void> {
    await this.#last;
    this.closed = true;
  }

  async #run(
    { data, shape }: Raster<SampleArray>,
    options: SegmentBatchOptions,
  ): Promise<Raster<Float32Array>> {
    const windows = shape[0]!;
    const tags = Array.from({ length: windows }, (_, n) => data[2 * n]!);
    this.runs.push({ windows, tags, options, atMs: performance.now() });
    const { runMs = 0, windowMs = 0, memoryWindows, poison } = this.options;
    const ms = runMs + windows * windowMs;
    await new Promise<void>((resolve) => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)));
    if (memoryWindows !== undefined && windows > memoryWindows) {
      throw new InferenceError("the model failed to run: CUDA failure 2: out of memory ; GPU=0");
    }
    if (poison !== undefined && tags.includes(poison)) {
      throw new InferenceError("the model failed to run: it does not like what it sees");
    }
    const out = new Float32Array(windows * 4);
    for (const [n, tag] of tags.entries()) {
      const [a, b] = expected(tag);
      out.set([a, a, b, b], n * 4);
    }
    return { data: out, shape: [windows, 2, 1, 2] };
  }
}

/** A device whose graph rounds too: it answers in the precision asked for, and is never asked for floats to be rounded here. */
export class RoundingDevice extends SimulatedDevice {
  #rounding = false;

  override segment(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<Raster<Float32Array>> {
    if (!this.#rounding) throw new Error("it was asked for floats");
    this.#rounding = false;
    return super.segment(batch, options);
  }

  async segmentEncoded(batch: Raster<SampleArray>, options: SegmentBatchOptions): Promise<EncodedWindows> {
    this.#rounding = true;
    return encodeWindows(await this.segment(batch, options), options.precision ?? "f32");
  }
}

/** Windows that begin with these samples. */
export function windowsOf(tags: readonly number[]): Raster<Uint16Array> {
  return { data: Uint16Array.from(tags.flatMap((tag) => [tag, 0])), shape: [tags.length, 1, 2, 1] };
}
