import { InferenceError } from "../inference/errors.ts";
import { ModelPackageError } from "../model-package/errors.ts";
import { StorageError } from "../storage/errors.ts";
import { WireFormatError } from "../tiling/wire/wire-message.ts";

/** Statuses of error responses. */
export type ErrorStatus =
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

export interface ErrorBody {
  error: { code: string; message: string };
}

/** An error with its HTTP status; `message` is a sentence for the caller. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: ErrorStatus;
  readonly code: string;
  readonly headers: Record<string, string>;
  constructor(status: ErrorStatus, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** The JSON body of an error response. */
export function toErrorBody({ code, message }: HttpError): ErrorBody {
  return { error: { code, message } };
}

/** Handles the other methods of a route. */
export function methodNotAllowed(method: string): () => never {
  return () => {
    throw new HttpError(405, "method_not_allowed", `this route supports ${method} only`, { Allow: method });
  };
}

/** The one place where errors become statuses. Unknown errors give no detail. */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof WireFormatError) return new HttpError(400, "bad_message", error.message);
  if (error instanceof InferenceError) return new HttpError(500, "inference_failed", error.message);
  if (error instanceof ModelPackageError) return new HttpError(503, "model_unusable", error.message);
  if ((error as Error | undefined)?.name === "TimeoutError") {
    return new HttpError(
      504,
      "source_timeout",
      "the source did not answer in time: check that it can be read, or try again later",
    );
  }
  if (error instanceof StorageError) {
    return new HttpError(503, "storage_unavailable", "the service cannot read its storage; try again later", {
      "Retry-After": "5",
    });
  }
  return new HttpError(500, "internal", "internal error; see the service's log");
}
