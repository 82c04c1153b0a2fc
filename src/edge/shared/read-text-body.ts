import { HttpError } from "../../service/http-error.ts";
import { readBytesBounded, TooManyBytesError } from "./read-bytes-bounded.ts";

/**
 * A request's body as UTF-8 text. Bytes are counted as they arrive, because some senders of events state no length.
 * @throws {HttpError} 413 as soon as more than `maxBytes` are stated or read, 400 for a body that is not UTF-8
 */
export async function readTextBody(request: Request, maxBytes: number): Promise<string> {
  if (Number(request.headers.get("Content-Length") ?? 0) > maxBytes) throw tooLarge(maxBytes);
  let bytes: Uint8Array;
  try {
    bytes = await readBytesBounded(request.body, maxBytes);
  } catch (error) {
    if (error instanceof TooManyBytesError) throw tooLarge(maxBytes);
    throw new HttpError(400, "bad_message", "the body ended before it was complete");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new HttpError(400, "bad_message", "the body is not UTF-8");
  }
}

function tooLarge(maxBytes: number): HttpError {
  return new HttpError(413, "too_large", `the body has more than ${maxBytes} bytes`);
}
