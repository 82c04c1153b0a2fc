import { joinBytes } from "../../storage/join-bytes.ts";

export class TooManyBytesError extends Error {
  override readonly name = "TooManyBytesError";
}

/**
 * Reads a body of unknown length.
 * @throws {TooManyBytesError} as soon as it has more than `maxBytes`; whatever the stream throws
 */
export async function readBytesBounded(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
): Promise<Uint8Array> {
  const reader = body?.getReader();
  const chunks: Uint8Array[] = [];
  let byteLength = 0;
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done || value === undefined) return joinBytes(chunks);
    byteLength += value.length;
    if (byteLength > maxBytes) {
      await reader?.cancel().catch(() => {});
      throw new TooManyBytesError(`the body has more than ${maxBytes} bytes`);
    }
    chunks.push(value);
  }
}
