import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { joinBytes } from "../../storage/join-bytes.ts";
import { detachBuffers } from "../../tiling/wire/detach-buffers.ts";

export interface HttpRequest {
  method: "GET" | "POST" | "PUT";
  headers: Record<string, string>;
  /** Sent from where it lies. */
  body?: Uint8Array<ArrayBuffer>;
  /** Nobody looks at the body any more: its memory is given back once it was sent. */
  freeBody?: boolean;
  /** Bytes of an answer at most; one that is longer is broken off. */
  maxBytes: number;
  /** After so long without a byte in either direction it is given up; default 5 minutes. */
  silenceMs?: number;
  signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  bytes: Uint8Array<ArrayBuffer>;
}

const SILENCE_MS = 300_000;
/** As long as a lost packet or two take to be sent again. */
const CONNECT_MS = 15_000;

/** An answer began, but no whole one came. */
export class IncompleteResponseError extends Error {
  override readonly name = "IncompleteResponseError";
}

/** An answer that is longer than any that was asked for. */
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
 * @throws {Error} of the connection, where no answer began; what `signal` says when it was aborted
 */
export async function httpRequest(url: URL, options: HttpRequest): Promise<HttpResponse> {
  const { method, headers, body, freeBody, maxBytes, silenceMs = SILENCE_MS, signal } = options;
  signal?.throwIfAborted();
  const ask = url.protocol === "https:" ? requestHttps : requestHttp;
  const length = body ? { "Content-Length": String(body.length) } : {};
  // Said here, or the agent's own 5 seconds count until there is a connection.
  const request = ask(url, { method, headers: { ...headers, ...length }, timeout: silenceMs });
  request.on("timeout", () => request.destroy(new Error(`nothing came for ${silenceMs / 1000} s`)));
  request.once("socket", (socket) => {
    if (!socket.connecting) return;
    const giveUp = () => request.destroy(new Error(`no connection after ${CONNECT_MS / 1000} s`));
    const timer = setTimeout(giveUp, CONNECT_MS);
    for (const event of ["connect", "close"]) socket.once(event, () => clearTimeout(timer));
  });
  const abort = () => request.destroy(new Error("aborted"));
  signal?.addEventListener("abort", abort, { once: true });
  try {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once("response", resolve);
      // Also after the answer: who refuses a body may close before all of it is there.
      request.on("error", reject);
      // A server that switches protocols ends it without either; after an answer this changes nothing.
      request.once("close", () => reject(new Error("no answer came")));
      request.end(body);
    });
    const bytes = await wholeAnswer(answer, maxBytes).catch((cause) => {
      answer.destroy();
      throw cause instanceof ResponseTooLargeError
        ? cause
        : new IncompleteResponseError("it broke off", { cause });
    });
    // An answer may come before the body is out, and the system reads that from where it lies.
    if (body && freeBody && request.writableFinished) detachBuffers(body);
    return { status: answer.statusCode!, headers: answer.headers, bytes };
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Each byte is copied once where the length was stated. */
async function wholeAnswer(answer: IncomingMessage, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const tooLong = () => new ResponseTooLargeError(`it has more than ${maxBytes} bytes`);
  const stated = answer.headers["content-length"];
  if (Number(stated ?? 0) > maxBytes) throw tooLong();
  const whole = stated === undefined ? undefined : new Uint8Array(Number(stated));
  const pieces: Uint8Array[] = [];
  let at = 0;
  for await (const piece of answer as AsyncIterable<Uint8Array>) {
    if (at + piece.length > maxBytes) throw tooLong();
    whole?.set(piece, at);
    at += piece.length;
    if (!whole) pieces.push(piece);
    else if (piece.length === piece.buffer.byteLength) detachBuffers(piece);
  }
  return whole ?? joinBytes(pieces);
}

/** @returns undefined where the answer is no JSON */
export function parseJsonResponse({ bytes }: HttpResponse): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
