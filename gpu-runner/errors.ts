/** The runner cannot serve a request now; a retry later, or another runner, may. */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
  readonly code: "busy" | "draining" | "out_of_memory";
  constructor(code: RunnerError["code"], message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}
