import { LRUCache } from "lru-cache";
import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import { HttpError } from "../../../service/http-error.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import type { Bindings } from "../context/bindings.ts";
import { JOB_ID } from "../outputs/output-path.ts";

/** Cached documents: a job's document never changes, and every range of its source needs it. */
const KEPT = 32;
const kept = new LRUCache<string, JobDocument>({ max: KEPT });

/** @throws {HttpError} 404 where there is no such job */
export async function readJobDocument(env: Bindings, job: string): Promise<JobDocument> {
  const known = kept.get(job);
  if (known) return known;
  const document = JOB_ID.test(job) ? await getLedger(env.LEDGERS!, job).document() : undefined;
  if (!document) throw new HttpError(404, "job_missing", "there is no such job");
  kept.set(job, document);
  return document;
}
