import type { DurableObjectNamespace } from "@cloudflare/workers-types";
import type { Bindings } from "../context/bindings.ts";
import type { UploadLedger } from "./upload-ledger.ts";
import { UPLOAD_ID } from "./upload-plan.ts";

/** The calls of a ledger as they are made from outside the object. */
export type UploadLedgerStub = Pick<
  UploadLedger,
  "create" | "read" | "begin" | "record" | "addresses" | "complete" | "told" | "conclude" | "abort"
>;

export function uploadLedger(ledgers: DurableObjectNamespace, id: string): UploadLedgerStub {
  return ledgers.get(ledgers.idFromName(id)) as unknown as UploadLedgerStub;
}

/** Tells an upload which job it started; the client that sent it asks for that. */
export async function recordJob(env: Bindings, uploadId: string, job: string): Promise<void> {
  await conclude(env, uploadId, { job });
}

/** Tells an upload in a sentence why it started no job. */
export async function recordRefusal(env: Bindings, uploadId: string, refusal: string): Promise<void> {
  await conclude(env, uploadId, { refusal });
}

async function conclude(
  env: Bindings,
  uploadId: string,
  outcome: { job: string } | { refusal: string },
): Promise<void> {
  // Objects come by other ways too: then there is nobody to tell.
  if (env.UPLOADS && UPLOAD_ID.test(uploadId)) await uploadLedger(env.UPLOADS, uploadId).conclude(outcome);
}
