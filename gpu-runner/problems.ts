import { InferenceError } from "../src/inference/errors.ts";
import { Problem, problemOf } from "../src/service/problem.ts";
import { RunnerError } from "./errors.ts";

/** What the caller is told. A runtime's own words may name files of this machine: they stay in the log. */
export function runnerProblem(error: unknown): Problem {
  if (error instanceof RunnerError) {
    switch (error.code) {
      case "busy":
        return new Problem(503, "busy", error.message, { "Retry-After": "1" });
      case "draining":
        return new Problem(503, "draining", error.message, { "Retry-After": "30", Connection: "close" });
      case "out_of_memory":
        return new Problem(507, "out_of_memory", error.message, { "Retry-After": "30" });
    }
  }
  if (error instanceof InferenceError) {
    return new Problem(500, "inference_failed", "the model failed to run here; the runner's log has more");
  }
  return problemOf(error);
}
