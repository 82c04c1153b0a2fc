import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import type { JobState, JobStatus } from "../../../contracts/job-request.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import type { Bindings } from "../context/bindings.ts";
import {
  addToList,
  keepInList,
  listKey,
  type NewestFirst,
  readList,
  removeFromList,
} from "../listing/newest-first.ts";

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

function jobList({ RESULTS }: Bindings): NewestFirst {
  return { bucket: RESULTS!, prefix: "jobs/" };
}

function toMetadata({ source }: JobDocument): { source: string } {
  return { source: source.uri.slice(0, 1024) };
}

/** Lists a job that was created. @param before its document if it had run before: that entry is replaced */
export async function addToIndex(
  env: Bindings,
  document: JobDocument,
  before: JobDocument | undefined,
): Promise<void> {
  const list = jobList(env);
  await addToList(list, document, toMetadata(document));
  if (before && listKey(list, before) !== listKey(list, document)) await removeFromList(list, before);
}

/** Lists a job that exists, unless it is listed: its creation may have been cut off. */
export async function keepInIndex(env: Bindings, document: JobDocument): Promise<void> {
  await keepInList(jobList(env), document, toMetadata(document));
}

export async function removeFromIndex(env: Bindings, document: JobDocument): Promise<void> {
  await removeFromList(jobList(env), document);
}

/** A page of jobs, newest first. A page may be short or empty although more follow: then it has a cursor. */
export async function listJobs(
  env: Bindings,
  filter: JobFilter,
  limit: number,
  cursor: string | undefined,
): Promise<IndexPage> {
  const text = filter.text?.toLowerCase();
  const { entries, ...rest } = await readList(
    jobList(env),
    {
      matches: ({ source = "" }) => text === undefined || source.toLowerCase().includes(text),
      async read(id) {
        const status = await getLedger(env.LEDGERS!, id).status();
        return status && (!filter.states || filter.states.includes(status.state)) ? status : undefined;
      },
    },
    limit,
    cursor,
  );
  return { jobs: entries, ...rest };
}
