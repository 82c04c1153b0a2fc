import { PlanError } from "./plan-error.ts";
import { denseStrides, elementCount } from "./tensor.ts";

// Reshapes, transposes, slices and rolls move no data: they compose into a view, and whoever computes reads through it.

/** Memory that a step fills: `elements` float32 values, or bytes. */
export interface Buffer {
  readonly id: number;
  readonly elements: number;
  readonly elementBytes: 1 | 4;
}

/**
 * A summand of an element's offset: a dense table over some axes of the view, in increasing order. A strided view has one
 * term an axis; axes whose offsets depend on each other (a window of a rolled map) share a term.
 */
interface Term {
  axes: readonly number[];
  table: Int32Array;
}

/** A tensor in a buffer: the element at an index lies at the sum of `base` and each term's entry. */
export interface View {
  readonly buffer: Buffer;
  readonly shape: readonly number[];
  readonly base: number;
  readonly terms: readonly Term[];
  /** What the stored values are to be multiplied by. */
  readonly factor: number;
}

export function denseView(buffer: Buffer, shape: readonly number[]): View {
  return stridedView(buffer, shape, denseStrides(shape));
}

export function stridedView(
  buffer: Buffer,
  shape: readonly number[],
  strides: readonly number[],
  base = 0,
): View {
  const terms = shape.flatMap((size, axis) =>
    size === 1
      ? []
      : [{ axes: [axis], table: Int32Array.from({ length: size }, (_, i) => i * strides[axis]!) }],
  );
  return { buffer, shape, base, terms, factor: 1 };
}

export function transpose(view: View, permutation: readonly number[]): View {
  const place = new Array<number>(permutation.length);
  for (const [to, from] of permutation.entries()) place[from] = to;
  const terms = view.terms.map(({ axes, table }) =>
    sortAxes(
      axes.map((axis) => place[axis]!),
      axes.map((axis) => view.shape[axis]!),
      table,
    ),
  );
  return { ...view, shape: permutation.map((axis) => view.shape[axis]!), terms };
}

/** A table over axes in any order → over the same axes in increasing order. */
function sortAxes(axes: readonly number[], sizes: readonly number[], table: Int32Array): Term {
  const order = axes.map((_, i) => i).sort((a, b) => axes[a]! - axes[b]!);
  if (order.every((from, i) => from === i)) return { axes, table };
  const strides = denseStrides(sizes);
  const sorted = new Int32Array(table.length);
  const walk = order.map((i) => ({ size: sizes[i]!, stride: strides[i]! }));
  fillSums(sorted, 0, walk, 0, 0, (from) => table[from]!);
  return { axes: order.map((i) => axes[i]!), table: sorted };
}

function fillSums(
  out: Int32Array,
  at: number,
  walk: readonly { size: number; stride: number }[],
  depth: number,
  from: number,
  value: (from: number) => number,
): number {
  const { size, stride } = walk[depth]!;
  const last = depth === walk.length - 1;
  let next = at;
  for (let i = 0; i < size; i++) {
    if (last) out[next++] = value(from + i * stride);
    else next = fillSums(out, next, walk, depth + 1, from + i * stride, value);
  }
  return next;
}

/** `start`, `start + step`, … along one axis, `count` of them. */
export function slice(view: View, axis: number, start: number, count: number, step = 1): View {
  const shape = view.shape.with(axis, count);
  const picked = Array.from({ length: count }, (_, i) => start + i * step);
  let base = view.base;
  const terms = view.terms.flatMap((term) => {
    if (!term.axes.includes(axis)) return [term];
    const table = pick(term, view.shape, axis, picked);
    const axes = count === 1 ? term.axes.filter((a) => a !== axis) : term.axes;
    if (axes.length > 0) return [{ axes, table }];
    base += table[0]!;
    return [];
  });
  return { ...view, shape, base, terms };
}

function pick(term: Term, shape: readonly number[], axis: number, indices: readonly number[]): Int32Array {
  const at = term.axes.indexOf(axis);
  const inner = term.axes.slice(at + 1).reduce((n, a) => n * shape[a]!, 1);
  const outer = term.axes.slice(0, at).reduce((n, a) => n * shape[a]!, 1);
  const size = shape[axis]!;
  const table = new Int32Array(outer * indices.length * inner);
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const i of indices) {
      const from = (o * size + i) * inner;
      for (let k = 0; k < inner; k++) table[to++] = term.table[from + k]!;
    }
  }
  return table;
}

