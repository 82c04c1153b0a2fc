import { InferenceError, RemoteError } from "../../inference/errors.ts";

/** What a failed request says about its backend. */
export interface FailureClass {
  /**
   * "busy": the backend has no capacity now. "retryable": a retry may succeed. "too-large": fewer windows in a request
   * may fit. "fatal": the backend can never do this job, or its responses cannot be trusted.
   */
  kind: "busy" | "retryable" | "too-large" | "fatal";
  /** Key of the error count in `run.json`. */
  code: string;
  retryAfterMs?: number;
}

/** @param windows number of windows in the failed request */
export function classifyFailure(error: unknown, windows: number): FailureClass {
  if (error instanceof RemoteError) {
    const { code, retryAfterMs } = error;
    if (code === "busy" || code === "draining" || error.status === 429)
      return { kind: "busy", code, retryAfterMs };
    if (code === "out_of_memory") return { kind: windows > 1 ? "too-large" : "fatal", code };
    return { kind: error.retryable ? "retryable" : "fatal", code, retryAfterMs };
  }
  if ((error as Error)?.name === "TimeoutError") return { kind: "retryable", code: "timeout" };
  return { kind: "fatal", code: error instanceof InferenceError ? "inference_failed" : "unexpected" };
}
