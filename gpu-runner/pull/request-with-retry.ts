import * as z from "zod";
import { RemoteError } from "../../src/inference/errors.ts";
import {
  type HttpResponse,
  httpRequest,
  parseJsonResponse,
} from "../../src/inference/remote/http-request.ts";
import { toRemoteError } from "../../src/inference/remote/transport-errors.ts";
import { parseRetryAfter, RETRYABLE_STATUS, retry } from "../../src/storage/retry.ts";

const TRIES = 5;
const FIRST_DELAY_MS = 300;
const TIMEOUT_MS = 60_000;
/** Upper bound for Retry-After: leases expire meanwhile. */
const MAX_RETRY_AFTER_MS = 60_000;
const MAX_ANSWER_BYTES = 2 ** 20;

/** Both services tell errors as JSON, each in its own shape. */
const errorSchema = z.union([
  z.object({ error: z.object({ code: z.string(), message: z.string() }) }).transform((e) => e.error),
  z
    .object({ errors: z.array(z.object({ code: z.number(), message: z.string() })).min(1) })
    .transform(({ errors }) => ({ code: `cloudflare_${errors[0]!.code}`, message: errors[0]!.message })),
]);

export interface RequestOptions {
  url: URL;
  method: "GET" | "POST" | "PUT";
  token: string;
  /** JSON, or bytes with their type. */
  body?: unknown;
  contentType?: string;
  /** Maximum bytes of the response; default 1 MiB. */
  maxBytes?: number;
  signal?: AbortSignal;
  /** How often it is tried; default 5. */
  tries?: number;
}

/**
 * One request to a service, tried again where that may help. Every call made with it may be repeated.
 * @throws {RemoteError} if the last attempt is rejected or gets no response; the signal's reason
 */
export async function requestWithRetry(options: RequestOptions): Promise<HttpResponse> {
  const { tries = TRIES, signal } = options;
  return retry(() => requestOnce(options), { attempts: tries, firstDelayMs: FIRST_DELAY_MS, signal });
}

async function requestOnce(options: RequestOptions): Promise<HttpResponse> {
  const { url, method, token, body, contentType, maxBytes = MAX_ANSWER_BYTES, signal } = options;
  const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = contentType ?? "application/json";
  const json = contentType === undefined && body !== undefined;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let answer: HttpResponse;
  try {
    answer = await httpRequest(url, {
      method,
      headers,
      body: json ? new TextEncoder().encode(JSON.stringify(body)) : (body as Uint8Array<ArrayBuffer>),
      maxBytes,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    throw toRemoteError(url.host, cause);
  }
  const { status } = answer;
  if (status >= 200 && status < 300) return answer;
  const parsed = errorSchema.safeParse(parseJsonResponse(answer));
  const problem = parsed.success ? parsed.data : { code: "bad_answer", message: "no reason was given" };
  const retryAfterMs = parseRetryAfter(answer.headers["retry-after"], Date.now());
  throw new RemoteError(`${url.host} answers ${status}: ${problem.message}`, {
    code: problem.code,
    retryable: RETRYABLE_STATUS.has(status),
    status,
    retryAfterMs: retryAfterMs && Math.min(retryAfterMs, MAX_RETRY_AFTER_MS),
  });
}
