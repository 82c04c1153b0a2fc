import type * as z from "zod";
import { JobError } from "../orchestrator/errors.ts";
import { describeTransportError } from "../storage/errors.ts";
import { readAtMost } from "../storage/read-at-most.ts";
import { parseRetryAfter, RETRYABLE_STATUS, retry } from "../storage/retry.ts";
import { hostAndPort, ServiceError, tryParseJson } from "./errors.ts";
import { errorBodySchema } from "./schemas.ts";

export interface JobClientOptions {
  /** Bearer token of the service. */
  token?: string;
  signal?: AbortSignal;
  /** Called before a request is retried. */
  onRetry?: (error: ServiceError, delayMs: number) => void;
  /** Delay before the second attempt. */
  firstDelayMs?: number;
}

export interface RequestDetails {
  body?: string | Uint8Array<ArrayBuffer>;
  /** Content type of the body; default JSON. */
  type?: string;
  headers?: Record<string, string>;
  timeoutMs?: number;
  /** Replaces the client's own signal and time limit. */
  signal?: AbortSignal;
}

/** Backoff of requests; doubled at each attempt. */
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 20_000;
/** Takes a minute or two: enough for a service to restart. */
const ATTEMPTS = 8;
/** Fewer while nothing has answered: then the address is probably wrong. */
const FIRST_ATTEMPTS = 3;
/** Pages of a listing, a thousand files each: far more than the chunks of the largest label map. */
const MAX_PAGES = 2000;
/** A page of a thousand files, or of a cohort's rows, is smaller. */
const MAX_RESPONSE_BYTES = 64 * 2 ** 20;
const RESPONSE_TIMEOUT_MS = 60_000;

/** HTTP requests to a job service: retries of what fails for a while, bounds, and errors as `ServiceError`. */
export class ServiceHttp {
  readonly url: URL;
  readonly options: JobClientOptions;
  /** Whether the service has responded at all. */
  #reached = false;

  /** @throws {JobError} when `base` is not an address */
  constructor(base: string, options: JobClientOptions = {}) {
    const url = URL.canParse(base) ? new URL(base) : undefined;
    if (!url || !/^https?:$/.test(url.protocol)) {
      throw new JobError(`--server ${base} is not an address: give one that begins with https:// or http://`);
    }
    if (url.username || url.password) {
      throw new JobError(
        "--server must not contain a password: give the token with --token or TILEWRIGHT_TOKEN",
      );
    }
    url.search = "";
    url.hash = "";
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    this.url = url;
    this.options = options;
  }

  /** Sends a request, with retries, and parses the JSON of its response. */
  async json<T>(schema: z.ZodType<T>, method: string, path: string, init: RequestDetails = {}): Promise<T> {
    return this.withRetry(async () => {
      const response = await this.request(method, path, init);
      const text = await this.readText(response);
      return this.parse(schema, text);
    });
  }

  /** @throws {ServiceError} for a listing that does not end */
  checkPages(pages: number): void {
    if (pages > MAX_PAGES) throw this.unexpectedResponse(`a listing of more than ${MAX_PAGES} pages`, false);
  }

  /** The body as text, up to the largest response. */
  async readText(response: Response): Promise<string> {
    const { bytes, more } = await readAtMost(response.body, MAX_RESPONSE_BYTES).catch((cause: unknown) => {
      this.options.signal?.throwIfAborted();
      throw this.unreachable(cause);
    });
    if (more) throw this.unexpectedResponse(`it is longer than ${MAX_RESPONSE_BYTES} bytes`, false);
    return new TextDecoder().decode(bytes);
  }

  /** Repeats a call while its error is retryable. */
  withRetry<T>(call: () => Promise<T>): Promise<T> {
    const { signal, onRetry, firstDelayMs = FIRST_DELAY_MS } = this.options;
    const attempts = this.#reached ? ATTEMPTS : FIRST_ATTEMPTS;
    return retry(call, { attempts, signal, onRetry, firstDelayMs, maxDelayMs: MAX_DELAY_MS });
  }

  /** Sends a request once. @returns a response with an ok status @throws {ServiceError} for any other */
  async request(method: string, path: string, details: RequestDetails = {}): Promise<Response> {
    const { body, type = "application/json", headers, timeoutMs = RESPONSE_TIMEOUT_MS } = details;
    const { token, signal: given } = this.options;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = details.signal ?? (given ? AbortSignal.any([given, timeout]) : timeout);
    let response: Response;
    try {
      response = await fetch(new URL(path, this.url), {
        method,
        body,
        signal,
        // Not followed: a redirect could carry the token and the scan anywhere.
        redirect: "manual",
        headers: {
          ...(token ? { Authorization: `Bearer ${token}` } : {}),
          ...(body === undefined ? {} : { "Content-Type": type }),
          ...headers,
        },
      });
    } catch (cause) {
      if (given?.aborted) throw given.reason;
      throw this.unreachable(cause);
    }
    this.#reached = true;
    if (response.ok) return response;
    throw await this.#toServiceError(response);
  }

  async #toServiceError(response: Response): Promise<ServiceError> {
    const { status, headers } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      return new ServiceError(`${this.url.host} redirects to another address: give that one to --server`, {
        code: "redirected",
        retryable: false,
        status,
      });
    }
    const parsed = errorBodySchema.safeParse(tryParseJson(await this.readText(response).catch(() => "")));
    const { code, message } = parsed.success
      ? parsed.data.error
      : { code: "bad_answer", message: `it answers ${status}; check that the job service is there` };
    const advice = status === 401 ? "; give it with --token or TILEWRIGHT_TOKEN" : "";
    return new ServiceError(`${this.url.host}: ${message}${advice}`, {
      code,
      status,
      // Two attempts overlapped: the part is complete once it is sent again.
      retryable: RETRYABLE_STATUS.has(status) || code === "part_overtaken",
      retryAfterMs: parseRetryAfter(headers.get("Retry-After"), Date.now()),
    });
  }

  parse<T>(schema: z.ZodType<T>, text: string): T {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw this.unexpectedResponse("it is no JSON", false, cause);
    }
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    const { path, message } = parsed.error.issues[0]!;
    throw this.unexpectedResponse(`${path.join(".")}: ${message}`, false);
  }

  unexpectedResponse(reason: string, retryable: boolean, cause?: unknown): ServiceError {
    return new ServiceError(`${this.url.host} does not answer as a job service of this version: ${reason}`, {
      code: "bad_answer",
      retryable,
      cause,
    });
  }

  otherFile(name: string, reason: string, retryable: boolean): ServiceError {
    return new ServiceError(`${this.url.host}: ${name} ${reason}`, { code: "bad_answer", retryable });
  }

  unreachable(cause: unknown): ServiceError {
    return new ServiceError(
      `cannot reach ${hostAndPort(this.url)} (${describeTransportError(cause)}); check the address and that the service runs`,
      { code: "unreachable", retryable: true, cause },
    );
  }
}
