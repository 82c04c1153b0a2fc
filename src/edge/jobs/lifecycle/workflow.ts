import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { isFinal, type JobState } from "../../../contracts/job-request.ts";
import { planMergeBlocks } from "../../../orchestrator/map/merge-block.ts";
import { planShards } from "../../../tiling/grid/shards.ts";
import { WireFormatError } from "../../../tiling/wire/wire-message.ts";
import { getLedger, type TaskKind } from "../../shared/ledger-port.ts";
import { readPlan } from "../../shared/read-plan.ts";
import type { Bindings } from "../context/bindings.ts";
import { sendCallback } from "./callback.ts";
import { JOB_PHASES, type JobPhase } from "./job-phase.ts";
import { removeWork } from "./remove-work.ts";

/** Ids that one call of the ledger takes. */
const REGISTER_BATCH = 5000;
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
    for (const phase of JOB_PHASES) {
      state = await this.#runPhase(job, step, phase);
      if (isFinal(state)) break;
    }
    await step.do("remove work", RETRIES, () => this.#remove(job));
    try {
      await step.do("callback", RETRIES, () => sendCallback(this.env, job));
    } catch (error) {
      console.warn(`job ${job}: its callback was not taken (${(error as Error).message})`);
    }
    // What was under way when the job ended writes once more.
    await step.sleep("wait for late tasks", lateSeconds(this.env) * 1000);
    await step.do("remove late work", RETRIES, () => this.#remove(job));
    return state;
  }

  /** Of a job that has ended, and was not started over meanwhile. */
  async #remove(job: string): Promise<number> {
    const state = await this.#stateOf(job);
    return isFinal(state) ? removeWork(this.env, job, state) : 0;
  }

  /** Sends the tasks of a stage that are not done and waits for them. @returns the job's state after it */
  async #runPhase(job: string, step: WorkflowStep, { kind, state: during }: JobPhase): Promise<JobState> {
    const sent = await step.do(`send ${kind}`, RETRIES, () => this.#send(job, kind));
    let state = sent.state;
    for (let n = 1; sent.waits && state === during; n++) {
      await step.waitForEvent(`wait for ${kind} ${n}`, { type: `${kind}-done`, timeout: LONGEST_WAIT });
      // The ledger has the word: the event may be of a run before, that was cancelled and started over.
      state = await step.do(`look after ${kind} ${n}`, RETRIES, () => this.#stateOf(job));
    }
    return state;
  }

  async #stateOf(job: string): Promise<JobState> {
    return (await getLedger(this.env.LEDGERS!, job).status())?.state ?? "failed";
  }

  async #send(job: string, kind: TaskKind): Promise<{ waits: boolean; state: JobState }> {
    const ledger = getLedger(this.env.LEDGERS!, job);
    const status = await ledger.status();
    if (!status) return { waits: false, state: "failed" };
    if (isFinal(status.state)) return { waits: false, state: status.state };
    let ids: number[];
    try {
      ids = await this.ids(job, kind);
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof WireFormatError)) throw error;
      await ledger.fail("work_lost", "the plan of the job was removed or damaged: start it again");
      return { waits: false, state: "failed" };
    }
    for (let i = 0; i < ids.length; i += REGISTER_BATCH) {
      await ledger.register(kind, ids.slice(i, i + REGISTER_BATCH), ids.length);
    }
    if ((await ledger.dispatch(kind)) > 0) return { waits: true, state: status.state };
    return { waits: false, state: (await ledger.status())!.state };
  }

  /** Of the tasks of a stage, rising. */
  protected async ids(job: string, kind: TaskKind): Promise<number[]> {
    if (kind === "plan" || kind === "finish") return [0];
    const { plan } = await readPlan(this.env.RESULTS!, job);
    if (kind === "merge") return planMergeBlocks(plan).map((block) => block.id);
    return [...planShards(plan.grid, plan.kept, plan.shardBlock)].map((shard) => shard.id);
  }
}

function lateSeconds({ LATE_SECONDS: seconds }: Bindings): number {
  return Number(seconds) || LATE_SECONDS;
}
