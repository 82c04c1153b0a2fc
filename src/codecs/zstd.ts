import { compiledCodec } from "./compiled-codecs.ts";

/** libzstd's decoder: `infra/codecs/take-zstd.ts`. */
interface ZstdExports {
  memory: WebAssembly.Memory;
  malloc(byteLength: number): number;
  free(address: number): void;
  /** @returns the bytes written, or an error code */
  ZSTD_decompress(to: number, toBytes: number, from: number, fromBytes: number): number;
  ZSTD_isError(code: number): number;
}

/**
 * Decompresses Zstandard frames.
 * @throws {Error} when they are damaged, cut short, or hold more than `maxBytes`; nothing beyond that is allocated
 */
export type Unzstd = (bytes: Uint8Array, maxBytes: number) => Uint8Array<ArrayBuffer>;

/** A heap larger than this is dropped: WebAssembly never returns memory, and an isolate has little. */
const KEPT_HEAP_BYTES = 8 * 2 ** 20;

// The instance, not its promise: on Workers a promise belongs to the request that made it.
let idle: ZstdExports | undefined;

/** libzstd, compiled to WebAssembly; it verifies sizes and checksums of streams. */
export async function loadZstd(): Promise<Unzstd> {
  const zstd = idle ?? instantiate((await compiledCodec("zstd")) ?? (await compileHere()));
  idle ??= zstd;
  return (bytes, maxBytes) => unzstd(zstd, bytes, maxBytes);
}

function instantiate(compiled: WebAssembly.Module): ZstdExports {
  const env = { emscripten_notify_memory_growth() {} };
  return new WebAssembly.Instance(compiled, { env }).exports as unknown as ZstdExports;
}

/** From the file beside this one. The address is written so that bundlers copy the file. */
async function compileHere(): Promise<WebAssembly.Module> {
  const url = new URL("./zstd.wasm", import.meta.url);
  if (url.protocol !== "file:") return WebAssembly.compileStreaming(fetch(url));
  // Not imported, because browsers and Workers load this module too.
  const { readFile } = process.getBuiltinModule("node:fs/promises");
  return WebAssembly.compile(await readFile(url));
}

function unzstd(zstd: ZstdExports, bytes: Uint8Array, maxBytes: number): Uint8Array<ArrayBuffer> {
  if (statedBytes(bytes) > maxBytes)
    throw new Error(`its Zstandard data states more than the ${maxBytes} bytes expected`);
  const from = zstd.malloc(bytes.length);
  const to = zstd.malloc(maxBytes);
  try {
    if (from === 0 || to === 0) throw new Error(`no memory is left for ${maxBytes} bytes of Zstandard data`);
    new Uint8Array(zstd.memory.buffer).set(bytes, from);
    const written = zstd.ZSTD_decompress(to, maxBytes, from, bytes.length);
    if (zstd.ZSTD_isError(written)) {
      throw new Error(
        `its Zstandard data is damaged, cut short or longer than the ${maxBytes} bytes expected`,
      );
    }
    return new Uint8Array(zstd.memory.buffer.slice(to, to + written));
  } finally {
    zstd.free(from);
    zstd.free(to);
    if (zstd.memory.buffer.byteLength > KEPT_HEAP_BYTES && idle === zstd) idle = undefined;
  }
}

/** Content size that the first frame states (RFC 8878 section 3.1.1.1); 0 if it states none. */
function statedBytes(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Magic, descriptor, window, dictionary, content size.
  if (bytes.length < 18 || view.getUint32(0, true) !== 0xfd2fb528) return 0;
  const descriptor = bytes[4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  const size = descriptor >> 6;
  const at = 5 + (singleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  if (size === 0) return singleSegment ? bytes[at]! : 0;
  if (size === 1) return view.getUint16(at, true) + 256;
  return size === 2 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}
