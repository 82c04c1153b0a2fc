import { JobError } from "../orchestrator/errors.ts";

/** A manifest that cannot be taken as it is: every fault of it, each with its line. */
export class CohortManifestError extends JobError {
  readonly problems: readonly string[];

  constructor(name: string, problems: readonly string[]) {
    const shown = problems.slice(0, SHOWN);
    const more = problems.length > SHOWN ? `\n  and ${problems.length - SHOWN} more` : "";
    const count = problems.length === 1 ? "a problem" : `${problems.length} problems`;
    super(`${name} has ${count}; nothing was written:\n  ${shown.join("\n  ")}${more}`);
    this.problems = problems;
  }
}

/** Of more, only the number is told. */
const SHOWN = 100;
