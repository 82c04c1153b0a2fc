/**
 * Replaces the module `cloudflare:workers` in the simulation: the two base classes, which only store their arguments.
 */
export class DurableObject<Env> {
  protected readonly ctx: unknown;
  protected readonly env: Env;

  constructor(ctx: unknown, env: Env) {
    this.ctx = ctx;
    this.env = env;
  }
}

export class WorkflowEntrypoint<Env> extends DurableObject<Env> {}
