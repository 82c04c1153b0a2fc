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
  /** A fault of ours: please report it. */
  unexpected: 1,
  /** The command or its settings do not fit the image. */
  usage: 2,
  /** The source cannot be read. */
  source: 3,
  /** The model package is damaged or computes wrongly here. */
  model: 4,
  /** The output directory cannot be written or holds something else. */
  output: 5,
  /** A job service or an edge function cannot be reached, or refuses. */
  service: 6,
  /** The job came to an end there without results; of a cohort: some scans failed. */
  job: 7,
  /** Stopped by the user; `--resume` continues. */
  interrupted: 130,
} as const;

const SYSTEM: Record<string, string> = {
  ENOSPC: "the disk is full: free some space and continue with --resume",
  EACCES: "no permission",
  EPERM: "no permission",
  EROFS: "the file system is read-only",
  ENOENT: "it is gone: something removed or renamed it meanwhile",
  ENOTDIR: "a part of the path is a file, not a directory",
  ENAMETOOLONG: "the name is too long",
  EMFILE: "too many files are open",
};

/** One sentence for a person, and the exit code for a script. */
export function toExitStatus(error: unknown): { message: string; exitCode: number } {
  if (error instanceof Error) {
    const { message } = error;
    const full = causes(error).some((e) => ["ENOSPC", "EDQUOT"].includes((e as NodeJS.ErrnoException).code!));
    if (full) return { message: SYSTEM.ENOSPC!, exitCode: EXIT.output };
    if (error instanceof JobError) return { message, exitCode: EXIT.usage };
    if (
      error instanceof ImageFormatError ||
      error instanceof ImageNotFoundError ||
      error instanceof StorageError ||
      error instanceof ObjectChangedError
    ) {
      return { message, exitCode: EXIT.source };
    }
    if (error instanceof ModelPackageError || error instanceof InferenceError) {
      return { message, exitCode: EXIT.model };
    }
    if (error instanceof OutputError || error instanceof LabelStoreMismatchError)
      return { message, exitCode: EXIT.output };
    if (error instanceof ServiceError || error instanceof RemoteError)
      return { message, exitCode: EXIT.service };
    if (error instanceof JobFailedError) return { message, exitCode: EXIT.job };
    if (error.name === "AbortError") return { message: "stopped", exitCode: EXIT.interrupted };
    const { code, path } = error as NodeJS.ErrnoException;
    if (code && SYSTEM[code]) {
      return { message: path ? `${path}: ${SYSTEM[code]}` : SYSTEM[code], exitCode: EXIT.output };
    }
    return {
      message: `unexpected: ${message} (run again with TILEWRIGHT_DEBUG=1 for the trace)`,
      exitCode: EXIT.unexpected,
    };
  }
  return { message: `unexpected: ${String(error)}`, exitCode: EXIT.unexpected };
}

function causes(error: Error): Error[] {
  return error.cause instanceof Error ? [error, ...causes(error.cause)] : [error];
}
