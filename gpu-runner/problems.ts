import { InferenceError } from "../src/inference/errors.ts";
import { HttpError, toHttpError } from "../src/service/http-error.ts";
import { RunnerError } from "./errors.ts";

/** The response to an error. Messages of the runtime may name local files: they go to the log only. */
export function runnerProblem(error: unknown): HttpError {
  if (error instanceof RunnerError) {
    switch (error.code) {
      case "busy":
        return new HttpError(503, "busy", error.message, { "Retry-After": "1" });
      case "draining":
        return new HttpError(503, "draining", error.message, { "Retry-After": "30", Connection: "close" });
      case "out_of_memory":
        return new HttpError(507, "out_of_memory", error.message, { "Retry-After": "30" });
    }
  }
  if (error instanceof InferenceError) {
    return new HttpError(500, "inference_failed", "inference failed; see the log of the runner");
  }
  return toHttpError(error);
}
