import type { DurableObjectNamespace } from "@cloudflare/workers-types";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";
import type { UploadLedger } from "./upload-ledger.ts";
import { UPLOAD_ID } from "./upload-plan.ts";

/** RPC interface of the ledger of one upload. */
export type UploadLedgerStub = Pick<
  UploadLedger,
  "create" | "read" | "begin" | "record" | "addresses" | "complete" | "markPublished" | "setOutcome" | "abort"
>;

export function getUploadLedger(ledgers: DurableObjectNamespace, id: string): UploadLedgerStub {
  return ledgers.get(ledgers.idFromName(id)) as unknown as UploadLedgerStub;
}

export function noSuchUpload(): HttpError {
  return new HttpError(404, "not_found", "there is no such upload; it may have been aborted");
}

/** Records the job that an upload started; the client polls for it. */
export async function recordJob(env: Bindings, uploadId: string, job: string): Promise<void> {
  await setOutcome(env, uploadId, { job });
}

/** Records in a sentence why an upload started no job. */
export async function recordRefusal(env: Bindings, uploadId: string, refusal: string): Promise<void> {
  await setOutcome(env, uploadId, { refusal });
}

async function setOutcome(
  env: Bindings,
  uploadId: string,
  outcome: { job: string } | { refusal: string },
): Promise<void> {
  // Objects that did not come by this API have no ledger.
  if (env.UPLOADS && UPLOAD_ID.test(uploadId))
    await getUploadLedger(env.UPLOADS, uploadId).setOutcome(outcome);
}
