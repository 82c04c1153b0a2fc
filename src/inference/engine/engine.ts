import { InferenceError } from "../errors.ts";
import { type EncodedProgram, encodeProgram, type Kernel } from "./encode-program.ts";
import { fuseSteps } from "./fuse-steps.ts";
import { lowerGraph, type Program } from "./lower-graph.ts";
import { readOnnxGraph } from "./onnx-graph.ts";
import { elementCount } from "./tensor.ts";

const PAGE = 65536;
const ALIGNMENT = 16;

/** Compiled kernels: with relaxed SIMD, or of the build without. */
export interface Kernels {
  module: WebAssembly.Module;
  relaxed: boolean;
}

export interface GraphOptions {
  /** Names in the graph. */
  input: string;
  output: string;
  /** Shape of the input as the graph states it: `[1, C, ...window]`. */
  shape: readonly number[];
}

/** What a graph needs to run; made once, and shared by the engines that run it. It can be sent to other threads. */
export interface Plan extends EncodedProgram {
  /** Shape of the scores, `[1, K, ...window]`. */
  outputShape: readonly number[];
  /** Parameters of the kernels behind the network, and what they write. */
  results: { parameters: number; probabilitiesAt: number; bytesAt: number; labelsAt: number };
  inputLength: number;
}

/** @throws {PlanError} if the engine does not have what the graph asks for */
export function planGraph(bytes: Uint8Array, { input, output, shape }: GraphOptions): Plan {
  return planProgram(fuseSteps(lowerGraph(readOnnxGraph(bytes), input, output, shape)));
}

export function planProgram(program: Program): Plan {
  const encoded = encodeProgram(program);
  const { outputShape } = program;
  const classes = outputShape[1]!;
  const pixels = elementCount(outputShape) / classes;
  const padded = (pixels + 3) & ~3;
  const parameters = align(encoded.byteLength);
  const probabilitiesAt = align(parameters + 64);
  const bytesAt = align(probabilitiesAt + 4 * classes * padded);
  const labelsAt = align(bytesAt + classes * padded);
  return {
    ...encoded,
    byteLength: align(labelsAt + padded),
    outputShape,
    results: { parameters, probabilitiesAt, bytesAt, labelsAt },
    inputLength: program.input.elements,
  };
}

const align = (n: number) => Math.ceil(n / ALIGNMENT) * ALIGNMENT;

/**
 * A graph in a linear memory of its own.
 *
 * Written by hand: onnxruntime-web is 14 MB of WebAssembly, asks for shared memory, which a platform may not grant, has no
 * kernel for 4 bits and takes three times as long (`node bench/engine.ts`).
 *
 * It computes synchronously, one window at a time. */
export class Engine {
  /** Whether the multiply-adds of this machine round once; without relaxed SIMD they never do. */
  readonly fused: boolean;
  readonly relaxed: boolean;
  readonly #plan: Plan;
  readonly #memory: WebAssembly.Memory;
  readonly #calls: readonly (() => void)[];
  readonly #softmax: (parameters: number) => number;
  readonly #encode: (parameters: number) => void;
  readonly #classes: number;
  readonly #pixels: number;

