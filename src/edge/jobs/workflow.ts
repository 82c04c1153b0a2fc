import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { isFinal, type JobState } from "../../orchestrator/job-request.ts";
import { planMergeBlocks } from "../../orchestrator/merge-block.ts";
import { planShards } from "../../tiling/shards.ts";
import { ledgerOf, type TaskKind } from "../shared/ledger-port.ts";
import { readPlan } from "../shared/read-plan.ts";
import type { Bindings } from "./bindings.ts";
import { sendCallback } from "./callback.ts";
import { removeWork } from "./remove-work.ts";
import { sendTasks } from "./send-tasks.ts";

/** Ids that one call of the ledger takes. */
const EXPECT_BATCH = 5000;
/** A cohort may wait long for its turn; a lost event is met by the ledger's alarm, not by this. */
const LONGEST_WAIT = "30 days";
/** Longer than a Worker may be at a message: 15 minutes. */
const LATE_SECONDS = 960;
const RETRIES = { retries: { limit: 10, delay: "5 seconds", backoff: "exponential" } } as const;

/**
 * One job from plan to callback. It computes nothing: each stage is sent as tasks, and the ledger says when all of them
 * are done. Every step may be repeated, and so may the whole.
 */
export class JobWorkflow extends WorkflowEntrypoint<Bindings> {
  override async run(event: Readonly<WorkflowEvent<unknown>>, step: WorkflowStep): Promise<JobState> {
    const job = event.instanceId;
    let state: JobState = "planning";
    for (const kind of ["plan", "shard", "merge", "finish"] as const) {
      state = await this.#stage(job, step, kind);
      if (isFinal(state)) break;
    }
    await step.do("remove work", RETRIES, () => removeWork(this.env, job, state));
    try {
      await step.do("callback", RETRIES, () => sendCallback(this.env, job));
    } catch (error) {
      console.warn(`job ${job}: its callback was not taken (${(error as Error).message})`);
    }
    // What was under way when the job ended writes once more.
    await step.sleep("wait for late tasks", lateSeconds(this.env) * 1000);
    await step.do("remove late work", RETRIES, () => this.#removeLate(job, state));
    return state;
  }

  /** A job that was started over meanwhile has a Workflow that started over with it: this is for the moment between. */
  async #removeLate(job: string, state: JobState): Promise<number> {
    const now = (await ledgerOf(this.env.LEDGERS!, job).status())?.state;
    return now === state ? removeWork(this.env, job, state) : 0;
  }

  /** Sends the tasks of a stage that are not done and waits for them. @returns the job's state after it */
  async #stage(job: string, step: WorkflowStep, kind: TaskKind): Promise<JobState> {
    const { waits, state } = await step.do(`send ${kind}`, RETRIES, () => this.#send(job, kind));
    if (!waits) return state;
    const told = await step.waitForEvent<{ state: JobState }>(`wait for ${kind}`, {
      type: `${kind}-done`,
      timeout: LONGEST_WAIT,
    });
    return told.payload.state;
  }

  async #send(job: string, kind: TaskKind): Promise<{ waits: boolean; state: JobState }> {
    const ledger = ledgerOf(this.env.LEDGERS!, job);
    const status = await ledger.status();
    if (!status) return { waits: false, state: "failed" };
    if (isFinal(status.state)) return { waits: false, state: status.state };
    const ids = await this.#ids(job, kind);
    let pending = 0;
    for (let i = 0; i < ids.length; i += EXPECT_BATCH) {
      const left = await ledger.expect(kind, ids.slice(i, i + EXPECT_BATCH), ids.length);
      pending += left.length;
      await sendTasks(this.env, job, kind, left);
    }
    if (pending > 0) return { waits: true, state: status.state };
    return { waits: false, state: (await ledger.status())!.state };
  }

  async #ids(job: string, kind: TaskKind): Promise<number[]> {
    if (kind === "plan" || kind === "finish") return [0];
    const { plan } = await readPlan(this.env.RESULTS!, job);
    if (kind === "merge") return planMergeBlocks(plan).map((block) => block.id);
    return [...planShards(plan.grid, plan.kept, plan.shardBlock)].map((shard) => shard.id);
  }
}

function lateSeconds({ LATE_SECONDS: seconds }: Bindings): number {
  return Number(seconds) || LATE_SECONDS;
}
