import type { ModelPackage } from "../../model-package/load-package.ts";
import { type DType, product } from "../../tiling/grid/raster.ts";
import type { Activation } from "../../tiling/pixels/activation.ts";
import type { IntensityNormalization } from "../../tiling/pixels/normalize.ts";
import { InferenceError } from "../errors.ts";
import {
  type ConstantTensor,
  ELEMENT,
  type Node,
  readOnnx,
  type TensorInfo,
  uniquePrefix,
  wrapGraph,
} from "./onnx-file.ts";

/** What the pixels are made of: bytes, 16-bit words, or floats for whatever else an image may hold. */
export type PixelType = "uint8" | "uint16" | "float32";
/** What the CPU takes as it is, without packing. */
export type PlainPixelType = Exclude<DType, "float64">;
/** What comes back: `round(255 p)` or the probabilities themselves. */
export type OutputType = "u8" | "f32";

/** What has to be known of a network to put something around it. */
interface Network {
  /** Names of the graph's input `[N, C, ...window]` and output `[N, K', ...window]`. */
  input: string;
  output: string;
  window: readonly number[];
  /** C of the network. */
  channels: number;
  /** K: with sigmoid one more than the network gives. */
  classes: number;
  activation: Activation;
}

export function readNetwork({ manifest, variant }: Pick<ModelPackage, "manifest" | "variant">): Network {
  return {
    input: variant.input,
    output: variant.output,
    window: manifest.window.size,
    channels: manifest.input.channels,
    classes: manifest.classes.length,
    activation: manifest.output.activation,
  };
}

/** Bits of the samples that travel packed in 32-bit words. */
const BITS = { uint8: 8, uint16: 16 } as const;
/** Oldest operators that the added nodes know. */
export const OLDEST_OPSET = 13;
/** How far beyond 0 and 1 a probability may be: as in `activate`. */
const LEEWAY = 0.501;
/** Of float32. */
const LARGEST = 3.4028234663852886e38;

export interface DeviceGraphOptions extends Network {
  pixels: PixelType;
  /** Channels of the pixels: as many as the network takes, or 1 that feeds them all. */
  pixelChannels: number;
  result: OutputType;
}

/**
 * A network with everything around it inside one graph, so that pixels go to the device as they are and one byte a class
 * and sample comes back.
 */
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
  /** `[N]` float32: how many samples of a window are no probabilities or come of scores that are not finite. */
  faults: string;
}

/**
 * Puts unpacking, NHWC → NCHW, scaling, activation, rounding and packing around a network.
 *
 * WebGPU has neither bytes nor 64-bit integers, so samples travel packed in int32, and every operator added here is
 * one that the WebGPU provider has a kernel for. The other providers run the same graph. Left out are operators whose newer
 * versions CUDA has no kernel for though it had the older one (ReduceMax of opset 20, Pad of 19): a kernel of an open version
 * range is taken only for the version it was written for. `npm run check:cuda` says whether CUDA takes all of it.
 * @throws {InferenceError} when the file is no such network
 */
