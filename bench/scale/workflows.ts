import type { Bindings } from "../../src/edge/jobs/context/bindings.ts";
import type { MergeNeeds, TaskKind } from "../../src/edge/shared/ledger-port.ts";
import type { LoadedWorkers } from "./load-workers.ts";
import type { Platform } from "./platform.ts";
import type { VirtualTime } from "./virtual-time.ts";

const MAX_STEPS = 10_000;
const MAX_RESULT_BYTES = 2 ** 20;
const FIRST_RETRY_MS = 5000;

interface Instance {
  /** Raised by a restart: what waits in a run before waits for ever. */
  run: number;
  waiting: Map<string, (event: { payload: unknown }) => void>;
  /** Events that nobody waited for yet. */
  arrived: Map<string, { payload: unknown }>;
}

/** The platform's Workflows, running the real one: each step takes its time, is tried again, and may end an instance's memory. */
export class WorkflowHost {
  readonly #time: VirtualTime;
  readonly #platform: Platform;
  readonly #Workflow: new (
    ctx: unknown,
    env: Bindings,
  ) => InstanceType<LoadedWorkers["JobWorkflow"]>;
  readonly #ended: (job: string) => void;
  readonly #instances = new Map<string, Instance>();
  #createFree = 0;
  env: Bindings = {};
  created = 0;
  restarted = 0;
  steps = 0;
  createMs = 0;

  /** @param idsOf the tasks of a job's stage, and the shards of its merges, which the Workflow would read from the plan in the bucket */
  constructor(options: {
    time: VirtualTime;
    platform: Platform;
    workers: LoadedWorkers;
    idsOf: (job: string, kind: TaskKind) => number[];
    mergesOf: (job: string) => MergeNeeds[];
    ended: (job: string) => void;
  }) {
    this.#time = options.time;
    this.#platform = options.platform;
    this.#ended = options.ended;
    this.#Workflow = class extends options.workers.JobWorkflow {
      protected override async ids(job: string, kind: TaskKind): Promise<number[]> {
        return options.idsOf(job, kind);
      }

      protected override async merges(job: string): Promise<MergeNeeds[]> {
        return options.mergesOf(job);
      }
    } as never;
  }

  /** As a `Workflow` binding is used. */
  get binding(): NonNullable<Bindings["JOBS"]> {
    return {
      create: async ({ id }: { id: string }) => {
        if (this.#instances.has(id)) throw new Error(`there is a Workflow ${id} already`);
        const takes = 1000 / this.#platform.workflowsPerSecond;
        this.#createFree = Math.max(this.#createFree, this.#time.now()) + takes;
        this.createMs += takes;
        await this.#time.wait(this.#createFree - this.#time.now());
        this.created++;
        const instance: Instance = { run: 0, waiting: new Map(), arrived: new Map() };
        this.#instances.set(id, instance);
        this.#start(id, instance);
      },
      get: async (id: string) => {
        const instance = this.#instances.get(id);
        if (!instance) throw new Error(`there is no Workflow ${id}`);
        return {
          restart: async () => {
            this.restarted++;
            instance.run++;
            instance.waiting.clear();
            instance.arrived.clear();
            this.#start(id, instance);
          },
          sendEvent: async ({ type, payload }: { type: string; payload: unknown }) => {
            this.#time.after(this.#platform.stepMs, () => {
              const then = instance.waiting.get(type);
              instance.waiting.delete(type);
              if (then) then({ payload });
              else instance.arrived.set(type, { payload });
            });
          },
        };
      },
    } as never;
  }

  #start(id: string, instance: Instance): void {
    const workflow = new this.#Workflow(undefined, this.env);
    const { run } = instance;
    const event = { instanceId: id, payload: {}, timestamp: new Date() };
    workflow.run(event, this.#stepsOf(instance)).then(
      () => {
        if (instance.run !== run) return;
        this.#instances.delete(id);
        this.#ended(id);
      },
      (error) => {
        throw new Error(`the Workflow of ${id} failed`, { cause: error });
      },
    );
  }

  #stepsOf(instance: Instance) {
    const { run } = instance;
    let steps = 0;
    const step = async () => {
      this.steps++;
      if (++steps > MAX_STEPS) throw new Error(`a Workflow has more than ${MAX_STEPS} steps`);
      await this.#time.wait(this.#platform.stepMs);
      if (instance.run !== run) await new Promise(() => {});
    };
    return {
      do: async <T>(_: string, { retries }: { retries?: { limit: number } }, work: () => Promise<T>) => {
        for (let tried = 0; ; tried++) {
          await step();
          try {
            const result = await work();
            if (JSON.stringify(result ?? null).length > MAX_RESULT_BYTES)
              throw new Error("too large a result");
            return result;
          } catch (error) {
            if (tried >= (retries?.limit ?? 0)) throw error;
            await this.#time.wait(FIRST_RETRY_MS * 2 ** tried);
          }
        }
      },
      sleep: async (_: string, ms: number) => {
        await step();
        await this.#time.wait(ms);
      },
      waitForEvent: async (_: string, { type }: { type: string }) => {
        await step();
        const arrived = instance.arrived.get(type);
        instance.arrived.delete(type);
        return arrived ?? new Promise((resolve) => instance.waiting.set(type, resolve));
      },
    } as never;
  }
}
