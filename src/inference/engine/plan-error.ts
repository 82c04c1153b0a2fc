/** A graph that the engine cannot run: an operator outside its set, or a file that is no valid graph. */
export class PlanError extends Error {
  override readonly name = "PlanError";
}
