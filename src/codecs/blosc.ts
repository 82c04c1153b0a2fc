import { unshuffle, unshuffleBits } from "./blosc-shuffle.ts";
import { decodeBloscLz } from "./blosclz.ts";
import { inflateStream } from "./inflate.ts";
import { decodeLz4Block } from "./lz4.ts";
import { loadZstd } from "./zstd.ts";

/** Decompresses into an output of known size. */
type Unpack = (input: Uint8Array, output: Uint8Array) => void | Promise<void>;

/** Format of c-blosc 1; Blosc 2 has another header. */
const FORMAT_VERSION = 2;
const HEADER_BYTES = 16;
const FLAG = { shuffle: 0x01, stored: 0x02, bitShuffle: 0x04, unsplit: 0x10 } as const;
/** A block is split into one stream per byte of a sample under these conditions (c-blosc's `split_block`). */
const MAX_SPLITS = 16;
const MIN_SPLIT_BYTES = 128;

/**
 * Decompresses a Blosc 1 buffer (https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst). Every stated
 * length is compared with the bytes that are there, and nothing beyond `maxBytes` is allocated.
 *
 * Written by hand: numcodecs compiles WebAssembly from bytes, which Workers forbid, and has no bound on the size
 * that a header states. The tests compare with numcodecs.
 * @throws {Error} when it is damaged, cut short, states more than `maxBytes` or uses a compressor that is not read
 */
export async function decodeBlosc(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  if (bytes.length < HEADER_BYTES) throw damagedError();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[0]!;
  if (version !== FORMAT_VERSION)
    throw new Error(`its Blosc data is of format version ${version}, and ${FORMAT_VERSION} is read`);
  const flags = bytes[2]!;
  const sampleBytes = bytes[3]!;
  const outputBytes = view.getUint32(4, true);
  const blockBytes = view.getUint32(8, true);
  const storedBytes = view.getUint32(12, true);
  if (outputBytes > maxBytes)
    throw new Error(`its Blosc data states more than the ${maxBytes} bytes expected`);
  if (storedBytes > bytes.length) throw damagedError();
  if (outputBytes === 0) return new Uint8Array(0);
  if ((flags & FLAG.stored) !== 0) {
    if (storedBytes !== HEADER_BYTES + outputBytes) throw damagedError();
    return bytes.slice(HEADER_BYTES, storedBytes);
  }
  if (sampleBytes === 0 || blockBytes === 0 || blockBytes > outputBytes) throw damagedError();
  const blocks = Math.ceil(outputBytes / blockBytes);
  if (HEADER_BYTES + 4 * blocks > storedBytes) throw damagedError();

  const unpack = await selectDecompressor(flags >> 5);
  const output = new Uint8Array(outputBytes);
  const split = (flags & FLAG.unsplit) === 0 && sampleBytes <= MAX_SPLITS;
  const filter = selectFilter(flags, sampleBytes, blockBytes);
  const shuffled = filter && new Uint8Array(blockBytes);
  for (let block = 0; block < blocks; block++) {
    const target = output.subarray(block * blockBytes, (block + 1) * blockBytes);
    const isSplit = split && target.length === blockBytes && blockBytes / sampleBytes >= MIN_SPLIT_BYTES;
    if (isSplit && blockBytes % sampleBytes !== 0) throw damagedError();
    const streamBytes = isSplit ? blockBytes / sampleBytes : target.length;
    const unfiltered = shuffled?.subarray(0, target.length) ?? target;
    let at = view.getUint32(HEADER_BYTES + 4 * block, true);
    for (let to = 0; to < target.length; to += streamBytes) {
      if (at + 4 > storedBytes) throw damagedError();
      const packed = view.getUint32(at, true);
      at += 4;
      if (packed > storedBytes - at) throw damagedError();
      const input = bytes.subarray(at, at + packed);
      const stream = unfiltered.subarray(to, to + streamBytes);
      if (packed === streamBytes) stream.set(input);
      else await unpack(input, stream);
      at += packed;
    }
    filter?.(unfiltered, target, sampleBytes);
  }
  return output;
}

function selectFilter(flags: number, sampleBytes: number, blockBytes: number): typeof unshuffle | undefined {
  if ((flags & FLAG.shuffle) !== 0 && sampleBytes > 1) return unshuffle;
  if ((flags & FLAG.bitShuffle) !== 0 && blockBytes >= sampleBytes) return unshuffleBits;
  return undefined;
}

/** Decompressor by the format number of the streams (three bits). */
async function selectDecompressor(format: number): Promise<Unpack> {
  if (format === 0) return decodeBloscLz;
  if (format === 1) return decodeLz4Block;
  if (format === 3)
    return async (input, output) => fill(output, await inflateStream(input, "deflate", output.length));
  if (format !== 4) {
    throw new Error(
      format === 2
        ? "its Blosc data is compressed with Snappy, which is not read"
        : `its Blosc data is compressed in an unknown way (${format})`,
    );
  }
  const unzstd = await loadZstd();
  return (input, output) => fill(output, unzstd(input, output.length));
}

function fill(output: Uint8Array, unpacked: Uint8Array): void {
  if (unpacked.length !== output.length) throw damagedError();
  output.set(unpacked);
}

function damagedError(): Error {
  return new Error("its Blosc data is damaged or cut short");
}
