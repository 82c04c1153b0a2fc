import { LRUCache } from "lru-cache";
import type { LabelMapInfo } from "../../../src/image/label-sink.ts";
import { forEachConcurrent } from "../../../src/storage/concurrency.ts";
import type { Bounds } from "./camera.ts";
import type { LabelMap } from "./label-map.ts";
import { chooseTileSide, samplesToWorld, type TilePyramid } from "./tile-pyramid.ts";

/** What the service answers at `/v1/jobs/<id>/labels`. */
interface LabelsSoFar {
  shape: [height: number, width: number];
  chunk: [height: number, width: number];
  spacing: LabelMapInfo["spacing"];
  placement: LabelMapInfo["placement"];
  classes: LabelMapInfo["classes"];
  blockChunks: [rows: number, columns: number];
  /** Blocks that are merged, by their number in raster order. */
  merged: number[];
}

/** The picture of the whole map has at most so many labels: it is kept in memory. */
const MAX_OVERVIEW_PIXELS = 8 * 2 ** 20;
const MAX_OVERVIEW_SIDE = 4096;
/** Above this scale (device pixels per label) all labels are shown: a view then has a few dozen chunks at most. */
const FULL_SCALE = 1 / 8;
const PARALLEL_CHUNKS = 4;
/** Chunks that are kept decoded. */
const MAX_CHUNK_BYTES = 32 * 2 ** 20;

/**
 * The labels of a job while it runs. Each merged chunk is read once, for a picture of the whole map (every nth label), and
 * again when the view is close enough to show all of its labels. Memory depends on neither the map nor the time.
 */