export function fusePrePostForGpu(model: Uint8Array, options: DeviceGraphOptions): DeviceGraph {
  const { window, classes, activation, pixels, pixelChannels, result } = options;
  checkNetwork(model, options);
  const prefix = uniquePrefix(model);
  const size = product(window);
  const ones = window.map(() => 1);

  const before = new NodeList(`${prefix}in_`);
  const pixelsName = `${prefix}pixels`;
  const scalingName = `${prefix}scaling`;
  const samples = size * pixelChannels;
  const perWord = pixels === "float32" ? 1 : 32 / BITS[pixels];
  const pixelWords = Math.ceil(samples / perWord);
  const floats =
    pixels === "float32" ? pixelsName : before.unpack(pixelsName, pixelWords, samples, BITS[pixels]);
  before.rename(scaled(before, floats, scalingName, options), options.input);

  const after = new NodeList(`${prefix}out_`);
  let resultName = `${prefix}result`;
  const faultsName = `${prefix}faults`;
  const p = activated(after, options);
  // A comparison with what is no number is false, whatever minimum, maximum and activation make of it: WebGPU's sigmoid gives
  // a number. Scores without end count as faults too.
  const right = after.within(after.add("Sub", [p, after.floats([0.5])]), LEEWAY);
  let faults = after.countFalse(right, classes * size);
  if (activation !== "none") {
    const scores = classes - (activation === "sigmoid" ? 1 : 0);
    const finite = after.countFalse(after.within(options.output, LARGEST), scores * size);
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
 * The same for the CPU, which takes samples of any type and gives bytes as bytes: `pixels` is `[N, ...window, C]`, the
 * result `[N, K, ...window]` uint8. Scores that are no numbers come out as classes that do not add up
 * (tiling/check-quantised.ts), for which reason `none`, whose classes need not, is not taken.
 * @throws {InferenceError} when the file is no such network
 */
export function fusePrePostForCpu(
  model: Uint8Array,
  options: Omit<DeviceGraphOptions, "pixels" | "result"> & { pixels: PlainPixelType },
): Pick<DeviceGraph, "bytes" | "pixels" | "scaling" | "result"> {
  const { window, classes, pixels, pixelChannels } = options;
  checkNetwork(model, options);
  const prefix = uniquePrefix(model);
  const names = { pixels: `${prefix}pixels`, scaling: `${prefix}scaling`, result: `${prefix}result` };
  const before = new NodeList(`${prefix}in_`);
  const floats = before.add("Cast", [names.pixels], { to: ELEMENT.float });
  before.rename(scaled(before, floats, names.scaling, options), options.input);
  const after = new NodeList(`${prefix}out_`);
  const toBytes = (p: string, unit: string) => {
    const rounded = after.add("Add", [after.add("Mul", [p, unit]), after.floats([0.5])]);
    return after.add("Cast", [rounded], { to: ELEMENTS.uint8 });
  };
  if (options.activation === "softmax") {
    // Class by class: the CPU's own Softmax turns the classes to the last axis and back, which takes six times as long where
    // they are few, and what is computed of one class is still in the cache for the next operator.
    const scores = classes === 1 ? [options.output] : after.split(options.output, classes, 1);
    const largest = classes === 1 ? options.output : after.add("Max", scores);
    const powers = scores.map((score) => after.add("Exp", [after.add("Sub", [score, largest])]));
    const unit = after.add("Div", [after.floats([255]), after.add("Sum", powers)]);
    const each = powers.map((power) => toBytes(power, unit));
    after.rename(after.add("Concat", each, { axis: 1 }), names.result);
  } else {
    after.rename(toBytes(activated(after, options), after.floats([255])), names.result);
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

/** Pixels as floats, channels last → what the network is fed `[N, C, ...window]`. */
function scaled(
  before: NodeList,
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
function activated(
  after: NodeList,
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

/** The graph's input `scaling`: `[N, 6]`, what float32 holds in place of no limit. */
export function feedNormalization(
  { low, high, clip, scale = 1, offset = 0 }: IntensityNormalization,
  windows: number,
) {
  const [least, most] = clip ?? [-LARGEST, LARGEST];
  const one = [low, 1 / Math.max(high - low, 1e-6), least, most, scale, offset];
  return Float32Array.from({ length: windows * one.length }, (_, i) => one[i % one.length]!);
}

function checkNetwork(model: Uint8Array, options: Omit<DeviceGraphOptions, "pixels" | "result">): void {
  const { input, output, window, channels, pixelChannels } = options;
  if (pixelChannels !== channels && pixelChannels !== 1) {
    throw new InferenceError(`pixels have ${pixelChannels} channels, the model takes ${channels}`);
  }
  let file: ReturnType<typeof readOnnx>;
  try {
    file = readOnnx(model);
  } catch (cause) {
    throw new InferenceError(`${(cause as Error).message}; export the network again`, { cause });
  }
  if (file.opset < OLDEST_OPSET) {
    throw new InferenceError(
      `the network is of opset ${file.opset}; export it with ${OLDEST_OPSET} or newer to run it on a device`,
    );
  }
  if (file.inputs.length !== 1 || file.inputs[0]!.name !== input) {
    throw new InferenceError(
      `the graph has inputs ${file.inputs.map((i) => i.name).join(", ")}, model.json says ${input} alone`,
    );
  }
  const found = file.outputs.find((o) => o.name === output);
  if (!found) {
    throw new InferenceError(
      `the graph has outputs ${file.outputs.map((o) => o.name).join(", ")}, model.json says ${output}`,
    );
  }
  for (const { name, element } of [file.inputs[0]!, found]) {
    if (element !== ELEMENT.float) {
      throw new InferenceError(
        `${name} of the graph is not float32; export the network with float32 in and out`,
      );
    }
  }
  const shape = file.inputs[0]!.shape;
  const expected = [channels, ...window];
  if (
    shape &&
    (shape.length !== expected.length + 1 ||
      expected.some((n, i) => typeof shape[i + 1] === "number" && shape[i + 1] !== n))
  ) {
    throw new InferenceError(
      `the graph takes ${shape.slice(1).join("×")}, model.json says ${expected.join("×")}`,
    );
  }
}

/** Nodes in the order they are added, which is the order they compute in. */
class NodeList {
  readonly nodes: Node[] = [];
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  add(operator: string, inputs: readonly string[], attributes?: Node["attributes"]): string {
    const name = this.#name();
    this.nodes.push({ operator, inputs, outputs: [name], attributes });
    return name;
  }

  /** Gives a tensor that was made here the name that others know it by. */
  rename(tensor: string, name: string): void {
    const changed = (names: readonly string[]) => names.map((n) => (n === tensor ? name : n));
    this.nodes.forEach((node, i) => {
      this.nodes[i] = { ...node, inputs: changed(node.inputs), outputs: changed(node.outputs) };
    });
  }

  floats(values: readonly number[]): string {
    return this.#constant({ data: Float32Array.from(values), shape: [values.length] });
  }

  integers(values: readonly number[]): string {
    return this.#constant({ data: Int32Array.from(values), shape: [values.length] });
  }

  /** Whether the absolute value is at most `most`, for each sample. */
  within(tensor: string, most: number): string {
    return this.add("LessOrEqual", [this.add("Abs", [tensor]), this.floats([most])]);
  }

  /** Flags of `size` a window → `[N]` float32: how many are false. */
  countFalse(flags: string, size: number): string {
    const ones = this.add("Cast", [flags], { to: ELEMENT.float });
    const wrong = this.reshape(this.add("Sub", [this.floats([1]), ones]), [-1, size]);
    return this.add("ReduceSum", [wrong, this.#longs([1])], { keepdims: 0 });
  }

  /** -1: whatever is left. */
  reshape(tensor: string, shape: readonly number[]): string {
    return this.add("Reshape", [tensor, this.#longs(shape)]);
  }

  split(tensor: string, parts: number, axis: number): string[] {
    const outputs = Array.from({ length: parts }, () => this.#name());
    const sizes = this.#longs(new Array<number>(parts).fill(1));
    this.nodes.push({ operator: "Split", inputs: [tensor, sizes], outputs, attributes: { axis } });
    return outputs;
  }

  /**
   * Words `[N, words]` → samples `[N, samples]` float32, the lowest bits first. Words are signed here: the sign is taken off
   * first, for division rounds towards zero, and is the highest bit of the last sample of its word.
   */
  unpack(words: string, wordCount: number, samples: number, bits: number): string {
    const perWord = 32 / bits;
    const base = 2 ** bits;
    const each = this.reshape(words, [-1, wordCount, 1]);
    const negative = this.add("Cast", [this.add("Less", [each, this.integers([0])])], { to: ELEMENT.int32 });
    const sign = this.add("Mul", [negative, this.integers([-(2 ** 31)])]);
    const low31 = this.add("Sub", [each, sign]);
    const shifts = Array.from({ length: perWord }, (_, i) => base ** i);
    const shifted = this.add("Div", [low31, this.integers(shifts)]);
    const above = this.add("Mul", [this.add("Div", [shifted, this.integers([base])]), this.integers([base])]);
    const top = this.integers(shifts.map((_, i) => (i === perWord - 1 ? base / 2 : 0)));
    const sample = this.add("Add", [this.add("Sub", [shifted, above]), this.add("Mul", [negative, top])]);
    const flat = this.reshape(this.add("Cast", [sample], { to: ELEMENT.float }), [-1, wordCount * perWord]);
    if (samples === wordCount * perWord) return flat;
    return this.add("Slice", [flat, this.#longs([0]), this.#longs([samples]), this.#longs([1])]);
  }

  /** Floats `[N, samples]` of 0 to 255.9 → their whole parts packed in words `[N, words]`, the lowest bits first. */
  pack(floats: string, samples: number, words: number): string {
    let x = floats;
    const missing = words * 4 - samples;
    if (missing > 0) {
      const first = this.add("Slice", [x, this.#longs([0]), this.#longs([1]), this.#longs([1])]);
      const zero = this.add("Mul", [first, this.floats([0])]);
      x = this.add("Concat", [x, ...new Array<string>(missing).fill(zero)], { axis: 1 });
    }
    const bytes = this.add("Cast", [this.reshape(x, [-1, words, 4])], { to: ELEMENT.int32 });
    // The last byte of a word holds its sign: 128 to 255 are there what -128 to -1 are elsewhere.
    const highest = this.integers([256, 256, 256, 127]);
    const negative = this.add("Cast", [this.add("Greater", [bytes, highest])], { to: ELEMENT.int32 });
    const signed = this.add("Sub", [bytes, this.add("Mul", [negative, this.integers([256])])]);
    const places = this.add("Mul", [signed, this.integers([1, 2 ** 8, 2 ** 16, 2 ** 24])]);
    // Not ReduceSum: WebGPU's adds in float32, which has no room for the lowest byte.
    const [a, b, c, d] = this.split(places, 4, 2);
    const sum = this.add("Add", [this.add("Add", [a!, b!]), this.add("Add", [c!, d!])]);
    return this.reshape(sum, [-1, words]);
  }

  #longs(values: readonly number[]): string {
    return this.#constant({ data: BigInt64Array.from(values, BigInt), shape: [values.length] });
  }

  #constant(value: ConstantTensor): string {
    return this.add("Constant", [], { value });
  }

  #name(): string {
    return `${this.#prefix}${this.nodes.length}_${this.#count++}`;
  }
  #count = 0;
}
