/** Why the runner does not do what it could do at another time, or what another one could. */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
  readonly code: "busy" | "draining" | "out_of_memory";
  constructor(code: RunnerError["code"], message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}
