import type {
  LabelChunk,
  LabelMapInfo,
  LabelSink,
  LabelStore,
  LabelTile,
  WrittenOutput,
} from "../../image/label-sink.ts";
import { TilewrightError } from "../../image/tilewright-error.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { copyBox } from "../../tiling/grid/box.ts";
import { product } from "../../tiling/grid/raster.ts";
import { gzipTile, parseGzipTile } from "../base/label-tile.ts";
import { chunkKey, describeObject, jsonBytes, OmeZarrSink, type OmeZarrTarget } from "./ome-zarr.ts";
import { arrayMetadata } from "./ome-zarr-metadata.ts";

/** The label store holds chunks of another label map: another model, region or chunk size. */
export class LabelStoreMismatchError extends TilewrightError {
  override readonly name = "LabelStoreMismatchError";
}

/**
 * Opens the label store at `prefix`, or creates it. It is the level-0 array of the final OME-Zarr, so each chunk is
 * compressed once. Its `zarr.json` names the label map that it belongs to.
 * @throws {LabelStoreMismatchError} when it belongs to another label map
 */
export async function openLabelStore(
  store: ObjectStore,
  prefix: string,
  info: LabelMapInfo,
  options: { signal?: AbortSignal } = {},
): Promise<ZarrLabelStore> {
  const bindingKey = `${prefix}/0/zarr.json`;
  const binding = jsonBytes(arrayMetadata(info, 0));
  const existing = await store.get(bindingKey, options);
  if (existing !== undefined && !sameBytes(existing.bytes, binding)) {
    throw new LabelStoreMismatchError(
      `${prefix} holds the chunks of another label map (other model, region, spacing or chunk size); start without resuming`,
    );
  }
  if (existing === undefined) await store.put(bindingKey, binding, options);
  const present = new Set<string>();
  const chunkPrefix = `${prefix}/0/c/`;
  for await (const key of store.list(chunkPrefix, options)) {
    const index = key.slice(chunkPrefix.length);
    if (/^\d+(\/\d+)*$/.test(index)) present.add(index);
  }
  return new ZarrLabelStore(store, prefix, info, present);
}

export class ZarrLabelStore implements LabelStore {
  readonly info: LabelMapInfo;
  readonly #store: ObjectStore;
  readonly #prefix: string;
  readonly #present: Set<string>;
  readonly #empty: Uint8Array;

  constructor(store: ObjectStore, prefix: string, info: LabelMapInfo, present: Set<string>) {
    this.info = info;
    this.#store = store;
    this.#prefix = prefix;
    this.#present = present;
    this.#empty = gzipTile({ data: this.#allocate() }, info.chunk.at(-1)!);
  }

  get presentCount(): number {
    return this.#present.size;
  }

  has(index: readonly number[]): boolean {
    return this.#present.has(index.join("/"));
  }

  async writeChunk(
    chunk: LabelChunk,
    options: { signal?: AbortSignal } = {},
  ): Promise<LabelTile | undefined> {
    const tile: LabelTile = { data: this.#pad(chunk) };
    const bytes = gzipTile(tile, this.info.chunk.at(-1)!);
    await this.#store.put(chunkKey(this.#prefix, 0, chunk.index), bytes, options);
    this.#present.add(chunk.index.join("/"));
    return sameBytes(bytes, this.#empty) ? undefined : tile;
  }

  async readTile(
    index: readonly number[],
    options: { signal?: AbortSignal } = {},
  ): Promise<LabelTile | undefined> {
    if (!this.has(index)) return undefined;
    const stored = await this.#store.get(chunkKey(this.#prefix, 0, index), options);
    if (stored === undefined) {
      throw new RangeError(`chunk ${index.join(",")} of ${this.#prefix} has disappeared`);
    }
    if (sameBytes(stored.bytes, this.#empty)) return undefined;
    return parseGzipTile(stored.bytes, this.info.dtype, product(this.info.chunk));
  }

  /** Turns the label store itself into the output: writes the levels above 0 and the metadata beside its chunks. */
  levelSink(target: Omit<OmeZarrTarget, "store" | "prefix">): LabelSink {
    const parts: ConstructorParameters<typeof OmeZarrSink>[2] = [];
    const inner = new OmeZarrSink({ ...target, store: this.#store, prefix: this.#prefix }, this.info, parts);
    const written = new Set<string>();
    const partKey = (index: string) => `0/c/${index}`;
    return {
      writeTile: async (level: number, index: readonly number[], tile: LabelTile): Promise<void> => {
        if (level > 0) return inner.writeTile(level, index, tile);
        const key = index.join("/");
        if (!this.#present.has(key) || written.has(key))
          throw new RangeError(`chunk ${key} is not in the label store ${this.#prefix}`);
        written.add(key);
        parts.push(await describeObject(partKey(key), gzipTile(tile, this.info.chunk.at(-1)!)));
      },
      finalize: async (): Promise<WrittenOutput> => {
        const background = [...this.#present].filter((key) => !written.has(key));
        for (const key of background) parts.push(await describeObject(partKey(key), this.#empty));
        return inner.finalize();
      },
      abort: () => inner.abort(),
    };
  }

  #allocate(): Uint8Array | Uint32Array {
    const length = product(this.info.chunk);
    return this.info.dtype === "uint8" ? new Uint8Array(length) : new Uint32Array(length);
  }

  /** Pads the chunk's samples to a whole chunk, after checking its shape. */
  #pad({ index, raster }: LabelChunk): Uint8Array | Uint32Array {
    const { chunk, shape, dtype } = this.info;
    const expected = index.map((i, a) => Math.min(chunk[a]!, shape[a]! - i * chunk[a]!));
    const bits = raster.data.BYTES_PER_ELEMENT * 8;
    if (expected.some((n, a) => n !== raster.shape[a]) || `uint${bits}` !== dtype) {
      throw new RangeError(
        `chunk ${index.join(",")} is uint${bits} ${raster.shape.join("x")} when ${dtype} ${expected.join("x")} was expected`,
      );
    }
    if (expected.every((n, a) => n === chunk[a])) return raster.data;
    const out = this.#allocate();
    const origin = expected.map(() => 0);
    const from = { data: raster.data, shape: expected, origin };
    copyBox(from, { data: out, shape: chunk, origin }, expected);
    return out;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
