/** The used part of the runtime's module. Its full types would replace the web's types in this folder. */
declare module "cloudflare:workers" {
  import type { DurableObjectState } from "@cloudflare/workers-types";

  export abstract class DurableObject<Env = unknown> {
    protected readonly ctx: DurableObjectState;
    protected readonly env: Env;
    constructor(ctx: DurableObjectState, env: Env);
    alarm?(): Promise<void>;
  }

  export interface WorkflowEvent<T> {
    payload: Readonly<T>;
    timestamp: Date;
    instanceId: string;
  }

  export interface WorkflowStepConfig {
    retries?: { limit: number; delay: string | number; backoff?: "constant" | "linear" | "exponential" };
    timeout?: string | number;
  }

  export interface WorkflowStep {
    do<T>(name: string, config: WorkflowStepConfig, work: () => Promise<T>): Promise<T>;
    sleep(name: string, duration: string | number): Promise<void>;
    waitForEvent<T>(
      name: string,
      options: { type: string; timeout?: string | number },
    ): Promise<{ payload: T }>;
  }

  export abstract class WorkflowEntrypoint<Env = unknown, T = unknown> {
    protected readonly env: Env;
    run(event: Readonly<WorkflowEvent<T>>, step: WorkflowStep): Promise<unknown>;
  }
}
