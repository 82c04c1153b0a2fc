import { type Stats, statSync } from "node:fs";
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

/** How the service names a local file as it is now; undefined where it is not there or not sent yet. */
export function uploadedSource(journal: Journal, source: string): string | undefined {
  const path = pathOf(source);
  const stats = statSync(path, { throwIfNoEntry: false });
  const known = stats && journal.states.get(keyOf(path, stats));
  return known?.status === "uploaded" ? known.source : undefined;
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
  const known = uploadedSource(journal, source);
  if (known !== undefined) return known;
  const path = pathOf(source);
  const stats = statSync(path, { throwIfNoEntry: false });
  const name = basename(path);
  // As it is told where the scan is segmented on this machine.
  if (!stats) throw new ImageNotFoundError(name, `${name} does not exist; check its name and place`);
  if (stats.isDirectory()) {
    throw new JobError(`${name} is a directory: put it into the service's bucket and name that as source`);
  }
  onBegin();
  const before = scanAt(path);
  const sent = await sendScan(client, { path, before, request: null }, { signal });
  const at = new Date().toISOString();
  journal.append({ at, type: "uploaded", key: keyOf(path, before), source: sent.source });
  sent.state.forget();
  return sent.source;
}

function pathOf(source: string): string {
  const address = parseSourceAddress(source);
  return address.scheme === "file" ? address.path : source;
}

/** Names a file as it is in the journal. */
function keyOf(path: string, { size, mtimeMs }: Stats): string {
  return digest([path, size, mtimeMs]);
}
