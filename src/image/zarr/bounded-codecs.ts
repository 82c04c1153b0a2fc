import { registry } from "zarrita";
import { joinBytes } from "../../storage/join-bytes.ts";
import { product } from "../../tiling/raster.ts";

/** What a codec is told of the chunks it decodes. */
interface ChunkMeta {
  shape: readonly number[];
  dataType: string;
}

interface BytesCodec {
  kind: string;
  decode(bytes: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** The part of zarrita's codec entries that is wrapped. */
interface CodecEntry {
  fromConfig(configuration: unknown, meta: ChunkMeta): BytesCodec;
}

/** Checksums, and what a compressor adds to what it cannot shrink when two follow each other. */
const SLACK_BYTES = 64 * 1024;

/** Bytes of the widest sample there is; the type's own width would be exact, and exact is not needed. */
const WIDEST_SAMPLE_BYTES = 8;

/**
 * Lets no chunk unpack to more than its metadata announces: zarrita's own codecs take whatever a stream makes. Changes
 * zarrita's registry; calling it again changes nothing.
 */
export function boundCodecs(): void {
  if (bounded) return;
  bounded = true;
  for (const [name, guard] of GUARDS) {
    for (const key of [name, `numcodecs.${name}`]) {
      const load = registry.get(key);
      if (load === undefined) continue;
      const wrapped = async () => wrap((await load()) as unknown as CodecEntry, guard);
      registry.set(key, wrapped as unknown as typeof load);
    }
  }
}

let bounded = false;

/** Unpacks by itself, or looks at what is stated and leaves it to the codec (undefined). */
type Guard = (bytes: Uint8Array, maxBytes: number) => Promise<Uint8Array> | undefined;

const GUARDS: readonly (readonly [string, Guard])[] = [
  ["gzip", (bytes, max) => inflate(bytes, "gzip", max)],
  ["zlib", (bytes, max) => inflate(bytes, "deflate", max)],
  ["blosc", (bytes, max) => check(bytes.length >= 16 ? viewOf(bytes).getUint32(4, true) : 0, max)],
  ["lz4", (bytes, max) => check(bytes.length >= 4 ? viewOf(bytes).getUint32(0, true) : 0, max)],
  ["zstd", (bytes, max) => check(zstdContentBytes(bytes), max)],
];

function wrap(codec: CodecEntry, guard: Guard): CodecEntry {
  return {
    fromConfig(configuration, meta) {
      const inner = codec.fromConfig(configuration, meta);
      const maxBytes = product(meta.shape) * WIDEST_SAMPLE_BYTES + SLACK_BYTES;
      return {
        kind: inner.kind,
        decode: (bytes) => guard(bytes, maxBytes) ?? inner.decode(bytes),
      };
    },
  };
}

function check(stated: number, maxBytes: number): undefined {
  if (stated > maxBytes) throw tooLarge(maxBytes);
}

async function inflate(bytes: Uint8Array, format: "gzip" | "deflate", maxBytes: number): Promise<Uint8Array> {
  const stored = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  const reader = stored.pipeThrough(new DecompressionStream(format)).getReader();
  const pieces: Uint8Array[] = [];
  let total = 0;
  while (true) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    total += value.length;
    if (total <= maxBytes) continue;
    await reader.cancel().catch(() => {});
    throw tooLarge(maxBytes);
  }
  return joinBytes(pieces);
}

/** The content size a Zstandard frame states (RFC 8878 section 3.1.1.1), 0 where it states none. */
function zstdContentBytes(bytes: Uint8Array): number {
  if (bytes.length < 18 || viewOf(bytes).getUint32(0, true) !== 0xfd2fb528) return 0;
  const descriptor = bytes[4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  const size = descriptor >> 6;
  const at = 5 + (singleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]!;
  const view = viewOf(bytes);
  if (size === 0) return singleSegment ? bytes[at]! : 0;
  if (size === 1) return view.getUint16(at, true) + 256;
  return size === 2 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function tooLarge(maxBytes: number): Error {
  return new Error(`a chunk unpacks to more than the ${maxBytes} bytes its shape allows`);
}
