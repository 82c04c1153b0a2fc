import { TilewrightError } from "../image/tilewright-error.ts";

/** The job is impossible as requested; `message` is one sentence that says what to change. */
export class JobError extends TilewrightError {
  override readonly name: string = "JobError";
}

/** The region has nothing to segment: a property of the slide, or a mistake in the settings. */
export class NoTissueError extends JobError {
  override readonly name = "NoTissueError";
}
