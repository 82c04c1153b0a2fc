import { product, strides } from "../grid/raster.ts";
import { type LabelBits, PackedLabels } from "./packed-labels.ts";

/** Label samples: class indices (`Uint8Array`) or object numbers (`Uint32Array`). */
export type LabelArray = Uint8Array | Uint32Array;

export interface PyramidLevel {
  /** Samples per axis, slow to fast. */
  shape: readonly number[];
  /** Level-0 samples per sample, per axis. */
  factor: readonly number[];
}

/**
 * The levels of a label pyramid: each halves every axis (rounding up) until the whole level fits one chunk.
 * An axis of one sample, or one with an odd chunk (whose halves would not line up with chunks), is never halved.
 */
export function pyramidLevels(shape: readonly number[], chunk: readonly number[]): PyramidLevel[] {
  const halved = chunk.map((c) => c % 2 === 0);
  const levels: PyramidLevel[] = [{ shape: [...shape], factor: shape.map(() => 1) }];
  for (;;) {
    const { shape: from, factor } = levels[levels.length - 1]!;
    if (from.every((n, a) => !halved[a] || n <= chunk[a]!)) return levels;
    const step = from.map((n, a) => (halved[a] && n > 1 ? 2 : 1));
    levels.push({
      shape: from.map((n, a) => Math.ceil(n / step[a]!)),
      factor: factor.map((f, a) => f * step[a]!),
    });
  }
}

/** Tie break: the value that is not background (0), then the smaller one. */
function preferred(a: number, b: number): number {
  if (a === 0) return b;
  if (b === 0) return a;
  return Math.min(a, b);
}

/** The most frequent of four values; ties as in `preferred`. */
export function modeOfFour(a: number, b: number, c: number, d: number): number {
  if (a === b) return c === d && c !== a ? preferred(a, c) : a;
  if (a === c) return b === d ? preferred(a, b) : a;
  if (a === d) return b === c ? preferred(a, b) : a;
  if (b === c || b === d) return b;
  if (c === d) return c;
  return preferred(preferred(a, b), preferred(c, d));
}

function modeOfMany(votes: ArrayLike<number>, count: number): number {
  let best = 0;
  let bestVotes = 0;
  for (let i = 0; i < count; i++) {
    const value = votes[i]!;
    let n = 0;
    for (let j = 0; j < count; j++) if (votes[j] === value) n++;
    if (n > bestVotes || (n === bestVotes && preferred(value, best) === value)) {
      best = value;
      bestVotes = n;
    }
  }
  return best;
}

export interface BlockPlacement {
  /** Shape of the buffer, slow to fast. */
  shape: readonly number[];
  /** Position of the first sample in the buffer. */
  offset: readonly number[];
}

/**
 * Halves `size` samples of `source` along the axes where `step` is 2 and writes them into `target`.
 * Each target sample is the most frequent of the (up to `2^axes`) samples it covers; at an uneven edge only existing
 * samples count. Ties go to the value that is not background, then to the smallest, so thin objects
 * survive and the result depends on the samples only.
 */
export function downsampleByMode(
  source: LabelArray,
  from: BlockPlacement,
  size: readonly number[],
  step: readonly number[],
  target: LabelArray,
  to: BlockPlacement,
): void {
  if (size.length === 2 && step[0] === 2 && step[1] === 2) {
    downsamplePlane(source, from, size[0]!, size[1]!, target, to);
    return;
  }
  const axes = size.length;
  const sourceStride = strides(from.shape);
  const targetStride = strides(to.shape);
  const targetSize = size.map((n, a) => Math.ceil(n / step[a]!));
  const total = product(targetSize);
  const at = new Array<number>(axes).fill(0);
  const votes = new Array<number>(1 << axes).fill(0);
  for (let n = 0; n < total; n++) {
    let targetIndex = 0;
    for (let a = 0; a < axes; a++) targetIndex += (to.offset[a]! + at[a]!) * targetStride[a]!;
    let count = 0;
    corners: for (let corner = 0; corner < 1 << axes; corner++) {
      let sourceIndex = 0;
      for (let a = 0; a < axes; a++) {
        const bit = (corner >> a) & 1;
        const position = at[a]! * step[a]! + bit;
        if ((bit === 1 && step[a] === 1) || position >= size[a]!) continue corners;
        sourceIndex += (from.offset[a]! + position) * sourceStride[a]!;
      }
      votes[count++] = source[sourceIndex]!;
    }
    target[targetIndex] = modeOfMany(votes, count);
    for (let a = axes - 1; a >= 0; a--) {
      if (++at[a]! < targetSize[a]!) break;
      at[a] = 0;
    }
  }
}

