import { type ConstantTensor, ELEMENT, type Node } from "./onnx-file.ts";

/** Builds a list of ONNX nodes. Nodes compute in the order they are added; each call returns the name of its output. */
export class OnnxGraphBuilder {
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

  /** Renames a tensor of this list, for instance to an input of the network. */
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

  /** For each sample: whether its absolute value is at most `limit`. False for NaN. */
  within(tensor: string, limit: number): string {
    return this.add("LessOrEqual", [this.add("Abs", [tensor]), this.floats([limit])]);
  }

  /** Booleans, `size` a window → `[N]` float32: how many are false. */
  countFalse(flags: string, size: number): string {
    const ones = this.add("Cast", [flags], { to: ELEMENT.float });
    const wrong = this.reshape(this.add("Sub", [this.floats([1]), ones]), [-1, size]);
    return this.add("ReduceSum", [wrong, this.#longs([1])], { keepdims: 0 });
  }

  /** At most one length may be -1: it takes the rest. */
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
   * Words `[N, words]` int32 → samples `[N, samples]` float32, lowest bits first. The sign of a word is removed first,
   * because division rounds towards zero, and added again as the highest bit of the last sample of the word.
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

  /** Floats `[N, samples]` in [0, 256) → their integer parts packed in words `[N, words]` int32, lowest bits first. */
  pack(floats: string, samples: number, words: number): string {
    let x = floats;
    const missing = words * 4 - samples;
    if (missing > 0) {
      const first = this.add("Slice", [x, this.#longs([0]), this.#longs([1]), this.#longs([1])]);
      const zero = this.add("Mul", [first, this.floats([0])]);
      x = this.add("Concat", [x, ...new Array<string>(missing).fill(zero)], { axis: 1 });
    }
    const bytes = this.add("Cast", [this.reshape(x, [-1, words, 4])], { to: ELEMENT.int32 });
    // The last byte of a word holds the sign: 128 to 255 become -128 to -1 there.
    const highest = this.integers([256, 256, 256, 127]);
    const negative = this.add("Cast", [this.add("Greater", [bytes, highest])], { to: ELEMENT.int32 });
    const signed = this.add("Sub", [bytes, this.add("Mul", [negative, this.integers([256])])]);
    const places = this.add("Mul", [signed, this.integers([1, 2 ** 8, 2 ** 16, 2 ** 24])]);
    // Not ReduceSum: WebGPU's kernel adds in float32, which loses the lowest byte.
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
