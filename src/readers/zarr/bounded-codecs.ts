import { registry } from "zarrita";
import { decodeBlosc } from "../../codecs/blosc.ts";
import { inflateStream } from "../../codecs/inflate-stream.ts";
import { decodeLz4Block } from "../../codecs/lz4.ts";
import { loadZstd } from "../../codecs/zstd.ts";
import { product } from "../../tiling/grid/raster.ts";

/** What a codec is told of the chunks it decodes. */
interface ChunkMeta {
  shape: readonly number[];
  dataType: string;
}

/** @throws {Error} when the bytes are damaged, cut short, or hold more than `maxBytes` */
type Decode = (bytes: Uint8Array, maxBytes: number) => Promise<Uint8Array>;

/** Checksums, and what a compressor adds to what it cannot shrink when two follow each other. */
const SLACK_BYTES = 64 * 1024;

/** By the names that Zarr 3 has for them. */
const DECODERS: Readonly<Record<string, Decode>> = {
  gzip: (bytes, maxBytes) => inflateStream(bytes, "gzip", maxBytes),
  zlib: (bytes, maxBytes) => inflateStream(bytes, "deflate", maxBytes),
  blosc: decodeBlosc,
  lz4: decodeSizedLz4,
  zstd: async (bytes, maxBytes) => (await loadZstd())(bytes, maxBytes),
};

let registered = false;

/**
 * Puts our decompressors in the place of zarrita's, which take whatever a stream makes and compile WebAssembly from bytes, which
 * Workers forbid. No chunk unpacks to more than its metadata announces. Changes zarrita's registry; calling it again changes
 * nothing.
 */
export function registerBoundedCodecs(): void {
  if (registered) return;
  registered = true;
  for (const [name, decode] of Object.entries(DECODERS)) {
    const entry = {
      fromConfig(_: unknown, meta: ChunkMeta) {
        const maxBytes = product(meta.shape) * sampleBytes(meta.dataType) + SLACK_BYTES;
        return { kind: "bytes_to_bytes", decode: (bytes: Uint8Array) => decode(bytes, maxBytes) };
      },
    };
    // The registry asks for encoders too; nothing here writes through it.
    const load = (() => entry) as unknown as NonNullable<ReturnType<typeof registry.get>>;
    registry.set(name, load);
    registry.set(`numcodecs.${name}`, load);
  }
}

/** Of a type like `float32`; of those that tell no width, the widest there is. */
function sampleBytes(dataType: string): number {
  const bits = Number(/\d+$/.exec(dataType)?.[0] ?? 64);
  return Math.ceil(bits / 8);
}

/** As numcodecs has it: the size unpacked in four bytes, then one block. */
async function decodeSizedLz4(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  if (bytes.length < 4) throw new Error("its LZ4 data is damaged or cut short");
  const size = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);
  if (size > maxBytes) throw new Error(`its LZ4 data states more than the ${maxBytes} bytes expected`);
  const output = new Uint8Array(size);
  decodeLz4Block(bytes.subarray(4), output);
  return output;
}
