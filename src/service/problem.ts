import { InferenceError } from "../inference/errors.ts";
import { ModelPackageError } from "../model-package/errors.ts";
import { StorageError } from "../storage/errors.ts";
import { WireFormatError } from "../tiling/wire/wire-message.ts";

/** Every status the services answer an error with. */
export type ProblemStatus =
  | 400
  | 401
  | 403
  | 404
  | 405
  | 408
  | 409
  | 411
  | 412
  | 413
  | 415
  | 416
  | 422
  | 500
  | 503
  | 504
  | 507;

export interface ProblemBody {
  error: { code: string; message: string };
}

/** A refusal with its HTTP status; `message` is a sentence for the caller. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly status: ProblemStatus;
  readonly code: string;
  readonly headers: Record<string, string>;
  constructor(status: ProblemStatus, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** How a problem is told. */
export function bodyOf({ code, message }: Problem): ProblemBody {
  return { error: { code, message } };
}

/** Answers a route's other methods. */
export function methodNotAllowed(method: string): () => never {
  return () => {
    throw new Problem(405, "method_not_allowed", `only ${method} is answered here`, { Allow: method });
  };
}

/** The one place where errors become statuses. What is not ours is answered with no detail. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof WireFormatError) return new Problem(400, "bad_message", error.message);
  if (error instanceof InferenceError) return new Problem(500, "inference_failed", error.message);
  if (error instanceof ModelPackageError) return new Problem(503, "model_unusable", error.message);
  if ((error as Error | undefined)?.name === "TimeoutError") {
    return new Problem(
      504,
      "source_timeout",
      "the source did not answer in time: check that it can be read, or try again later",
    );
  }
  if (error instanceof StorageError) {
    return new Problem(
      503,
      "storage_unavailable",
      "the storage behind the service cannot be read; try again later",
      { "Retry-After": "5" },
    );
  }
  return new Problem(500, "internal", "something failed that should not; the service's log has more");
}
