import { TilewrightError } from "../image/tilewright-error.ts";

/** The output directory cannot take this run; `message` says why and what to do. */
export class OutputError extends TilewrightError {
  override readonly name: string = "OutputError";
}
