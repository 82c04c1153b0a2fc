import { ImageFormatError, ImageNotFoundError } from "../../image/errors.ts";
import { JobError } from "../../orchestrator/errors.ts";
import { ObjectChangedError } from "../../storage/errors.ts";
import { Problem } from "./problem.ts";

/** Why a job ends, where no other try would change it; undefined for what may pass. */
export function finalFailure(error: unknown): { code: string; message: string } | undefined {
  if (error instanceof ObjectChangedError) {
    return {
      code: "source_changed",
      message: "the source was replaced while the job ran: start the job again",
    };
  }
  if (error instanceof ImageFormatError || error instanceof ImageNotFoundError) {
    return { code: "source_unreadable", message: error.message };
  }
  if (error instanceof JobError) return { code: "job_refused", message: error.message };
  if (error instanceof Problem && error.status < 500) return { code: error.code, message: error.message };
  return undefined;
}
