/** The output directory cannot take this run. */
export class OutputError extends Error {
  override readonly name = "OutputError";
}
