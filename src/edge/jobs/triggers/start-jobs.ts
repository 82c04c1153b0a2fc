import { type FullJobRequest, jobRequestSchema } from "../../../contracts/job-request.ts";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";
import type { StorageEvent } from "../events/storage-event.ts";
import { createJob } from "../lifecycle/create-job.ts";
import { recordJob, recordRefusal } from "../uploads/ledger-calls.ts";
import { encodeRequest, parseUploadId, REQUEST_METADATA } from "../uploads/upload-plan.ts";
import { matchRules, parseRules, toSourceAddress } from "./rules.ts";

/** Starts the job of an event: from the request stored with the upload (which may be "no job"), otherwise from the first matching rule, otherwise none. */
export async function startJobs(env: Bindings, event: StorageEvent): Promise<void> {
  const uploadId = event.bucket === env.SCANS_BUCKET ? parseUploadId(event.key) : undefined;
  if (event.action !== "create") return;
  try {
    const stored = uploadId === undefined ? undefined : await readUploadRequest(env, event);
    const requests =
      stored === undefined ? matchRules(parseRules(env), event) : stored === null ? [] : [stored];
    for (const request of requests) {
      const { status } = await createJob(env, request, { again: false, etag: event.etag });
      if (uploadId !== undefined) await recordJob(env, uploadId, status.id);
    }
    if (uploadId !== undefined && requests.length === 0) {
      await recordRefusal(
        env,
        uploadId,
        stored === null
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

/** The job request in the metadata of an uploaded object; null: start no job; undefined: no request. */
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

/** Parses metadata, which anyone with write access to the bucket can set. */
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
