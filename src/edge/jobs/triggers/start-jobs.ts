import { type FullJobRequest, jobRequestSchema } from "../../../contracts/job-request.ts";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";
import type { StorageEvent } from "../events/storage-event.ts";
import { createJob } from "../lifecycle/create-job.ts";
import { recordJob, recordRefusal } from "../uploads/ledger-calls.ts";
import { encodeRequest, parseUploadId, REQUEST_METADATA } from "../uploads/upload-plan.ts";
import { matchRules, parseRules, toSourceAddress } from "./rules.ts";

/** Starts the job that an event asks for: what an upload brought with it, also that there be none, else what the first rule says, else none. */
export async function startJobs(env: Bindings, event: StorageEvent): Promise<void> {
  const uploadId = event.bucket === env.SCANS_BUCKET ? parseUploadId(event.key) : undefined;
  if (event.action !== "create") return;
  try {
    const brought = uploadId === undefined ? undefined : await readUploadRequest(env, event);
    const requests =
      brought === undefined ? matchRules(parseRules(env), event) : brought === null ? [] : [brought];
    for (const request of requests) {
      const { status } = await createJob(env, request, { again: false, etag: event.etag });
      if (uploadId !== undefined) await recordJob(env, uploadId, status.id);
    }
    if (uploadId !== undefined && requests.length === 0) {
      await recordRefusal(
        env,
        uploadId,
        brought === null
          ? "the upload asks for no job: start one with POST /v1/jobs"
          : "the upload asks for no job, and no rule does: start one with POST /v1/jobs",
      );
    }
  } catch (error) {
    if (uploadId !== undefined && error instanceof HttpError && error.status < 500) {
      await recordRefusal(env, uploadId, error.message);
    }
    throw error;
  }
}

/** The job request that was given with an upload, null for none; it travels with the object, so the event alone is enough. */
async function readUploadRequest(
  env: Bindings,
  event: StorageEvent,
): Promise<FullJobRequest | null | undefined> {
  const object = await env.SCANS!.head(event.key);
  const text = object?.customMetadata?.[REQUEST_METADATA];
  if (text === undefined) return undefined;
  if (text === encodeRequest(null)) return null;
  const parsed = jobRequestSchema.safeParse({
    ...parsedObject(text),
    source: toSourceAddress({ ...event, provider: "r2" }),
  });
  if (!parsed.success) throw invalid();
  return parsed.data;
}

/** Whoever may write into the bucket may write metadata too. */
function parsedObject(text: string): object {
  try {
    return Object(JSON.parse(text));
  } catch {
    throw invalid();
  }
}

function invalid(): HttpError {
  return new HttpError(422, "invalid_request", "the job request of this upload is not valid");
}
