import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { isFinal, type JobState } from "../../../contracts/job-request.ts";
import { planMergeBlocks, shardsOfBlock } from "../../../orchestrator/map/merge-block.ts";
import { planShards } from "../../../tiling/grid/shards.ts";
import { WireFormatError } from "../../../tiling/wire/wire-message.ts";
import { getLedger, type MergeNeeds, type TaskKind } from "../../shared/ledger-port.ts";
import { readPlan } from "../../shared/read-plan.ts";
import type { Bindings } from "../context/bindings.ts";
import { sendCallback } from "./callback.ts";
import { JOB_PHASES, type JobPhase } from "./job-phase.ts";
import { removeWork } from "./remove-work.ts";

/** Maximum number of ids in one call of the ledger. */
const REGISTER_BATCH = 5000;
/** Long, because a job may wait for others. The ledger's alarm handles lost events, not this timeout. */
const MAX_WAIT = "30 days";
/** Longer than a Worker may process a message: 15 minutes. */
const LATE_SECONDS = 960;
const RETRIES = { retries: { limit: 10, delay: "5 seconds", backoff: "exponential" } } as const;

/**
 * Runs one job from plan to callback. It computes nothing: it dispatches each phase as tasks and waits for the ledger. Every
 * step is idempotent, and so is the whole.
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
      console.warn(`job ${job}: its callback failed (${(error as Error).message})`);
    }
    // Tasks that ran when the job ended may still write.
    await step.sleep("wait for late tasks", lateSeconds(this.env) * 1000);
    await step.do("remove late work", RETRIES, () => this.#remove(job));
    return state;
  }

  /** Removes the objects of a job that has ended, unless it was started over meanwhile. */
  async #remove(job: string): Promise<number> {
    const state = await this.#getState(job);
    return isFinal(state) ? removeWork(this.env, job, state) : 0;
  }

  /** Dispatches the open tasks of a phase and waits for them. @returns the job's state after it */
  async #runPhase(job: string, step: WorkflowStep, { kind, state: during }: JobPhase): Promise<JobState> {
    const sent = await step.do(`send ${kind}`, RETRIES, () => this.#dispatch(job, kind));
    let state = sent.state;
    for (let n = 1; sent.waits && state === during; n++) {
      await step.waitForEvent(`wait for ${kind} ${n}`, { type: `${kind}-done`, timeout: MAX_WAIT });
      // Ask the ledger, because the event may come from an earlier run that was cancelled and started over.
      state = await step.do(`look after ${kind} ${n}`, RETRIES, () => this.#getState(job));
    }
    return state;
  }

  async #getState(job: string): Promise<JobState> {
    return (await getLedger(this.env.LEDGERS!, job).status())?.state ?? "failed";
  }

  async #dispatch(job: string, kind: TaskKind): Promise<{ waits: boolean; state: JobState }> {
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
    if (kind === "shard") await this.#registerMerges(job);
    if ((await ledger.dispatch(kind)) > 0) return { waits: true, state: status.state };
    return { waits: false, state: (await ledger.status())!.state };
  }

  /** Merges are known before the first shard, so that each of them starts as soon as its shards are done. */
  async #registerMerges(job: string): Promise<void> {
    const ledger = getLedger(this.env.LEDGERS!, job);
    const merges = await this.merges(job);
    for (let i = 0; i < merges.length; i += REGISTER_BATCH)
      await ledger.registerMerges(merges.slice(i, i + REGISTER_BATCH), merges.length);
  }

  /** The merges of a job and the shards that they read. */
  protected async merges(job: string): Promise<MergeNeeds[]> {
    const { plan } = await readPlan(this.env.RESULTS!, job);
    return planMergeBlocks(plan).map((block) => ({
      id: block.id,
      shards: Array.from(shardsOfBlock(plan, block), ({ shard }) => shard.id),
    }));
  }

  /** Ids of the tasks of a phase, ascending. */
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