  private constructor(
    plan: Plan,
    memory: WebAssembly.Memory,
    exports: WebAssembly.Exports,
    relaxed: boolean,
  ) {
    this.#plan = plan;
    this.#memory = memory;
    this.relaxed = relaxed;
    this.fused = (exports.fusesMultiplyAdd as () => number)() === 1;
    this.#softmax = exports.softmaxPlanes as (parameters: number) => number;
    this.#encode = exports.encodePlanes as (parameters: number) => void;
    this.#calls = plan.calls.map(({ kernel, parameters }) => {
      const run = exports[kernel] as (parameters: number) => void;
      return () => run(parameters);
    });
    this.#classes = plan.outputShape[1]!;
    this.#pixels = elementCount(plan.outputShape) / this.#classes;
  }

  /** @throws {InferenceError} if the memory is not there, or more than `maxBytes` */
  static async create(plan: Plan, { module, relaxed }: Kernels, maxBytes = 2 ** 32): Promise<Engine> {
    const pages = Math.ceil(plan.byteLength / PAGE);
    const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
    if (pages * PAGE > maxBytes) {
      throw new InferenceError(
        `the network needs ${mib(pages * PAGE)} MiB of memory, ${mib(maxBytes)} are allowed`,
        {
          outOfMemory: true,
        },
      );
    }
    let memory: WebAssembly.Memory;
    try {
      memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    } catch (cause) {
      throw new InferenceError(`the network needs ${mib(pages * PAGE)} MiB of memory, which are not there`, {
        cause,
        outOfMemory: true,
      });
    }
    new Uint8Array(memory.buffer).set(plan.constants, plan.constantsAt);
    const instance = await WebAssembly.instantiate(module, { env: { memory } });
    return new Engine(plan, memory, instance.exports, relaxed);
  }

  /** Of its linear memory. */
  get byteLength(): number {
    return this.#memory.buffer.byteLength;
  }

  /** The input of the next run, `[...window, C]`. A view of the memory: write to it only. */
  get input(): Float32Array {
    return new Float32Array(this.#memory.buffer, this.#plan.inputAt, this.#plan.inputLength);
  }

  run(): void {
    for (const call of this.#calls) call();
  }

  /** Scores of the last run, `[1, K, ...window]`: a new array. */
  scores(): Float32Array<ArrayBuffer> {
    const [classes, pixels] = [this.#classes, this.#pixels];
    const stored = new Float32Array(this.#memory.buffer, this.#plan.outputAt);
    const scores = new Float32Array(classes * pixels);
    for (let k = 0; k < classes; k++) {
      for (let i = 0; i < pixels; i++) scores[k * pixels + i] = stored[i * classes + k]!;
    }
    return scores;
  }

  /**
   * Softmax of the last run's scores, `[K, ...window]`: a new array.
   * @throws {InferenceError} if a score is not a number
   */
  probabilities(): Float32Array<ArrayBuffer> {
    this.#computeProbabilities();
    return this.#planes(new Float32Array(this.#memory.buffer, this.#plan.results.probabilitiesAt));
  }

  /**
   * The same as bytes round(255 p), with the first class of the largest byte at each sample.
   * @throws {InferenceError} if a score is not a number
   */
  encoded(): { bytes: Uint8Array<ArrayBuffer>; labels: Uint8Array<ArrayBuffer> } {
    this.#computeProbabilities();
    const { parameters, bytesAt, labelsAt } = this.#plan.results;
    this.#encode(parameters);
    const { buffer } = this.#memory;
    const bytes = this.#planes(new Uint8Array(buffer, bytesAt));
    return { bytes, labels: new Uint8Array(buffer.slice(labelsAt, labelsAt + this.#pixels)) };
  }

  #computeProbabilities(): void {
    const { outputAt, results } = this.#plan;
    const { parameters, probabilitiesAt, bytesAt, labelsAt } = results;
    new Int32Array(this.#memory.buffer, parameters, 6).set([
      outputAt,
      this.#pixels,
      this.#classes,
      probabilitiesAt,
      bytesAt,
      labelsAt,
    ]);
    if (this.#softmax(parameters) !== 0) {
      throw new InferenceError("the model returned a score that is not a number");
    }
  }

  #planes<A extends Float32Array | Uint8Array>(all: A): A & { buffer: ArrayBuffer } {
    const padded = (this.#pixels + 3) & ~3;
    const [classes, pixels] = [this.#classes, this.#pixels];
    if (padded === pixels) return all.slice(0, classes * pixels) as A & { buffer: ArrayBuffer };
    const out = new (all.constructor as new (length: number) => A)(classes * pixels);
    for (let k = 0; k < classes; k++) out.set(all.subarray(k * padded, k * padded + pixels), k * pixels);
    return out as A & { buffer: ArrayBuffer };
  }

  /** Runs once, and returns the time of each step in milliseconds: for benchmarks. */
  profile(): { kernel: Kernel; macs: number; milliseconds: number }[] {
    return this.#plan.calls.map(({ kernel, macs }, i) => {
      const started = performance.now();
      this.#calls[i]!();
      return { kernel, macs, milliseconds: performance.now() - started };
    });
  }
}
