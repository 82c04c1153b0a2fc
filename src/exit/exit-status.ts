import { JobFailedError, ServiceError } from "../client/errors.ts";
import { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
import { InferenceError, RemoteError } from "../inference/errors.ts";
import { OutputError } from "../local/errors.ts";
import { ModelPackageError } from "../model-package/errors.ts";
import { JobError } from "../orchestrator/errors.ts";
import { ObjectChangedError, StorageError } from "../storage/errors.ts";
import { LabelStoreMismatchError } from "../writers/ome-zarr/label-store.ts";

/** Exit statuses of the command; docs/cli.md lists them. */
export const EXIT = {
  ok: 0,
  /** An internal error: please report it. */
  unexpected: 1,
  /** The command or its settings do not fit the image. */
  usage: 2,
  /** The source cannot be read. */
  source: 3,
  /** The model package is damaged, or computes wrong results on this machine. */
  model: 4,
  /** The output directory cannot be written, or holds something else. */
  output: 5,
  /** A job service or an edge function cannot be reached, or rejects the request. */
  service: 6,
  /** The job ended without results at the service; in a cohort: some scans failed. */
  job: 7,
  /** Stopped by the user; `--resume` continues. */
  interrupted: 130,
} as const;

/** The public error classes with the exit status of each. Subclasses have the status of their base class. */
const STATUS_BY_CLASS = [
  [JobError, EXIT.usage],
  [ImageFormatError, EXIT.source],
  [ImageNotFoundError, EXIT.source],
  [StorageError, EXIT.source],
  [ObjectChangedError, EXIT.source],
  [ModelPackageError, EXIT.model],
  [InferenceError, EXIT.model],
  [OutputError, EXIT.output],
  [LabelStoreMismatchError, EXIT.output],
  [ServiceError, EXIT.service],
  [RemoteError, EXIT.service],
  [JobFailedError, EXIT.job],
] as const;

const SYSTEM_ERRORS: Record<string, string> = {
  ENOSPC: "the disk is full: free some space and continue with --resume",
  EACCES: "no permission",
  EPERM: "no permission",
  EROFS: "the file system is read-only",
  ENOENT: "it is gone: something removed or renamed it meanwhile",
  ENOTDIR: "a part of the path is a file, not a directory",
  ENAMETOOLONG: "the name is too long",
  EMFILE: "too many files are open",
};
const DISK_FULL = new Set(["ENOSPC", "EDQUOT"]);

/** Turns an error into one sentence for a person and an exit status for a script. */
export function toExitStatus(error: unknown): { message: string; exitCode: number } {
  if (!(error instanceof Error)) {
    return { message: `unexpected: ${String(error)}`, exitCode: EXIT.unexpected };
  }
  const { message } = error;
  if (causes(error).some((cause) => DISK_FULL.has((cause as NodeJS.ErrnoException).code!))) {
    return { message: SYSTEM_ERRORS.ENOSPC!, exitCode: EXIT.output };
  }
  const known = STATUS_BY_CLASS.find(([type]) => error instanceof type);
  if (known) return { message, exitCode: known[1] };
  if (error.name === "AbortError") return { message: "stopped", exitCode: EXIT.interrupted };
  const { code, path } = error as NodeJS.ErrnoException;
  const reason = code && SYSTEM_ERRORS[code];
  if (reason) return { message: path ? `${path}: ${reason}` : reason, exitCode: EXIT.output };
  return {
    message: `unexpected: ${message} (run again with TILEWRIGHT_DEBUG=1 for the trace)`,
    exitCode: EXIT.unexpected,
  };
}

function causes(error: Error): Error[] {
  return error.cause instanceof Error ? [error, ...causes(error.cause)] : [error];
}
