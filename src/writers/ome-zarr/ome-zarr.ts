import type { LabelMapInfo, LabelSink, LabelTile, WrittenOutput } from "../../image/label-sink.ts";
import { sha256Hex } from "../../storage/digest.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { pyramidLevels } from "../../tiling/objects/label-pyramid.ts";
import { gzipTile } from "../base/label-tile.ts";
import { arrayMetadata, groupMetadata } from "./ome-zarr-metadata.ts";

/** Where the objects of one OME-Zarr go, and how the whole gets its final name. */
export interface OmeZarrTarget {
  store: ObjectStore;
  /** Key of the group, without a final slash. */
  prefix: string;
  name: string;
  /** Called once all objects are there, before `finalize` returns. */
  publish?: () => Promise<void>;
  discard?: () => Promise<void>;
}

export function chunkKey(prefix: string, level: number, index: readonly number[]): string {
  return `${prefix}/${level}/c/${index.join("/")}`;
}

export function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`);
}

export function createOmeZarr(target: OmeZarrTarget, info: LabelMapInfo): LabelSink {
  return new OmeZarrSink(target, info, []);
}

/** An object of the group: its key below the group, length and digest. */
export interface WrittenObject {
  key: string;
  byteLength: number;
  sha256: string;
}

export async function describeObject(key: string, bytes: Uint8Array): Promise<WrittenObject> {
  return { key, byteLength: bytes.length, sha256: await sha256Hex(bytes) };
}

/**
 * Writes a label pyramid as OME-Zarr 0.5 on Zarr v3. Chunks go straight to the store; the metadata that make it an
 * image come last, so no reader opens half a pyramid.
 */
export class OmeZarrSink implements LabelSink {
  readonly #target: OmeZarrTarget;
  readonly #info: LabelMapInfo;
  readonly #parts: WrittenObject[];
  readonly #writing = new Set<Promise<void>>();

  /** `parts`: objects of the group that are stored already. */
  constructor(target: OmeZarrTarget, info: LabelMapInfo, parts: WrittenObject[]) {
    this.#target = target;
    this.#info = info;
    this.#parts = parts;
  }

  async writeTile(level: number, index: readonly number[], tile: LabelTile): Promise<void> {
    const write = this.#put(chunkKey("", level, index).slice(1), gzipTile(tile, this.#info.chunk.at(-1)!));
    this.#writing.add(write);
    try {
      await write;
    } finally {
      this.#writing.delete(write);
    }
  }

  async finalize(): Promise<WrittenOutput> {
    const levels = pyramidLevels(this.#info.shape, this.#info.chunk);
    for (let level = 0; level < levels.length; level++) {
      await this.#put(`${level}/zarr.json`, jsonBytes(arrayMetadata(this.#info, level)));
    }
    await this.#put("zarr.json", jsonBytes(groupMetadata(this.#info)));
    await this.#target.publish?.();
    const parts = this.#parts.sort((a, b) => (a.key < b.key ? -1 : 1));
    const listing = parts.map(({ key, sha256 }) => `${sha256}  ${key}\n`).join("");
    return {
      name: this.#target.name,
      byteLength: parts.reduce((n, part) => n + part.byteLength, 0),
      sha256: await sha256Hex(new TextEncoder().encode(listing)),
    };
  }

  async abort(): Promise<void> {
    await Promise.allSettled(this.#writing);
    await this.#target.discard?.();
  }

  async #put(key: string, bytes: Uint8Array): Promise<void> {
    this.#parts.push(await describeObject(key, bytes));
    await this.#target.store.put(`${this.#target.prefix}/${key}`, bytes);
  }
}
