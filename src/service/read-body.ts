import { detachBuffers } from "../tiling/wire/detach-buffers.ts";
import { HttpError } from "./http-error.ts";

export interface ReadBodyOptions {
  contentType: string;
  maxBytes: number;
  /** After which a body that is not there yet is given up. Default: as long as the platform waits. */
  timeoutMs?: number;
  /** The body's bytes as they come, where that is cheaper than the request's own way to read it. */
  chunks?: AsyncIterable<Uint8Array>;
}

/**
 * The body, whose length must be stated and allowed before a byte of it is read.
 * @throws {HttpError} 400 for one that breaks off, 408, 411, 413, 415
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
    // What whoever gives the chunks refuses is no fault of the body.
    if (chunks && !isBreak(error)) throw error;
    throw new HttpError(400, "bad_message", `the body ended before its ${stated} bytes had arrived`);
  });
  const bytes = await (timeoutMs === undefined ? reading : within(timeoutMs, reading));
  if (bytes.length !== length) {
    throw new HttpError(400, "bad_message", `the body has ${bytes.length} bytes, ${stated} were stated`);
  }
  return bytes;
}

/** Of a stream, or of a body that has more bytes than were stated. */
function isBreak(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code !== "string" || code.startsWith("E");
}

/** Each byte is copied once, into memory that was allowed before. */
async function collected(chunks: AsyncIterable<Uint8Array>, length: number): Promise<Uint8Array> {
  // Not before something is here: who states a length and sends nothing takes no memory.
  let bytes = new Uint8Array(0);
  let at = 0;
  for await (const chunk of chunks) {
    if (at === 0) bytes = new Uint8Array(length);
    // More than was stated never fits, and is refused by its platform too.
    bytes.set(chunk, at);
    at += chunk.length;
    if (chunk.length === chunk.buffer.byteLength) detachBuffers(chunk);
  }
  return bytes.subarray(0, at);
}

/**
 * Reads a body of allowed length without keeping it: an answer given before its end closes the connection, which is
 * right for a caller that is refused and wrong for one that is told to come again at once.
 * @throws {HttpError} 408
 */
export async function discardBody(
  request: Request,
  { maxBytes, timeoutMs }: Pick<ReadBodyOptions, "maxBytes" | "timeoutMs">,
): Promise<void> {
  if (Number(request.headers.get("Content-Length") ?? Number.POSITIVE_INFINITY) > maxBytes) return;
  // Who is gone needs no answer.
  const reading = request.body?.pipeTo(new WritableStream()).catch(() => {});
  if (reading) await (timeoutMs === undefined ? reading : within(timeoutMs, reading));
}

/** The connection is closed with the answer, for more of the body may still come. */
async function within<T>(timeoutMs: number, reading: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const seconds = timeoutMs / 1000;
      const sentence = `the body was not here after ${seconds} s; send smaller batches or over a faster connection`;
      reject(new HttpError(408, "body_timeout", sentence, { Connection: "close" }));
    }, timeoutMs);
  });
  try {
    return await Promise.race([reading, timeout]);
  } finally {
    clearTimeout(timer);
    // Whichever lost must not be an unhandled rejection later.
    reading.catch(() => {});
  }
}
