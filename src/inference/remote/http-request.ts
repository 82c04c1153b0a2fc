import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { joinBytes } from "../../storage/join-bytes.ts";
import { detachBuffers } from "../../tiling/wire/detach-buffers.ts";

export interface HttpRequest {
  method: "GET" | "POST" | "PUT";
  headers: Record<string, string>;
  /** Sent without a copy. */
  body?: Uint8Array<ArrayBuffer>;
  /** Detach the body after sending it: the caller does not use it any more. */
  freeBody?: boolean;
  /** Maximum bytes of the response; longer ones are aborted. */
  maxBytes: number;
  /** Timeout without a byte in either direction; default 5 minutes. */
  silenceMs?: number;
  signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  bytes: Uint8Array<ArrayBuffer>;
}

const SILENCE_MS = 300_000;
/** Long enough for a lost packet or two to be sent again. */
const CONNECT_MS = 15_000;

/** The response ended before it was complete. */
export class IncompleteResponseError extends Error {
  override readonly name = "IncompleteResponseError";
}

/** The response exceeds `maxBytes`. */
export class ResponseTooLargeError extends Error {
  override readonly name = "ResponseTooLargeError";
}

/**
 * One HTTP request, with the whole response in memory. Redirects are not followed: they could carry the body anywhere.
 *
 * Written by hand over node:http: `fetch` copies each body twice and leaves the copies to the garbage collector, which
 * then takes as long as the rest of the request. Here buffers are freed as soon as they are sent or copied.
 * @throws {IncompleteResponseError}
 * @throws {ResponseTooLargeError}
 * @throws {Error} of the connection, if no response started; the signal's reason
 */
export async function httpRequest(url: URL, options: HttpRequest): Promise<HttpResponse> {
  const { method, headers, body, freeBody, maxBytes, silenceMs = SILENCE_MS, signal } = options;
  signal?.throwIfAborted();
  const send = url.protocol === "https:" ? requestHttps : requestHttp;
  const length = body ? { "Content-Length": String(body.length) } : {};
  // Set here, because otherwise the agent's 5 seconds apply until the connection is open.
  const request = send(url, { method, headers: { ...headers, ...length }, timeout: silenceMs });
  request.on("timeout", () => request.destroy(new Error(`no data for ${silenceMs / 1000} s`)));
  request.once("socket", (socket) => {
    if (!socket.connecting) return;
    const onTimeout = () => request.destroy(new Error(`no connection after ${CONNECT_MS / 1000} s`));
    const timer = setTimeout(onTimeout, CONNECT_MS);
    for (const event of ["connect", "close"]) socket.once(event, () => clearTimeout(timer));
  });
  const abort = () => request.destroy(new Error("aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once("response", resolve);
      // Also after the response: a server that rejects a body may close before it has received all of it.
      request.on("error", reject);
      // A server that switches protocols closes without response or error; after a response this has no effect.
      request.once("close", () => reject(new Error("no response")));
      request.end(body);
    });
    const bytes = await readWhole(response, maxBytes).catch((cause) => {
      response.destroy();
      throw cause instanceof ResponseTooLargeError
        ? cause
        : new IncompleteResponseError("the response is incomplete", { cause });
    });
    // Only if the body is fully sent: a response may come earlier, while the system still reads the buffer.
    if (body && freeBody && request.writableFinished) detachBuffers(body);
    return { status: response.statusCode!, headers: response.headers, bytes };
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Copies each byte once if Content-Length is stated. */
async function readWhole(response: IncomingMessage, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const tooLong = () => new ResponseTooLargeError(`the response has more than ${maxBytes} bytes`);
  const stated = response.headers["content-length"];
  if (Number(stated ?? 0) > maxBytes) throw tooLong();
  const whole = stated === undefined ? undefined : new Uint8Array(Number(stated));
  const pieces: Uint8Array[] = [];
  let at = 0;
  for await (const piece of response as AsyncIterable<Uint8Array>) {
    if (at + piece.length > maxBytes) throw tooLong();
    whole?.set(piece, at);
    at += piece.length;
    if (!whole) pieces.push(piece);
    else if (piece.length === piece.buffer.byteLength) detachBuffers(piece);
  }
  return whole ?? joinBytes(pieces);
}

/** @returns undefined if the response is not JSON */
export function parseJsonResponse({ bytes }: HttpResponse): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
