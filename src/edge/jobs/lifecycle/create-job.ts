import type { JobDocument } from "../../../contracts/job-plan-message.ts";
import type { FullJobRequest, JobStatus } from "../../../contracts/job-request.ts";
import { VERSION } from "../../../orchestrator/version.ts";
import { HttpError } from "../../../service/http-error.ts";
import { sha256Hex } from "../../../storage/digest.ts";
import { StorageError } from "../../../storage/errors.ts";
import { jobKeys } from "../../shared/job-keys.ts";
import { getLedger } from "../../shared/ledger-port.ts";
import { fingerprintSource } from "../../sources/fingerprint-source.ts";
import { openSourceStore } from "../../sources/open-source-store.ts";
import type { Bindings } from "../context/bindings.ts";
import { getConfiguredModel, requireConfiguredModel } from "../context/configured-model.ts";
import { isSameEtag } from "../events/storage-event.ts";
import { callbackAllowed } from "./callback.ts";
import { addToIndex, keepInIndex } from "./job-index.ts";

/** An HTTP request waits for it. */
const LOOK_UP_TIMEOUT_MS = 20_000;

export interface CreatedJob {
  created: boolean;
  status: JobStatus;
}

/**
 * Starts the job of a request, or finds it. The id is a hash of everything that could change a byte of the result, so
 * repeated requests and repeated events give one job. `again` starts over a job that failed or was cancelled.
 * @throws {HttpError} where the request cannot become a job
 */
export async function createJob(
  env: Bindings,
  request: FullJobRequest,
  { again, etag }: { again: boolean; etag?: string },
): Promise<CreatedJob> {
  if (request.callback !== undefined && !callbackAllowed(env, request.callback)) {
    throw new HttpError(
      422,
      "callback_refused",
      "the callback's host is not in the allow-list (CALLBACK_HOSTS)",
    );
  }
  const opened = openSourceStore(env, request.source);
  const { name, uri } = opened;
  const model = await getConfiguredModel(env);
  requireConfiguredModel(model, request);
  const info = await fingerprintSource(opened, AbortSignal.timeout(LOOK_UP_TIMEOUT_MS));
  if (etag !== undefined && !isSameEtag(etag, info.etag)) {
    throw new HttpError(409, "source_changed", `${uri} was replaced since the event`);
  }
  const document: JobDocument = {
    id: await jobId([
      uri,
      info.etag,
      model.hash,
      model.manifest.version,
      VERSION,
      request.mpp,
      request.settings,
      request.outputs,
      ...(request.segType ? [request.segType] : []),
      ...(request.series ? [request.series] : []),
      ...(request.pagesAs ? [request.pagesAs] : []),
      ...(request.time ? [`time ${request.time}`] : []),
    ]),
    tilewright: VERSION,
    createdAt: new Date().toISOString(),
    source: { uri, name, ...info },
    model: {
      name: model.manifest.name,
      version: model.manifest.version,
      variant: model.variantName,
      hash: model.hash,
      license: model.manifest.license,
    },
    request,
  };
  const ledger = getLedger(env.LEDGERS!, document.id);
  const before = await ledger.document();
  let job = await ledger.create(document, { again });
  // Done, but its results were removed since.
  if (job.status.state === "done" && !(await env.RESULTS!.head(jobKeys.manifest(document.id)))) {
    job = await ledger.create(document, { again, lost: true });
  }
  if (job.created) {
    await addToIndex(env, document, before);
    await startWorkflow(env, document.id);
  } else if (before) await keepInIndex(env, before);
  return job;
}

/**
 * `createJob` for a client that waits for the response: an error of the source becomes an error of the request, not of the
 * service.
 */
export async function createRequestedJob(...args: Parameters<typeof createJob>): Promise<CreatedJob> {
  try {
    return await createJob(...args);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    if (!error.retryable) throw new HttpError(422, "source_unreadable", error.message);
    throw new HttpError(503, "source_unavailable", error.message, { "Retry-After": "5" });
  }
}

async function startWorkflow(env: Bindings, id: string): Promise<void> {
  const workflows = env.JOBS!;
  try {
    await workflows.create({ id });
  } catch {
    // It exists: the job is started over.
    await (await workflows.get(id)).restart();
  }
}

async function jobId(parts: unknown[]): Promise<string> {
  const text = JSON.stringify(parts, (_, value) =>
    // Sorted keys: the order in a request does not matter.
    value && typeof value === "object" && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : (value ?? null),
  );
  return sha256Hex(text, 16);
}
