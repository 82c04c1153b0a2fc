/** The job cannot be done as asked; `message` is one sentence that says what to change. */
export class JobError extends Error {
  override readonly name = "JobError";
}
