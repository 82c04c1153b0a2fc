/** The job service could not be reached or refused; `message` is one sentence. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** The service's own word for what went wrong; "unreachable" and "bad_answer" are ours. */
  readonly code: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;
  /** How long the service asks to be left alone. */
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

/** The job came to an end without results. */
export class JobFailedError extends Error {
  override readonly name = "JobFailedError";
}

export function undefinedIfNotFound(error: unknown): undefined {
  if (error instanceof ServiceError && error.status === 404) return undefined;
  throw error;
}

export function hostAndPort({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
}

export function describeTransportError(cause: unknown): string {
  if ((cause as Error)?.name === "TimeoutError") return "it does not answer in time";
  // undici says "fetch failed" and hides the reason one level down.
  const inner = (cause as { cause?: { code?: string; message?: string } })?.cause;
  return inner?.code ?? inner?.message ?? (cause instanceof Error ? cause.message : String(cause));
}

export function tryParseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
