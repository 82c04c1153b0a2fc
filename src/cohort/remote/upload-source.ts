import { readdirSync, type Stats, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { JobClient } from "../../client/job-client.ts";
import { openLocalScan, openResumeState, sendScan } from "../../client/local-scan.ts";
import { ImageNotFoundError } from "../../image/errors.ts";
import { parseSourceAddress } from "../../storage/source-address.ts";
import type { Journal } from "../journal.ts";
import { shortDigest } from "../work-key.ts";

/** Whether a source lies on this machine. */
export function isLocal(source: string): boolean {
  return parseSourceAddress(source).scheme === "file";
}

/** The service's name of a local scan in its present state; undefined if it does not exist or is not uploaded. */
export function uploadedSource(journal: Journal, source: string): string | undefined {
  const path = toLocalPath(source);
  const stats = statSync(path, { throwIfNoEntry: false });
  const known = stats && journal.states.get(localScanKey(path, stats));
  return known?.status === "uploaded" ? known.source : undefined;
}

/**
 * Uploads a local file or directory once: the journal knows what is uploaded, and an interrupted upload is resumed.
 * No job starts.
 * @returns the service's name of the source
 */
export async function uploadSource(
  client: JobClient,
  journal: Journal,
  source: string,
  { signal, onBegin }: { signal: AbortSignal | undefined; onBegin: () => void },
): Promise<string> {
  const known = uploadedSource(journal, source);
  if (known !== undefined) return known;
  const path = toLocalPath(source);
  const stats = statSync(path, { throwIfNoEntry: false });
  const name = basename(path);
  // The same message as for a scan that is segmented on this machine.
  if (!stats) throw new ImageNotFoundError(name, `${name} does not exist; check its name and place`);
  const key = localScanKey(path, stats);
  const scan = await openLocalScan(path, signal);
  onBegin();
  const state = openResumeState(client, scan, null);
  const sent = await sendScan(client, scan, state, null, { signal });
  journal.append({ at: new Date().toISOString(), type: "uploaded", key, source: sent.source });
  state.clear();
  return sent.source;
}

function toLocalPath(source: string): string {
  const address = parseSourceAddress(source);
  return address.scheme === "file" ? address.path : source;
}

/** Journal key of a local scan: from its size and time, for a directory from those of its files. */
function localScanKey(path: string, stats: Stats): string {
  if (!stats.isDirectory()) return shortDigest([path, stats.size, stats.mtimeMs]);
  const files = readdirSync(path, { recursive: true, encoding: "utf8" }).sort();
  return shortDigest([
    path,
    ...files.flatMap((file) => {
      const one = statSync(join(path, file), { throwIfNoEntry: false });
      return one?.isFile() ? [file, one.size, one.mtimeMs] : [];
    }),
  ]);
}