export class RunningLabels {
  readonly #base: string;
  readonly #headers: Record<string, string>;
  readonly #signal: AbortSignal;
  readonly #chunks = new LRUCache<string, Uint8Array<ArrayBuffer>>({
    maxSize: MAX_CHUNK_BYTES,
    sizeCalculation: (chunk) => chunk.length,
  });
  readonly #seen = new Set<number>();
  #map: { soFar: LabelsSoFar; step: number; overview: Uint8Array<ArrayBuffer> } | undefined;
  #updating: Promise<Bounds[]> | undefined;
  labels: LabelMap | undefined;

  /** @param job its id; `signal` ends all requests */
  constructor(job: string, token: string, signal: AbortSignal) {
    this.#base = `/v1/jobs/${job}/labels`;
    this.#headers = { Authorization: `Bearer ${token}` };
    this.#signal = signal;
  }

  /** Reads what was merged since the last call. @returns the boxes that have changed, in level-0 pixels of the image */
  update(): Promise<Bounds[]> {
    this.#updating ??= this.#update().finally(() => {
      this.#updating = undefined;
    });
    return this.#updating;
  }

  get concurrency(): number {
    return PARALLEL_CHUNKS;
  }

  /** See `chooseShownLevel`. */
  get slack(): number {
    return Math.max(1, (this.#map?.step ?? 1) * FULL_SCALE);
  }

  /** Labels of a box of samples; 0 where nothing is merged yet. */
  async read(level: number, box: Bounds): Promise<Uint8Array<ArrayBuffer>> {
    const { soFar, overview, step } = this.#map!;
    const out = new Uint8Array((box.x1 - box.x0) * (box.y1 - box.y0));
    if (step === 1 || level === 1) {
      const width = Math.ceil(soFar.shape[1] / step);
      for (let y = box.y0, to = 0; y < box.y1; y++, to += box.x1 - box.x0)
        out.set(overview.subarray(y * width + box.x0, y * width + box.x1), to);
      return out;
    }
    const [height, width] = soFar.chunk;
    const rows = range(Math.floor(box.y0 / height), Math.ceil(box.y1 / height));
    const columns = range(Math.floor(box.x0 / width), Math.ceil(box.x1 / width));
    for (const row of rows) {
      for (const column of columns) {
        const chunk = this.#isMerged(row, column) ? await this.#chunk(row, column) : undefined;
        if (chunk) copyPart(chunk, { row, column, height, width }, out, box);
      }
    }
    return out;
  }

  async #update(): Promise<Bounds[]> {
    const soFar = await this.#readList();
    if (soFar === undefined) return [];
    if (this.#map === undefined) this.#open(soFar);
    else this.#map.soFar = soFar;
    const fresh = soFar.merged.filter((block) => !this.#seen.has(block));
    const changed: Bounds[] = [];
    await forEachConcurrent(
      fresh.flatMap((block) => this.#chunksOf(block).map((at) => ({ block, at }))),
      PARALLEL_CHUNKS,
      async ({ at: [row, column] }) => {
        const chunk = await this.#chunk(row, column);
        if (chunk === undefined) return;
        changed.push(this.#addToOverview(chunk, row, column));
      },
      { signal: this.#signal },
    );
    for (const block of fresh) this.#seen.add(block);
    return changed;
  }

  async #readList(): Promise<LabelsSoFar | undefined> {
    const response = await fetch(this.#base, { headers: this.#headers, signal: this.#signal });
    // Not planned yet, a volume, or the job has just ended.
    if (response.status === 404) return undefined;
    if (!response.ok)
      throw new Error(`the labels so far cannot be read (status ${response.status}); the page tries again`);
    return (await response.json()) as LabelsSoFar;
  }

  #open(soFar: LabelsSoFar): void {
    const [height, width] = soFar.shape;
    let step = 1;
    while (
      Math.ceil(height / step) * Math.ceil(width / step) > MAX_OVERVIEW_PIXELS ||
      Math.max(height, width) / step > MAX_OVERVIEW_SIDE
    )
      step *= 2;
    const [rows, columns] = [Math.ceil(height / step), Math.ceil(width / step)];
    this.#map = { soFar, step, overview: new Uint8Array(rows * columns) };
    const { shape, chunk, spacing, placement, classes } = soFar;
    this.labels = {
      info: { shape, chunk, spacing, placement, classes, axes: "yx" },
      axes: "yx",
      pyramid: runningPyramid(soFar, step),
    };
  }

  #chunksOf(block: number): [row: number, column: number][] {
    const { shape, chunk, blockChunks } = this.#map!.soFar;
    const counts = shape.map((n, axis) => Math.ceil(n / chunk[axis]!)) as [number, number];
    const across = Math.ceil(counts[1] / blockChunks[1]);
    const [row, column] = [Math.floor(block / across) * blockChunks[0], (block % across) * blockChunks[1]];
    return range(row, Math.min(counts[0], row + blockChunks[0])).flatMap((y) =>
      range(column, Math.min(counts[1], column + blockChunks[1])).map((x): [number, number] => [y, x]),
    );
  }

  #isMerged(row: number, column: number): boolean {
    const { shape, chunk, blockChunks } = this.#map!.soFar;
    const across = Math.ceil(Math.ceil(shape[1] / chunk[1]) / blockChunks[1]);
    return this.#seen.has(Math.floor(row / blockChunks[0]) * across + Math.floor(column / blockChunks[1]));
  }

  /** Undefined where no window covers the chunk. */
  async #chunk(row: number, column: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const key = `${row}/${column}`;
    const known = this.#chunks.get(key);
    if (known) return known;
    const response = await fetch(`${this.#base}/${key}`, { headers: this.#headers, signal: this.#signal });
    if (response.status === 404) return undefined;
    if (!response.ok || response.body === null)
      throw new Error(`the labels so far cannot be read (status ${response.status}); the page tries again`);
    const plain = response.body.pipeThrough(new DecompressionStream("gzip"));
    const bytes = new Uint8Array(await new Response(plain).arrayBuffer());
    this.#chunks.set(key, bytes);
    return bytes;
  }

  /** @returns the box of the chunk in level-0 pixels */
  #addToOverview(chunk: Uint8Array, row: number, column: number): Bounds {
    const { soFar, step, overview } = this.#map!;
    const { shape, chunk: size } = soFar;
    const across = Math.ceil(shape[1] / step);
    const box = {
      x0: column * size[1],
      y0: row * size[0],
      x1: Math.min(shape[1], (column + 1) * size[1]),
      y1: Math.min(shape[0], (row + 1) * size[0]),
    };
    for (let y = Math.ceil(box.y0 / step); y * step < box.y1; y++) {
      const from = (y * step - box.y0) * size[1];
      for (let x = Math.ceil(box.x0 / step); x * step < box.x1; x++)
        overview[y * across + x] = chunk[from + x * step - box.x0]!;
    }
    return samplesToWorld(this.labels!.pyramid, 0, box);
  }
}

/** Full resolution, and the picture of the whole map as its only smaller level. */
function runningPyramid({ shape, chunk, placement }: LabelsSoFar, step: number): TilePyramid {
  const [originY, originX] = placement.origin.slice(-2) as [number, number];
  const [downY, downX] = placement.downsample.slice(-2) as [number, number];
  const level = (by: number, tile: number) => ({
    height: Math.ceil(shape[0] / by),
    width: Math.ceil(shape[1] / by),
    stepX: downX * by,
    stepY: downY * by,
    tile,
  });
  const whole = Math.ceil(Math.max(...shape) / step);
  if (step === 1) return { originX, originY, levels: [level(1, whole)] };
  return { originX, originY, levels: [level(1, chooseTileSide(shape, chunk, false)), level(step, whole)] };
}

/** Copies the part of a chunk that lies in a box of labels. */
function copyPart(
  chunk: Uint8Array,
  { row, column, height, width }: { row: number; column: number; height: number; width: number },
  out: Uint8Array,
  box: Bounds,
): void {
  const x0 = Math.max(box.x0, column * width);
  const x1 = Math.min(box.x1, (column + 1) * width);
  for (let y = Math.max(box.y0, row * height); y < Math.min(box.y1, (row + 1) * height); y++) {
    const from = (y - row * height) * width - column * width;
    out.set(chunk.subarray(from + x0, from + x1), (y - box.y0) * (box.x1 - box.x0) + x0 - box.x0);
  }
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
