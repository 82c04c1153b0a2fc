import { type DType, product } from "../../tiling/grid/raster.ts";
import type { IntensityNormalization } from "../../tiling/pixels/normalize.ts";
import { checkNetwork, type Network } from "./check-network.ts";
import { ELEMENT, type TensorInfo, uniquePrefix, wrapGraph } from "./onnx-file.ts";
import { OnnxGraphBuilder } from "./onnx-graph-builder.ts";

/** Sample type of the pixels: 8 and 16 bits, and float32 for all others. */
export type PixelType = "uint8" | "uint16" | "float32";
/** Sample types that the CPU takes without packing. */
export type PlainPixelType = Exclude<DType, "float64">;
/** Type of the result: `round(255 p)`, or the probabilities. */
export type OutputType = "u8" | "f32";

/** Bits of the samples that are packed in 32-bit words. */
const SAMPLE_BITS = { uint8: 8, uint16: 16 } as const;
/** Tolerance of probabilities around [0, 1], as half of the width: see `activate`. */
const HALF_RANGE_TOLERANCE = 0.501;
/** Largest finite float32. */
const MAX_FLOAT32 = 3.4028234663852886e38;

export interface DeviceGraphOptions extends Network {
  pixels: PixelType;
  /** Channels of the pixels: those of the network, or 1 that feeds all of them. */
  pixelChannels: number;
  result: OutputType;
}

/** A network with pre- and post-processing in one graph: stored pixels go in, one byte a class and sample comes out. */
export interface DeviceGraph {
  bytes: Uint8Array;
  /**
   * Pixels `[N, ...window, C]`: 8- and 16-bit samples `[N, pixelWords]` int32, each window padded to whole words;
   * others `[N, ...window, C]` float32.
   */
  pixels: string;
  pixelWords: number;
  /** `[N, 6, 1, ...]` float32: low, 1 / (high - low), least, most, scale and offset of each window. */
  scaling: string;
  /** `[N, resultWords]` int32 for bytes `[N, K, ...window]`, each window padded to whole words; else float32. */
  result: string;
  resultWords: number;
  /** `[N]` float32: samples of a window that are no probabilities or come from scores that are not finite. */
  faults: string;
}

/**
 * Adds unpacking, NHWC → NCHW, normalization, activation, rounding and packing around a network.
 *
 * WebGPU has neither bytes nor 64-bit integers, so samples are packed in int32, and only operators with a WebGPU kernel
 * are added. Other providers run the same graph. Operators whose newer versions have no CUDA kernel are avoided
 * (ReduceMax of opset 20, Pad of 19): onnxruntime takes a kernel of an open version range only for the version it was
 * written for. `npm run check:cuda` checks that CUDA takes every node.
 * @throws {InferenceError} if the file does not match the options
 */
export function fusePrePostForGpu(model: Uint8Array, options: DeviceGraphOptions): DeviceGraph {
  const { window, classes, activation, pixels, pixelChannels, result } = options;
  checkNetwork(model, options);
  const prefix = uniquePrefix(model);
  const size = product(window);
  const ones = window.map(() => 1);

  const before = new OnnxGraphBuilder(`${prefix}in_`);
  const pixelsName = `${prefix}pixels`;
  const scalingName = `${prefix}scaling`;
  const samples = size * pixelChannels;
  const perWord = pixels === "float32" ? 1 : 32 / SAMPLE_BITS[pixels];
  const pixelWords = Math.ceil(samples / perWord);
  const floats =
    pixels === "float32" ? pixelsName : before.unpack(pixelsName, pixelWords, samples, SAMPLE_BITS[pixels]);
  before.rename(addNormalization(before, floats, scalingName, options), options.input);

  const after = new OnnxGraphBuilder(`${prefix}out_`);
  let resultName = `${prefix}result`;
  const faultsName = `${prefix}faults`;
  const p = addActivation(after, options);
  // Comparisons with NaN are false. The scores are checked too, because WebGPU's sigmoid turns NaN into a number;
  // infinite scores count as faults as well.
  const right = after.within(after.add("Sub", [p, after.floats([0.5])]), HALF_RANGE_TOLERANCE);
  let faults = after.countFalse(right, classes * size);
  if (activation !== "none") {
    const scores = classes - (activation === "sigmoid" ? 1 : 0);
    const finite = after.countFalse(after.within(options.output, MAX_FLOAT32), scores * size);
    faults = after.add("Add", [faults, finite]);
  }
  after.rename(faults, faultsName);

  let resultWords = classes * size;
  if (result === "f32") {
    if (p === options.output) resultName = p;
    else after.rename(p, resultName);
  } else {
    const safe = after.add("Where", [right, p, after.floats([0])]);
    const scaled = after.add("Mul", [safe, after.floats([255])]);
    const bytes = after.add("Add", [scaled, after.floats([0.5])]);
    const flat = after.reshape(bytes, [-1, classes * size]);
    resultWords = Math.ceil((classes * size) / 4);
    after.rename(after.pack(flat, classes * size, resultWords), resultName);
  }

  const floatPixels = ["windows", ...window, pixelChannels];
  const inputs: TensorInfo[] = [
    {
      name: pixelsName,
      element: pixels === "float32" ? ELEMENT.float : ELEMENT.int32,
      shape: pixels === "float32" ? floatPixels : ["windows", pixelWords],
    },
    { name: scalingName, element: ELEMENT.float, shape: ["windows", 6, ...ones] },
  ];
  const outputs: TensorInfo[] = [
    result === "f32"
      ? { name: resultName, element: ELEMENT.float, shape: ["windows", classes, ...window] }
      : { name: resultName, element: ELEMENT.int32, shape: ["windows", resultWords] },
    { name: faultsName, element: ELEMENT.float, shape: ["windows"] },
  ];
  return {
    bytes: wrapGraph(model, { before: before.nodes, after: after.nodes, inputs, outputs }),
    pixels: pixelsName,
    pixelWords,
    scaling: scalingName,
    result: resultName,
    resultWords,
    faults: faultsName,
  };
}