export function reshape(view: View, shape: readonly number[]): View {
  if (elementCount(shape) !== elementCount(view.shape)) {
    throw new PlanError(`a tensor of ${view.shape.join("×")} cannot become ${shape.join("×")}`);
  }
  // Axes of 1 carry no offset: they are left out, and put back at the end.
  const full = view.shape.flatMap((size, axis) => (size === 1 ? [] : [{ size, axis }]));
  let terms = renameAxes(view.terms, new Map(full.map(({ axis }, i) => [axis, i])));
  let sizes = full.map(({ size }) => size);
  const target = shape.flatMap((size, axis) => (size === 1 ? [] : [{ size, axis }]));
  const wanted = target.map(({ size }) => size);
  let axis = 0;
  while (axis < wanted.length) {
    if (sizes[axis] === wanted[axis]) axis++;
    else if (sizes[axis]! > wanted[axis]! && sizes[axis]! % wanted[axis]! === 0) {
      terms = splitAxis(terms, axis);
      sizes = sizes.toSpliced(axis, 1, wanted[axis]!, sizes[axis]! / wanted[axis]!);
      terms = separate(terms, sizes);
    } else {
      terms = mergeAxes(terms, sizes, axis);
      sizes = sizes.toSpliced(axis, 2, sizes[axis]! * sizes[axis + 1]!);
    }
  }
  terms = renameAxes(terms, new Map(target.map(({ axis: to }, i) => [i, to])));
  return { ...view, shape, terms };
}

function renameAxes(terms: readonly Term[], names: ReadonlyMap<number, number>): Term[] {
  return terms.map(({ axes, table }) => ({ axes: axes.map((axis) => names.get(axis)!), table }));
}

/** Axis `axis` becomes `axis` and `axis + 1`: the tables stay, for they are dense. */
function splitAxis(terms: readonly Term[], axis: number): Term[] {
  return terms.map(({ axes, table }) => ({
    axes: axes.flatMap((a) => (a < axis ? [a] : a > axis ? [a + 1] : [axis, axis + 1])),
    table,
  }));
}

/** Axes `axis` and `axis + 1` become one: terms with either become one term. */
function mergeAxes(terms: readonly Term[], sizes: readonly number[], axis: number): Term[] {
  const joined = terms.filter(({ axes }) => axes.includes(axis) || axes.includes(axis + 1));
  const others = terms.filter((term) => !joined.includes(term));
  const axes = [...new Set([axis, axis + 1, ...joined.flatMap((t) => t.axes)])].sort((a, b) => a - b);
  const merged = { axes, table: sumOver(joined, axes, sizes) };
  return [...others, merged].map((term) => ({
    axes: term.axes.flatMap((a) => (a <= axis ? [a] : a === axis + 1 ? [] : [a - 1])),
    table: term.table,
  }));
}

/** The sum of terms as one table over `axes`. */
function sumOver(terms: readonly Term[], axes: readonly number[], sizes: readonly number[]): Int32Array {
  const lengths = axes.map((axis) => sizes[axis]!);
  const sum = new Int32Array(lengths.reduce((n, size) => n * size, 1));
  for (const term of terms) {
    const own = denseStrides(term.axes.map((axis) => sizes[axis]!));
    const strides = axes.map((axis) => (term.axes.includes(axis) ? own[term.axes.indexOf(axis)]! : 0));
    addTable(sum, 0, lengths, strides, 0, term.table, 0);
  }
  return sum;
}

/** Adds a table to a dense one over more axes; returns the next place. */
function addTable(
  out: Int32Array,
  at: number,
  sizes: readonly number[],
  strides: readonly number[],
  depth: number,
  table: Int32Array,
  from: number,
): number {
  if (depth === sizes.length) {
    out[at]! += table[from]!;
    return at + 1;
  }
  const size = sizes[depth]!;
  const stride = strides[depth]!;
  let next = at;
  if (depth === sizes.length - 1) {
    for (let i = 0, k = from; i < size; i++, k += stride) out[next++]! += table[k]!;
    return next;
  }
  for (let i = 0, k = from; i < size; i++, k += stride) {
    next = addTable(out, next, sizes, strides, depth + 1, table, k);
  }
  return next;
}

/** Terms over two axes whose table is a sum of one a axis become two, so that later views stay small. */
function separate(terms: readonly Term[], sizes: readonly number[]): Term[] {
  return terms.flatMap((term) => {
    if (term.axes.length !== 2) return [term];
    const [a, b] = term.axes as [number, number];
    const rows = sizes[a]!;
    const columns = sizes[b]!;
    const { table } = term;
    for (let i = 0; i < rows; i++) {
      for (let k = 0; k < columns; k++) {
        if (table[i * columns + k] !== table[i * columns]! + table[k]! - table[0]!) return [term];
      }
    }
    const first = Int32Array.from({ length: rows }, (_, i) => table[i * columns]!);
    const second = Int32Array.from({ length: columns }, (_, k) => table[k]! - table[0]!);
    return [
      { axes: [a], table: first },
      { axes: [b], table: second },
    ];
  });
}

