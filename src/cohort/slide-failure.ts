import path from "node:path";
import type { FailureCode, ScanFailure } from "../contracts/failure-codes.ts";
import { EXIT, toExitStatus } from "../exit/exit-status.ts";
import { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
import { InferenceError, RemoteError } from "../inference/errors.ts";
import { DirectoryLockedError } from "../local/directory-lock.ts";
import { JobError, NoTissueError } from "../orchestrator/errors.ts";
import { ObjectChangedError, StorageError } from "../storage/errors.ts";
import { parseSourceAddress } from "../storage/source-address.ts";

/** Classifies the error of a scan; undefined for one that would stop every other scan too. */
export function classifySlideFailure(
  error: unknown,
  places: readonly (string | undefined)[],
): ScanFailure | undefined {
  const { message, exitCode } = toExitStatus(error);
  const failed = (code: FailureCode, reason = message) => ({ code, reason: redactPaths(reason, places) });
  if (error instanceof DirectoryLockedError)
    return failed("busy", "another run is at the same scan: run again later");
  // A full disk or an abort stops every scan.
  if (exitCode === EXIT.output || exitCode === EXIT.interrupted) return undefined;
  if (error instanceof ImageNotFoundError) return failed("missing");
  if (error instanceof ImageFormatError) return failed("unreadable");
  if (error instanceof ObjectChangedError) return failed("changed");
  if (error instanceof StorageError) return failed(error.retryable ? "storage" : "unreadable");
  if (error instanceof NoTissueError) return failed("no-tissue");
  if (error instanceof JobError) return failed("refused");
  if (error instanceof InferenceError || error instanceof RemoteError) return failed("backend");
  return failed("unexpected", "an unexpected fault: segment this scan alone to see more");
}

/** Removes directories of the scan, its mask and the results; file names stay. */
function redactPaths(text: string, places: readonly (string | undefined)[]): string {
  let plain = text;
  for (const place of places) {
    if (place === undefined) continue;
    const address = parseSourceAddress(place);
    if (address.scheme === "file") {
      const directory = path.dirname(path.resolve(address.path));
      if (directory !== "/")
        plain = plain.replaceAll(`${directory}${path.sep}`, "").replaceAll(directory, "…");
    } else if (address.scheme === "http") {
      // The query of a signed address grants access to the scan.
      if (address.search !== "")
        plain = plain.replaceAll(`?${address.search}`, "").replaceAll(address.search, "…");
    }
  }
  return plain.replaceAll(/\s+/g, " ").slice(0, 500);
}