/**
 * As `fusePrePostForGpu`, for the CPU: `pixels` is `[N, ...window, C]` of any sample type, the result `[N, K, ...window]`
 * uint8. NaN scores give classes that do not add up to 255, which `validateQuantizedProbabilities` finds. Callers
 * must not use it with the activation `none`, whose classes need not add up.
 * @throws {InferenceError} if the file does not match the options
 */
export function fusePrePostForCpu(
  model: Uint8Array,
  options: Omit<DeviceGraphOptions, "pixels" | "result"> & { pixels: PlainPixelType },
): Pick<DeviceGraph, "bytes" | "pixels" | "scaling" | "result"> {
  const { window, classes, pixels, pixelChannels } = options;
  checkNetwork(model, options);
  const prefix = uniquePrefix(model);
  const names = { pixels: `${prefix}pixels`, scaling: `${prefix}scaling`, result: `${prefix}result` };
  const before = new OnnxGraphBuilder(`${prefix}in_`);
  const floats = before.add("Cast", [names.pixels], { to: ELEMENT.float });
  before.rename(addNormalization(before, floats, names.scaling, options), options.input);
  const after = new OnnxGraphBuilder(`${prefix}out_`);
  const toBytes = (p: string, unit: string) => {
    const rounded = after.add("Add", [after.add("Mul", [p, unit]), after.floats([0.5])]);
    return after.add("Cast", [rounded], { to: ELEMENTS.uint8 });
  };
  if (options.activation === "softmax") {
    // Class by class. The CPU's Softmax moves the classes to the last axis and back, six times slower for few classes;
    // here the values of a class are still in the cache for the next operator.
    const scores = classes === 1 ? [options.output] : after.split(options.output, classes, 1);
    const largest = classes === 1 ? options.output : after.add("Max", scores);
    const powers = scores.map((score) => after.add("Exp", [after.add("Sub", [score, largest])]));
    const unit = after.add("Div", [after.floats([255]), after.add("Sum", powers)]);
    const each = powers.map((power) => toBytes(power, unit));
    after.rename(after.add("Concat", each, { axis: 1 }), names.result);
  } else {
    after.rename(toBytes(addActivation(after, options), after.floats([255])), names.result);
  }
  const inputs: TensorInfo[] = [
    { name: names.pixels, element: ELEMENTS[pixels], shape: ["windows", ...window, pixelChannels] },
    { name: names.scaling, element: ELEMENT.float, shape: ["windows", 6, ...window.map(() => 1)] },
  ];
  const outputs: TensorInfo[] = [
    { name: names.result, element: ELEMENTS.uint8, shape: ["windows", classes, ...window] },
  ];
  return {
    bytes: wrapGraph(model, { before: before.nodes, after: after.nodes, inputs, outputs }),
    ...names,
  };
}

/** ONNX TensorProto.DataType. */
const ELEMENTS: Record<PlainPixelType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  uint32: 12,
};

type Around = Pick<DeviceGraphOptions, "window" | "channels" | "pixelChannels">;

/** Pixels as floats, channels last → input of the network `[N, C, ...window]`. */
function addNormalization(
  before: OnnxGraphBuilder,
  floats: string,
  scaling: string,
  { window, channels, pixelChannels }: Around,
): string {
  let x: string;
  if (pixelChannels === 1) {
    x = before.reshape(floats, [-1, 1, ...window]);
  } else {
    x = before.reshape(floats, [-1, ...window, pixelChannels]);
    const perm = [0, window.length + 1, ...window.map((_, axis) => axis + 1)];
    x = before.add("Transpose", [x], { perm });
  }
  const [low, factor, least, most, scale, offset] = before.split(scaling, 6, 1);
  x = before.add("Mul", [before.add("Sub", [x, low!]), factor!]);
  x = before.add("Min", [before.add("Max", [x, least!]), most!]);
  x = before.add("Add", [before.add("Mul", [x, scale!]), offset!]);
  return pixelChannels < channels
    ? before.add("Concat", new Array<string>(channels).fill(x), { axis: 1 })
    : x;
}

/** Scores → probabilities `[N, K, ...window]`. */
function addActivation(
  after: OnnxGraphBuilder,
  { output, activation, classes }: Pick<DeviceGraphOptions, "output" | "activation" | "classes">,
): string {
  if (activation === "softmax") return after.add("Softmax", [output], { axis: 1 });
  if (activation === "none") return output;
  const p = after.add("Sigmoid", [output]);
  const each = classes === 2 ? [p] : after.split(p, classes - 1, 1);
  const largest = each.reduce((a, b) => after.add("Max", [a, b]));
  const background = after.add("Sub", [after.floats([1]), largest]);
  return after.add("Concat", [background, p], { axis: 1 });
}

/** Values of the graph's input `scaling`, `[N, 6]`; the largest float32 stands for no limit. */
export function feedNormalization(
  { low, high, clip, scale = 1, offset = 0 }: IntensityNormalization,
  windows: number,
) {
  const [least, most] = clip ?? [-MAX_FLOAT32, MAX_FLOAT32];
  const one = [low, 1 / Math.max(high - low, 1e-6), least, most, scale, offset];
  return Float32Array.from({ length: windows * one.length }, (_, i) => one[i % one.length]!);
}
