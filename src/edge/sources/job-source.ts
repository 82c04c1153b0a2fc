// By path: these packages export the files as "./decodewasm" and "./wasm" only, and Wrangler takes an import for a WebAssembly
// module by its ending .wasm. Its `rules` could name the exports, in every configuration that bundles this file.
import charLsWasm from "../../../node_modules/@cornerstonejs/codec-charls/dist/charlswasm_decode.wasm";
import jpegTurboWasm from "../../../node_modules/@cornerstonejs/codec-libjpeg-turbo-8bit/dist/libjpegturbowasm_decode.wasm";
import openJpegWasm from "../../../node_modules/@cornerstonejs/codec-openjpeg/dist/openjpegwasm_decode.wasm";
import { setCodecModuleLoader } from "../../codecs/compiled-codecs.ts";
import zstdWasm from "../../codecs/zstd.wasm";
import type { JobDocument } from "../../contracts/job-plan-message.ts";
import type { ImageSource } from "../../image/image-source.ts";
import { openImage } from "../../readers/open-image.ts";
import { ObjectChangedError } from "../../storage/errors.ts";
import type { ObjectStore } from "../../storage/object-store.ts";
import { openSourceStore, type SourceBindings } from "./open-source-store.ts";
import { resolveSource } from "./resolve-source.ts";

const CODECS = {
  jpeg: jpegTurboWasm,
  jpeg2000: openJpegWasm,
  jpegls: charLsWasm,
  zstd: zstdWasm,
};
setCodecModuleLoader((codec) => CODECS[codec]);

const MIB = 2 ** 20;
/** An isolate has 128 MiB in total; the model takes up to half. */
const LIMITS = {
  regionBytes: 32 * MIB,
  tileBytes: 16 * MIB,
  cacheBytes: 8 * MIB,
  // One row of tiles, which two rows of shards read.
  storedCacheBytes: 12 * MIB,
  metadataBytes: 16 * MIB,
};

/**
 * Opens the image that a job was created for.
 * @throws {ObjectChangedError} when the source has changed
 */
export async function openJobSource(
  env: SourceBindings,
  job: JobDocument,
  signal: AbortSignal,
): Promise<ImageSource> {
  const opened = openSourceStore(env, job.request.source);
  const { mpp, series, time, pagesAs } = job.request;
  const open = (store: ObjectStore) =>
    openImage(store, opened.key, {
      ...{ mpp, series, time, pagesAs },
      limits: LIMITS,
      reuseAcrossRequests: true,
      signal,
    });
  if (job.source.kind === "prefix") {
    const found = await resolveSource(opened, signal);
    if (found?.kind !== "prefix" || found.info.etag !== job.source.etag)
      throw new ObjectChangedError(job.source.uri);
    return open(found.store);
  }
  const source = await open(opened.store);
  // An entry of an archive has its own etag.
  const same =
    source.etag === job.source.etag ||
    (await opened.store.head(opened.key, { signal }))?.etag === job.source.etag;
  if (!same) throw new ObjectChangedError(job.source.uri);
  return source;
}

/**
 * Keeps the source of the last job open in an isolate, with its caches. One user at a time: a request must not wait for
 * promises of another, so a second user opens its own source.
 */
export class SourceHost {
  #idle: { job: string; source: ImageSource } | undefined;

  async use<T>(
    env: SourceBindings,
    job: JobDocument,
    signal: AbortSignal,
    work: (source: ImageSource, bytesBefore: number) => Promise<T>,
  ): Promise<T> {
    const idle = this.#idle;
    this.#idle = undefined;
    const source = idle?.job === job.id ? idle.source : await openJobSource(env, job, signal);
    // The bytes read for opening count for the call that opened it.
    const result = await work(source, source === idle?.source ? source.bytesRead : 0);
    // Only after success: a source that failed is opened again.
    this.#idle = { job: job.id, source };
    return result;
  }
}
