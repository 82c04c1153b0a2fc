import { TilewrightError } from "../image/tilewright-error.ts";

/** The job service could not be reached, or rejected a request; `message` is one sentence. */
export class ServiceError extends TilewrightError {
  override readonly name = "ServiceError";
  /** HTTP status, if there was a response. */
  readonly status: number | undefined;
  /** The service's error code; "unreachable" and "bad_answer" are set by the client. */
  readonly code: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** Retry-After of the response. */
  readonly retryAfterMs: number | undefined;
  constructor(
    message: string,
    options: { code: string; retryable: boolean; status?: number; retryAfterMs?: number; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.status = options.status;
    this.code = options.code;
    this.retryable = options.retryable;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The job ended without results. */
export class JobFailedError extends TilewrightError {
  override readonly name = "JobFailedError";
}

/** Turns a 404 into undefined; throws any other error. */
export function undefinedIfNotFound(error: unknown): undefined {
  if (error instanceof ServiceError && error.status === 404) return undefined;
  throw error;
}

export function hostAndPort({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
}

/** @returns undefined for text that is not JSON */
export function tryParseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
