/// <reference path="./codec-modules.d.ts" />
import createZstd from "@foxglove/wasm-zstd/dist/wasm-zstd.js";
import { emscriptenOptions } from "./compiled-codecs.ts";

/** The used part of the Emscripten module. */
interface ZstdModule {
  HEAPU8: Uint8Array;
  _malloc(byteLength: number): number;
  _free(address: number): void;
  /** @returns the bytes written, or -1 */
  _decompress(to: number, toBytes: number, from: number, fromBytes: number): number;
}

/**
 * Decompresses Zstandard frames.
 * @throws {Error} when they are damaged, cut short, or hold more than `maxBytes`; nothing beyond that is allocated
 */
export type Unzstd = (bytes: Uint8Array, maxBytes: number) => Uint8Array<ArrayBuffer>;

/** A heap larger than this is dropped: WebAssembly never returns memory, and an isolate has little. */
const KEPT_HEAP_BYTES = 8 * 2 ** 20;

// The instance, not its promise: on Workers a promise belongs to the request that made it.
let idle: ZstdModule | undefined;

/** libzstd, compiled to WebAssembly; it verifies sizes and checksums of streams. */
export async function loadZstd(): Promise<Unzstd> {
  const module: ZstdModule = idle ?? (await createZstd(await emscriptenOptions("zstd", () => {})));
  idle ??= module;
  return (bytes, maxBytes) => unzstd(module, bytes, maxBytes);
}

function unzstd(module: ZstdModule, bytes: Uint8Array, maxBytes: number): Uint8Array<ArrayBuffer> {
  if (statedBytes(bytes) > maxBytes)
    throw new Error(`its Zstandard data states more than the ${maxBytes} bytes expected`);
  const from = module._malloc(bytes.length);
  const to = module._malloc(maxBytes);
  try {
    if (from === 0 || to === 0) throw new Error(`no memory is left for ${maxBytes} bytes of Zstandard data`);
    module.HEAPU8.set(bytes, from);
    const written = module._decompress(to, maxBytes, from, bytes.length);
    if (written < 0 || written > maxBytes) {
      throw new Error(
        `its Zstandard data is damaged, cut short or longer than the ${maxBytes} bytes expected`,
      );
    }
    return module.HEAPU8.slice(to, to + written) as Uint8Array<ArrayBuffer>;
  } finally {
    module._free(from);
    module._free(to);
    if (module.HEAPU8.length > KEPT_HEAP_BYTES && idle === module) idle = undefined;
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
