import type { JobState } from "../../../contracts/job-request.ts";
import type { TaskKind } from "../../shared/ledger-port.ts";

/** One part of a job: tasks of one kind, and the job's state while they run. */
export interface JobPhase {
  kind: TaskKind;
  state: JobState;
}

/** In the order in which a job goes through them. */
export const JOB_PHASES: readonly JobPhase[] = [
  { kind: "plan", state: "planning" },
  { kind: "shard", state: "mapping" },
  { kind: "merge", state: "merging" },
  { kind: "finish", state: "finishing" },
];
