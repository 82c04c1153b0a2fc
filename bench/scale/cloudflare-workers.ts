/**
 * What the simulation puts in the place of the module `cloudflare:workers`: the two classes that ours extend, which hold what
 * they are given and do nothing.
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
