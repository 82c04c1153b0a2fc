import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import type { JobState, JobStatus } from "../../../contracts/job-request.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import type { Bindings } from "../context/bindings.ts";

/** An entry of the list is an empty object with this prefix in RESULTS, whose key sorts by time, newest first. */
const PREFIX = "jobs/";
/** Keys count down to it, because buckets list upwards. 13 digits reach to the year 2286. */
const LAST_MILLISECOND = 9_999_999_999_999;
const ENTRY = /^jobs\/\d{13}-([0-9a-f]{32})$/;
/** Entries that one request looks at, where a filter leaves most of them out. */
const MAX_SCANNED = 500;
/** Ledgers that are asked at the same time. */
const PARALLEL = 25;

export interface JobFilter {
  /** Part of the source's address, in any case. */
  text?: string;
  states?: readonly JobState[];
}

interface IndexPage {
  jobs: JobStatus[];
  /** For the next page; undefined at the end. */
  cursor?: string;
}

function entryKey({ createdAt, id }: Pick<JobDocument, "createdAt" | "id">): string {
  return `${PREFIX}${String(LAST_MILLISECOND - Date.parse(createdAt)).padStart(13, "0")}-${id}`;
}

/** Lists a job that was created. @param before its document if it had run before: that entry is replaced */
export async function addToIndex(
  { RESULTS }: Bindings,
  document: JobDocument,
  before: JobDocument | undefined,
): Promise<void> {
  const key = entryKey(document);
  const customMetadata = { source: document.source.uri.slice(0, 1024) };
  await RESULTS!.put(key, "", { customMetadata });
  if (before && entryKey(before) !== key) await RESULTS!.delete(entryKey(before));
}

/** Lists a job that exists, unless it is listed: its creation may have been cut off. */
export async function keepInIndex(env: Bindings, document: JobDocument): Promise<void> {
  if (await env.RESULTS!.head(entryKey(document))) return;
  await addToIndex(env, document, undefined);
}

export async function removeFromIndex({ RESULTS }: Bindings, document: JobDocument): Promise<void> {
  await RESULTS!.delete(entryKey(document));
}

/** A page of jobs, newest first. A page may be short or empty although more follow: then it has a cursor. */
export async function listJobs(
  { RESULTS, LEDGERS }: Bindings,
  filter: JobFilter,
  limit: number,
  cursor: string | undefined,
): Promise<IndexPage> {
  const jobs: JobStatus[] = [];
  const text = filter.text?.toLowerCase();
  let after = cursor === undefined ? undefined : PREFIX + cursor;
  for (let scanned = 0; scanned < MAX_SCANNED; ) {
    const { objects, truncated } = await RESULTS!.list({
      prefix: PREFIX,
      limit: PARALLEL,
      ...(after !== undefined && { startAfter: after }),
      include: ["customMetadata"],
    });
    scanned += PARALLEL;
    const matching = objects.flatMap(({ key, customMetadata }) => {
      const id = ENTRY.exec(key)?.[1];
      const source = customMetadata?.source ?? "";
      return id === undefined || (text !== undefined && !source.toLowerCase().includes(text))
        ? []
        : [{ key, id }];
    });
    const statuses = await Promise.all(matching.map(({ id }) => getLedger(LEDGERS!, id).status()));
    for (const [i, status] of statuses.entries()) {
      if (!status || (filter.states && !filter.states.includes(status.state))) continue;
      jobs.push(status);
      // The rest of what was read comes with the next page.
      if (jobs.length === limit) return { jobs, cursor: matching[i]!.key.slice(PREFIX.length) };
    }
    if (!truncated) return { jobs };
    after = objects.at(-1)!.key;
  }
  return { jobs, cursor: after!.slice(PREFIX.length) };
}
