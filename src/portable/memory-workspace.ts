import type { ByteSink } from "../image/byte-sink.ts";
import type { WrittenOutput } from "../image/label-sink.ts";
import type { OutputTargets } from "../image/output-targets.ts";
import { sha256Hex } from "../storage/digest.ts";
import { joinBytes } from "../storage/join-bytes.ts";
import { MemoryStore } from "../storage/memory-store.ts";
import { createLabelFile } from "../writers/create-label-file.ts";
import type { ZarrLabelStore } from "../writers/ome-zarr/label-store.ts";
import { createOmeZarr } from "../writers/ome-zarr/ome-zarr.ts";
import { encodePng } from "../writers/png.ts";
import type { Workspace } from "./workspace.ts";

/** Keeps work and outputs in memory, compressed as files are. Nothing is left of a run that fails. */
export class MemoryWorkspace implements Workspace {
  readonly store = new MemoryStore();
  readonly resuming = false;
  readonly #publish: (files: Published) => Promise<void>;

  /** @param publish called once, when every output is complete */
  constructor(publish: (files: Published) => Promise<void>) {
    this.#publish = publish;
  }

  targets(labelStore: ZarrLabelStore | undefined): OutputTargets {
    const { store } = this;
    return {
      async labels(name, info, origin) {
        if (name === "labels.ome.zarr" && labelStore) return labelStore.levelSink({ name });
        if (name.endsWith(".ome.zarr")) return createOmeZarr({ store, prefix: name, name }, info);
        return createLabelFile(name, new MemorySink(store, name), info, origin);
      },
      file: async (name) => new MemorySink(store, name),
      async picture(name, picture) {
        const sink = new MemorySink(store, name);
        await sink.append(encodePng(picture));
        return sink.finish();
      },
    };
  }

  publish(names: readonly string[], manifest: string): Promise<void> {
    return this.#publish({ store: this.store, names, manifest });
  }

  discard(): void {}

  async close(): Promise<void> {}
}

/** The outputs of a finished run: every object of `store` that is one of `names` or below one, and `run.json`. */
export interface Published {
  store: MemoryStore;
  names: readonly string[];
  manifest: string;
}

/** Keys of the outputs, in lexical order. */
export async function* publishedKeys({ store, names }: Published): AsyncGenerator<string> {
  for await (const key of store.list("")) {
    if (names.some((name) => key === name || key.startsWith(`${name}/`))) yield key;
  }
}

/** A `ByteSink` of one object. */
class MemorySink implements ByteSink {
  readonly #store: MemoryStore;
  readonly #name: string;
  readonly #parts: Uint8Array[] = [];
  byteLength = 0;

  constructor(store: MemoryStore, name: string) {
    this.#store = store;
    this.#name = name;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#parts.push(bytes.slice());
    this.byteLength += bytes.length;
  }

  async finish(head?: Uint8Array): Promise<WrittenOutput> {
    const bytes = joinBytes(this.#parts);
    if (head) bytes.set(head);
    this.#parts.length = 0;
    await this.#store.put(this.#name, bytes);
    return { name: this.#name, byteLength: bytes.length, sha256: await sha256Hex(bytes) };
  }

  async abort(): Promise<void> {
    this.#parts.length = 0;
  }
}
