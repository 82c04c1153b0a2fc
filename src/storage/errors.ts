import { TilewrightError } from "../image/tilewright-error.ts";

/** An object changed between two reads of one job: the caller must start again and never mix the two. */
export class ObjectChangedError extends TilewrightError {
  override readonly name = "ObjectChangedError";
  readonly key: string;
  constructor(key: string) {
    super(`${key} changed while it was being read; start the job again`);
    this.key = key;
  }
}

/** The storage could not be reached, or rejected the request. `retryable`: the same call may succeed later. */
export class StorageError extends TilewrightError {
  override readonly name = "StorageError";
  readonly retryable: boolean;
  constructor(message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.retryable = options.retryable;
  }
}

/** Why a request got no response, in a few words. */
export function describeTransportError(cause: unknown): string {
  if ((cause as Error)?.name === "TimeoutError") return "it does not answer in time";
  // undici says "fetch failed" and keeps the reason in the cause.
  const inner = (cause as { cause?: { code?: string; message?: string } })?.cause;
  return inner?.code ?? inner?.message ?? (cause instanceof Error ? cause.message : String(cause));
}
