import type { JobState } from "../../../contracts/job-request.ts";
import type { TaskKind } from "../../shared/ledger-port.ts";

/** A part of a job: tasks of one kind, and its state while they run. */
export interface Stage {
  kind: TaskKind;
  state: JobState;
}

/** In the order in which a job goes through them. */
export const STAGES: readonly Stage[] = [
  { kind: "plan", state: "planning" },
  { kind: "shard", state: "mapping" },
  { kind: "merge", state: "merging" },
  { kind: "finish", state: "finishing" },
];
