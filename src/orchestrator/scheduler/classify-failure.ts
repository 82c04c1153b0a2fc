import { InferenceError, RemoteError } from "../../inference/errors.ts";

/** What a failed request says about its backend. */
export interface Verdict {
  /**
   * "busy": it has no room now. "retry": it may pass. "smaller": fewer windows at a time may fit. "expel": it is not to
   * be trusted with this job, or can never do it.
   */
  kind: "busy" | "retry" | "smaller" | "expel";
  code: string;
  retryAfterMs?: number;
}

export function verdictOf(error: unknown, windows: number): Verdict {
  if (error instanceof RemoteError) {
    const { code, retryAfterMs } = error;
    if (code === "busy" || code === "draining" || error.status === 429)
      return { kind: "busy", code, retryAfterMs };
    if (code === "out_of_memory") return { kind: windows > 1 ? "smaller" : "expel", code };
    return { kind: error.retryable ? "retry" : "expel", code, retryAfterMs };
  }
  if ((error as Error)?.name === "TimeoutError") return { kind: "retry", code: "timeout" };
  return { kind: "expel", code: error instanceof InferenceError ? "inference_failed" : "unexpected" };
}
