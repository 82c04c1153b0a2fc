import { InferenceError } from "../../inference/errors.ts";
import { ModelPackageError } from "../../model-package/errors.ts";
import { StorageError } from "../../storage/errors.ts";
import { WireFormatError } from "../../tiling/wire-message.ts";

/** Every status this Worker answers an error with. */
export type ProblemStatus = 400 | 401 | 403 | 404 | 405 | 409 | 411 | 412 | 413 | 415 | 416 | 422 | 500 | 503;

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

/** The one place where errors become statuses. What is not ours is answered with no detail. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof WireFormatError) return new Problem(400, "bad_message", error.message);
  if (error instanceof InferenceError) return new Problem(500, "inference_failed", error.message);
  if (error instanceof ModelPackageError) return new Problem(503, "model_unusable", error.message);
  if (error instanceof StorageError) {
    return new Problem(
      503,
      "storage_unavailable",
      "the bucket of the model cannot be read; try again later",
      {
        "Retry-After": "5",
      },
    );
  }
  return new Problem(500, "internal", "something failed that should not; the Worker's log has more");
}
