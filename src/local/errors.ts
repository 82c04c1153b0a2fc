/** The output directory cannot take this run; `message` says why and what to do. */
export class OutputError extends Error {
  override readonly name: string = "OutputError";
}
