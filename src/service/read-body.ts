import { detachBuffers } from "../tiling/wire/detach-buffers.ts";
import { HttpError } from "./http-error.ts";

export interface ReadBodyOptions {
  contentType: string;
  maxBytes: number;
  /** Timeout for the whole body. Default: that of the platform. */
  timeoutMs?: number;
  /** The body's bytes as a stream, where that is cheaper than `request.arrayBuffer()`. */
  chunks?: AsyncIterable<Uint8Array>;
}

/**
 * Reads a body. Checks its stated length before it reads a byte.
 * @throws {HttpError} 400 for an incomplete body, 408, 411, 413, 415
 */
export async function readBody(
  request: Request,
  { contentType, maxBytes, timeoutMs, chunks }: ReadBodyOptions,
): Promise<Uint8Array> {
  const type = request.headers.get("Content-Type")?.replace(/;.*/, "").trim();
  if (type !== contentType) {
    throw new HttpError(415, "wrong_type", `the body must be ${contentType}, not ${type || "of no type"}`);
  }
  const stated = request.headers.get("Content-Length");
  if (stated === null || !/^\d+$/.test(stated)) {
    throw new HttpError(411, "length_required", "the request must state the length of its body");
  }
  if (Number(stated) > maxBytes) {
    throw new HttpError(413, "too_large", `the body has ${stated} bytes, at most ${maxBytes} are allowed`);
  }
  const length = Number(stated);
  const whole = chunks
    ? collected(chunks, length)
    : request.arrayBuffer().then((buffer) => new Uint8Array(buffer));
  const reading = whole.catch((error: unknown) => {
    // Errors of the source of the chunks are not errors of the body.
    if (chunks && !isBreak(error)) throw error;
    throw new HttpError(400, "bad_message", `the body ended before its ${stated} bytes had arrived`);
  });
  const bytes = await (timeoutMs === undefined ? reading : within(timeoutMs, reading));
  if (bytes.length !== length) {
    throw new HttpError(400, "bad_message", `the body has ${bytes.length} bytes, ${stated} were stated`);
  }
  return bytes;
}

/** An error of the stream, or of a body longer than stated. */
function isBreak(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code !== "string" || code.startsWith("E");
}

/** Copies each byte once, into one buffer of the stated length. */
async function collected(chunks: AsyncIterable<Uint8Array>, length: number): Promise<Uint8Array> {
  // Allocated with the first chunk: a client that states a length and sends nothing uses no memory.
  let bytes = new Uint8Array(0);
  let at = 0;
  for await (const chunk of chunks) {
    if (at === 0) bytes = new Uint8Array(length);
    // More bytes than stated do not fit; platforms reject them too.
    bytes.set(chunk, at);
    at += chunk.length;
    if (chunk.length === chunk.buffer.byteLength) detachBuffers(chunk);
  }
  return bytes.subarray(0, at);
}

/**
 * Reads and discards a body of allowed length. A response before its end would close the connection, which is wrong for
 * a client that is asked to retry.
 * @throws {HttpError} 408
 */
export async function discardBody(
  request: Request,
  { maxBytes, timeoutMs }: Pick<ReadBodyOptions, "maxBytes" | "timeoutMs">,
): Promise<void> {
  if (Number(request.headers.get("Content-Length") ?? Number.POSITIVE_INFINITY) > maxBytes) return;
  // The client has gone.
  const reading = request.body?.pipeTo(new WritableStream()).catch(() => {});
  if (reading) await (timeoutMs === undefined ? reading : within(timeoutMs, reading));
}

/** A timeout closes the connection, because more of the body may arrive. */
async function within<T>(timeoutMs: number, reading: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const seconds = timeoutMs / 1000;
      const sentence = `the body did not arrive within ${seconds} s; send smaller batches or use a faster connection`;
      reject(new HttpError(408, "body_timeout", sentence, { Connection: "close" }));
    }, timeoutMs);
  });
  try {
    return await Promise.race([reading, timeout]);
  } finally {
    clearTimeout(timer);
    // Avoids an unhandled rejection when the timeout wins.
    reading.catch(() => {});
  }
}
