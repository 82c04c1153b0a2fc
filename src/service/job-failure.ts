import { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
import { InferenceError, RemoteError } from "../inference/errors.ts";
import { ModelPackageError } from "../model-package/errors.ts";
import { JobError, NoTissueError } from "../orchestrator/errors.ts";
import { ObjectChangedError, StorageError } from "../storage/errors.ts";
import { HttpError } from "./http-error.ts";

/** Why a job ends; undefined where another attempt may succeed. */
export function terminalFailure(error: unknown): { code: string; message: string } | undefined {
  if (error instanceof ObjectChangedError) {
    return {
      code: "source_changed",
      message: "the source was replaced while the job ran: start the job again",
    };
  }
  if (error instanceof ImageFormatError) return { code: "source_unreadable", message: error.message };
  if (error instanceof ImageNotFoundError) return { code: "source_missing", message: error.message };
  if (error instanceof StorageError && !error.retryable)
    return { code: "storage_refused", message: error.message };
  if (error instanceof NoTissueError) return { code: "no_tissue", message: error.message };
  if (error instanceof JobError) return { code: "job_refused", message: error.message };
  if (error instanceof HttpError && error.status < 500) return { code: error.code, message: error.message };
  return undefined;
}

/** Logs an error under an id. @returns why an attempt failed, for users; unknown errors give the id only */
export function publicMessage(error: unknown, log: (id: string, error: unknown) => void): string {
  const id = crypto.randomUUID();
  log(id, error);
  if (
    error instanceof StorageError ||
    error instanceof InferenceError ||
    error instanceof RemoteError ||
    error instanceof ModelPackageError
  ) {
    return error.message;
  }
  if (error instanceof HttpError) return error.message;
  if ((error as Error)?.name === "TimeoutError") return "the source did not answer in time";
  return `internal error; see the service's log under ${id}`;
}