/** Views of one buffer side by side along `axis`, as one view; undefined if they differ in anything else. */
export function concatViews(views: readonly View[], axis: number): View | undefined {
  const first = views[0]!;
  const parts = views.map((view) => absorbBase(view, axis));
  for (const part of parts) {
    if (part.buffer !== first.buffer || part.factor !== first.factor) return undefined;
    if (part.terms.length !== parts[0]!.terms.length) return undefined;
  }
  const terms: Term[] = [];
  for (const [t, term] of parts[0]!.terms.entries()) {
    const same = parts.map((part) => part.terms[t]!);
    if (same.some(({ axes }) => axes.join() !== term.axes.join())) return undefined;
    if (!term.axes.includes(axis)) {
      if (same.some(({ table }) => !equal(table, term.table))) return undefined;
      terms.push(term);
      continue;
    }
    terms.push({ axes: term.axes, table: concatTables(parts, t, axis) });
  }
  const size = views.reduce((sum, view) => sum + view.shape[axis]!, 0);
  return { ...parts[0]!, shape: first.shape.with(axis, size), terms };
}

/** The base and an axis of 1 into a table over `axis`, so that parts at different places compare. */
function absorbBase(view: View, axis: number): View {
  const at = view.terms.findIndex(({ axes }) => axes.length === 1 && axes[0] === axis);
  if (at >= 0) {
    const table = view.terms[at]!.table.map((offset) => offset + view.base);
    const others = view.terms.filter((_, t) => t !== at);
    return { ...view, base: 0, terms: [...others, { axes: [axis], table }] };
  }
  if (view.shape[axis] !== 1) return view;
  return { ...view, base: 0, terms: [...view.terms, { axes: [axis], table: Int32Array.of(view.base) }] };
}

function concatTables(parts: readonly View[], t: number, axis: number): Int32Array {
  const { axes } = parts[0]!.terms[t]!;
  const at = axes.indexOf(axis);
  const outer = axes.slice(0, at).reduce((n, a) => n * parts[0]!.shape[a]!, 1);
  const rows: Int32Array[] = [];
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const { table } = part.terms[t]!;
      const size = table.length / outer;
      rows.push(table.subarray(o * size, (o + 1) * size));
    }
  }
  const table = new Int32Array(rows.reduce((n, row) => n + row.length, 0));
  let to = 0;
  for (const row of rows) {
    table.set(row, to);
    to += row.length;
  }
  return table;
}

function equal(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** The offset of each element over the first `axes` axes, at index 0 of the others. */
export function offsets(view: View, axes = view.shape.length): Int32Array {
  const all = Array.from({ length: axes }, (_, axis) => axis);
  const terms = view.terms.flatMap((term) => {
    const kept = term.axes.filter((axis) => axis < axes);
    if (kept.length === term.axes.length) return [term];
    if (kept.length === 0) return [];
    let table = term.table;
    let left = [...term.axes];
    for (const axis of term.axes) {
      if (axis < axes) continue;
      table = pick({ axes: left, table }, view.shape, axis, [0]);
      left = left.filter((a) => a !== axis);
    }
    return [{ axes: kept, table }];
  });
  const table = sumOver(terms, all, view.shape);
  // Terms over later axes start at their first entry.
  let base = view.base;
  for (const term of view.terms) if (term.axes.every((axis) => axis >= axes)) base += term.table[0]!;
  for (let i = 0; i < table.length; i++) table[i]! += base;
  return table;
}

/** How many trailing axes are dense: neighbours in the view are neighbours in memory. */
export function denseAxes(view: View): number {
  let step = 1;
  for (let axis = view.shape.length - 1; axis >= 0; axis--) {
    const size = view.shape[axis]!;
    if (size > 1) {
      const term = view.terms.find(({ axes }) => axes.includes(axis));
      if (term?.axes.length !== 1) return view.shape.length - 1 - axis;
      for (let i = 0; i < size; i++) {
        if (term.table[i] !== term.table[0]! + i * step) return view.shape.length - 1 - axis;
      }
      step *= size;
    }
  }
  return view.shape.length;
}

/** The distance between neighbours along an axis, if it is the same everywhere. */
export function strideOf(view: View, axis: number): number | undefined {
  if (view.shape[axis] === 1) return 0;
  const term = view.terms.find(({ axes }) => axes.includes(axis));
  if (term?.axes.length !== 1) return undefined;
  const step = term.table[1]! - term.table[0]!;
  for (let i = 1; i < term.table.length; i++) {
    if (term.table[i]! - term.table[i - 1]! !== step) return undefined;
  }
  return step;
}

/** Whether the view is the whole buffer in order. */
export function isWhole(view: View): boolean {
  return (
    view.factor === 1 &&
    elementCount(view.shape) === view.buffer.elements &&
    denseAxes(view) === view.shape.length &&
    offsetOfFirst(view) === 0
  );
}

export function offsetOfFirst(view: View): number {
  return view.terms.reduce((sum, { table }) => sum + table[0]!, view.base);
}

/** The axes from the slowest in memory to the fastest; in their own order if that is not clear. */
export function memoryOrder(view: View): number[] {
  const strides = view.shape.map((_, axis) => strideOf(view, axis));
  const own = view.shape.map((_, axis) => axis);
  if (strides.some((stride) => stride === undefined)) return own;
  // Axes of 1 have no stride: they go first.
  const rank = (axis: number) => strides[axis]! || Number.MAX_SAFE_INTEGER;
  return own.toSorted((a, b) => rank(b) - rank(a) || a - b);
}
