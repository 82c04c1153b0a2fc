import { registry } from "zarrita";
import { decodeBlosc } from "../../codecs/blosc.ts";
import { inflateStream } from "../../codecs/inflate.ts";
import { decodeLz4Block } from "../../codecs/lz4.ts";
import { loadZstd } from "../../codecs/zstd.ts";
import { product } from "../../tiling/grid/raster.ts";

/** What zarrita tells a codec about its chunks. */
interface ChunkMeta {
  shape: readonly number[];
  dataType: string;
}

/** @throws {Error} when the bytes are damaged, cut short, or hold more than `maxBytes` */
type Decode = (bytes: Uint8Array, maxBytes: number) => Promise<Uint8Array>;

/** Room for checksums, and for incompressible data of two compressors in a row. */
const SLACK_BYTES = 64 * 1024;

/** By their names in Zarr 3. */
const DECODERS: Readonly<Record<string, Decode>> = {
  gzip: (bytes, maxBytes) => inflateStream(bytes, "gzip", maxBytes),
  zlib: (bytes, maxBytes) => inflateStream(bytes, "deflate", maxBytes),
  blosc: decodeBlosc,
  lz4: decodeSizedLz4,
  zstd: async (bytes, maxBytes) => (await loadZstd())(bytes, maxBytes),
};

let registered = false;

/**
 * Replaces zarrita's decompressors, which have no bound and compile WebAssembly from bytes, which Workers forbid. No
 * chunk unpacks to more than its metadata announces. Changes zarrita's registry; further calls change nothing.
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
    // The registry requires encoders too; nothing here writes.
    const load = (() => entry) as unknown as NonNullable<ReturnType<typeof registry.get>>;
    registry.set(name, load);
    registry.set(`numcodecs.${name}`, load);
  }
}

/** Bytes of a type such as `float32`; the widest for types without a number. */
function sampleBytes(dataType: string): number {
  const bits = Number(/\d+$/.exec(dataType)?.[0] ?? 64);
  return Math.ceil(bits / 8);
}

/** numcodecs' format: the unpacked size in four bytes, then one block. */
async function decodeSizedLz4(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  if (bytes.length < 4) throw new Error("its LZ4 data is damaged or cut short");
  const size = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);
  if (size > maxBytes) throw new Error(`its LZ4 data states more than the ${maxBytes} bytes expected`);
  const output = new Uint8Array(size);
  decodeLz4Block(bytes.subarray(4), output);
  return output;
}
