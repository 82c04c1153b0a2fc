import { JobError } from "../orchestrator/errors.ts";

/** The manifest is invalid; `problems` lists each problem with its line. */
export class CohortManifestError extends JobError {
  override readonly name = "CohortManifestError";
  readonly problems: readonly string[];

  constructor(name: string, problems: readonly string[]) {
    const shown = problems.slice(0, SHOWN);
    const more = problems.length > SHOWN ? `\n  and ${problems.length - SHOWN} more` : "";
    const count = problems.length === 1 ? "a problem" : `${problems.length} problems`;
    super(`${name} has ${count}; nothing was written:\n  ${shown.join("\n  ")}${more}`);
    this.problems = problems;
  }
}

/** Problems in the message. Further ones are only counted. */
const SHOWN = 100;
