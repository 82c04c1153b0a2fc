import { statSync } from "node:fs";
import { basename } from "node:path";
import { ImageNotFoundError } from "../../../image/errors.ts";
import { JobError } from "../../../orchestrator/errors.ts";
import { parseSourceAddress } from "../../../storage/source-address.ts";
import type { JobClient } from "../../job-client.ts";
import { scanAt, sendScan } from "../../upload.ts";
import type { Journal } from "../journal.ts";
import { digest } from "../run-cohort.ts";

/** Whether a source lies on this machine. */
export function isLocal(source: string): boolean {
  return parseSourceAddress(source).scheme === "file";
}

/**
 * Brings a local file to the service, once: the journal knows those that are there, and an upload that was cut off goes
 * on. No job starts with it.
 * @returns the source as the service names it
 */
export async function uploadSource(
  client: JobClient,
  journal: Journal,
  source: string,
  { signal, onBegin }: { signal: AbortSignal | undefined; onBegin: () => void },
): Promise<string> {
  const address = parseSourceAddress(source);
  const path = address.scheme === "file" ? address.path : source;
  const stats = statSync(path, { throwIfNoEntry: false });
  const name = basename(path);
  // As it is told where the scan is segmented on this machine.
  if (!stats) throw new ImageNotFoundError(name, `${name} does not exist; check its name and place`);
  if (stats.isDirectory()) {
    throw new JobError(`${name} is a directory: put it into the service's bucket and name that as source`);
  }
  const key = digest([path, stats.size, stats.mtimeMs]);
  const known = journal.states.get(key);
  if (known?.status === "uploaded") return known.source;
  onBegin();
  const sent = await sendScan(client, { path, before: scanAt(path), request: null }, { signal });
  journal.append({ at: new Date().toISOString(), type: "uploaded", key, source: sent.source });
  sent.state.forget();
  return sent.source;
}
