import { joinBytes } from "../storage/join-bytes.ts";

/**
 * Inflates gzip or zlib data with the platform's stream, which verifies the checksum.
 * @throws {Error} when it is damaged, cut short, or holds more than `maxBytes`; little more than that is allocated
 */
export async function inflateStream(
  bytes: Uint8Array,
  format: "gzip" | "deflate",
  maxBytes: number,
): Promise<Uint8Array> {
  const stored = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  const reader = stored.pipeThrough(new DecompressionStream(format)).getReader();
  const pieces: Uint8Array[] = [];
  let total = 0;
  while (true) {
    const { done, value } = await reader.read().catch((cause) => {
      throw new Error(`its ${format} data is damaged or cut short`, { cause });
    });
    if (done) return joinBytes(pieces);
    pieces.push(value);
    total += value.length;
    if (total <= maxBytes) continue;
    await reader.cancel().catch(() => {});
    throw new Error(`its ${format} data holds more than the ${maxBytes} bytes expected`);
  }
}