function downsamplePlane(
  source: LabelArray,
  from: BlockPlacement,
  height: number,
  width: number,
  target: LabelArray,
  to: BlockPlacement,
): void {
  const sourceWidth = from.shape[1]!;
  const targetWidth = to.shape[1]!;
  const pairs = width >> 1;
  for (let y = 0; y < height; y += 2) {
    let p = (from.offset[0]! + y) * sourceWidth + from.offset[1]!;
    // A single last row counts twice, which changes neither majorities nor ties.
    let q = y + 1 < height ? p + sourceWidth : p;
    let t = (to.offset[0]! + (y >> 1)) * targetWidth + to.offset[1]!;
    for (let i = 0; i < pairs; i++) {
      const a = source[p]!;
      const b = source[p + 1]!;
      const c = source[q]!;
      const d = source[q + 1]!;
      target[t++] = a === b && b === c && c === d ? a : modeOfFour(a, b, c, d);
      p += 2;
      q += 2;
    }
    if (width & 1) target[t] = preferredOrSame(source[p]!, source[q]!);
  }
}

function preferredOrSame(a: number, b: number): number {
  return a === b ? a : preferred(a, b);
}

interface Pending {
  tile: LabelArray | undefined;
  /** Packed form of `tile` while it waits for the next row of chunks. */
  packed: PackedLabels | undefined;
  children: number;
  childrenLeft: number;
}

/**
 * Builds all levels above 0 from the chunks of level 0, in any order; in raster order it holds at most one row of chunks
 * per level. Each chunk of level 0 must be added exactly once, `undefined` for background.
 */
export class PyramidBuilder {
  readonly levels: readonly PyramidLevel[];
  readonly #chunk: readonly number[];
  readonly #allocate: (length: number) => LabelArray;
  readonly #onTile: (level: number, index: readonly number[], tile: LabelArray | undefined) => void;
  readonly #packBits: LabelBits | undefined;
  readonly #pending: Map<number, Pending>[];
  readonly #grids: number[][];

  /** @param options.onTile receives whole chunks (padded with 0 beyond the level), `undefined` for background */
  constructor(options: {
    shape: readonly number[];
    chunk: readonly number[];
    dtype: "uint8" | "uint32";
    /** Bits per label of chunks that wait for the next row of chunks; for uint8 only. */
    packBits?: LabelBits;
    onTile: (level: number, index: readonly number[], tile: LabelArray | undefined) => void;
  }) {
    this.levels = pyramidLevels(options.shape, options.chunk);
    this.#chunk = options.chunk;
    this.#packBits = options.packBits;
    this.#allocate = options.dtype === "uint8" ? (n) => new Uint8Array(n) : (n) => new Uint32Array(n);
    this.#onTile = options.onTile;
    this.#pending = this.levels.map(() => new Map());
    this.#grids = this.levels.map(({ shape }) => shape.map((n, a) => Math.ceil(n / options.chunk[a]!)));
  }

  add(index: readonly number[], tile: LabelArray | undefined): void {
    this.#add(0, index, tile);
  }

  #add(level: number, index: readonly number[], tile: LabelArray | undefined): void {
    if (level + 1 >= this.levels.length) return;
    const chunk = this.#chunk;
    const step = this.levels[level + 1]!.factor.map((f, a) => f / this.levels[level]!.factor[a]!);
    const parentIndex = index.map((i, a) => (step[a] === 2 ? i >> 1 : i));
    const grid = this.#grids[level]!;
    const key = linear(parentIndex, this.#grids[level + 1]!);
    const pendings = this.#pending[level + 1]!;
    let pending = pendings.get(key);
    if (pending === undefined) {
      const children = parentIndex.map((i, a) => (step[a] === 2 ? Math.min(2, grid[a]! - 2 * i) : 1));
      const count = product(children);
      pending = { tile: undefined, packed: undefined, children: count, childrenLeft: count };
      pendings.set(key, pending);
    }
    if (tile !== undefined) {
      pending.tile ??= this.#unpacked(pending) ?? this.#allocate(product(chunk));
      const shape = this.levels[level]!.shape;
      downsampleByMode(
        tile,
        { shape: chunk, offset: chunk.map(() => 0) },
        index.map((i, a) => Math.min(chunk[a]!, shape[a]! - i * chunk[a]!)),
        step,
        pending.tile,
        { shape: chunk, offset: index.map((i, a) => (step[a] === 2 ? (i & 1) * (chunk[a]! >> 1) : 0)) },
      );
    }
    if (--pending.childrenLeft > 0) {
      if (2 * pending.childrenLeft === pending.children) this.#pack(pending);
      return;
    }
    pendings.delete(key);
    pending.tile ??= this.#unpacked(pending);
    this.#onTile(level + 1, parentIndex, pending.tile);
    this.#add(level + 1, parentIndex, pending.tile);
  }

  #pack(pending: Pending): void {
    if (this.#packBits === undefined || !(pending.tile instanceof Uint8Array)) return;
    pending.packed = new PackedLabels(pending.tile, this.#packBits);
    pending.tile = undefined;
  }

  #unpacked(pending: Pending): Uint8Array | undefined {
    if (!pending.packed) return undefined;
    const tile = new Uint8Array(pending.packed.length);
    pending.packed.unpack(0, tile);
    pending.packed = undefined;
    return tile;
  }
}

function linear(index: readonly number[], grid: readonly number[]): number {
  let key = 0;
  for (let a = 0; a < index.length; a++) key = key * grid[a]! + index[a]!;
  return key;
}
