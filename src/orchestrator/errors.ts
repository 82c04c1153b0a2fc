/** The job cannot be done as asked; `message` is one sentence that says what to change. */
export class JobError extends Error {
  override readonly name: string = "JobError";
}

/** There is nothing to segment in the region: a finding about the slide as much as a fault of the settings. */
export class NoTissueError extends JobError {
  override readonly name = "NoTissueError";
}
