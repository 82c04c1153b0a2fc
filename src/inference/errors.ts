/** A backend could not run the model or answered with something that is no segmentation. */
export class InferenceError extends Error {
  override readonly name = "InferenceError";
}

/** A service that segments could not be reached, refused, or answered with something else than was asked for. */
export class RemoteError extends Error {
  override readonly name = "RemoteError";
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  /** The service's own word for what went wrong; "unreachable" and "bad_answer" are ours. */
  readonly code: string;
  /** Whether the same request may succeed later, or at another place. */
  readonly retryable: boolean;
  /** When the service wants to be asked again, where it said so. */
  readonly retryAfterMs: number | undefined;
  constructor(
    message: string,
    options: {
      code: string;
      retryable: boolean;
      status?: number;
      retryAfterMs?: number;
      cause?: unknown;
    },
  ) {
    super(message, { cause: options.cause });
    this.status = options.status;
    this.code = options.code;
    this.retryable = options.retryable;
    this.retryAfterMs = options.retryAfterMs;
  }
}
