import { resolve } from "node:path";
import { type JobStatus, jobRequestSchema } from "../contracts/job-request.ts";
import type { PagesAs } from "../image/image-source.ts";
import type { SegmentationType } from "../image/output-targets.ts";
import { JobError } from "../orchestrator/errors.ts";
import type { JobSettings } from "../orchestrator/settings.ts";
import { pause } from "../storage/retry.ts";
import { checkDownloadPlace } from "./download.ts";
import { JobFailedError, ServiceError } from "./errors.ts";
import { assertSucceeded, fetchResults, followJob } from "./follow-job.ts";
import { JobClient } from "./job-client.ts";
import { openLocalScan, openResumeState, type SendOptions, sendScan } from "./local-scan.ts";
import type { UploadListener } from "./upload-progress.ts";

/** A job for a service, and what to do with its results. */
export interface JobOptions {
  /** Address of the job service. */
  server: string;
  /** Bearer token of the service. */
  token?: string;
  /** Name of a model package at the service. */
  model?: string;
  variant?: string;
  /** Number of the DICOM series, counted from 1, where the source holds several. */
  series?: number;
  /** Number of the volume, counted from 1, where a NIfTI file holds a series of them. */
  time?: number;
  /** Meaning of the pages of a TIFF stack, where the file does not state it. */
  pagesAs?: PagesAs;
  /** Micrometres per pixel of level 0; overrides the file. */
  mpp?: number;
  settings?: JobSettings;
  outputs?: readonly string[];
  /** Encoding of `labels.seg.dcm`; default binary. */
  segType?: SegmentationType;
  /** Follows the job until it ends. */
  watch?: boolean;
  /** Directory for the results; implies `watch`. */
  out?: string;
  force?: boolean;
  signal?: AbortSignal;
  onEvent?: UploadListener;
}

export interface UploadOptions extends JobOptions, SendOptions {
  /** Path of the scan: a file, an OME-Zarr, or a directory of DICOM files. */
  file: string;
}

export interface UploadResult {
  job: string;
  /** The service's name of the scan. */
  source: string;
  /** Last status of the job, if it was watched. */
  status?: JobStatus;
  /** `run.json`, if the results were downloaded. */
  manifest?: string;
}

/** The service starts a job when its storage notifies it of the scan, which takes moments. */
const JOB_TIMEOUT_MS = 180_000;

const requestSchema = jobRequestSchema.omit({ source: true });

/**
 * Sends a scan to a job service and, if asked, waits for its job and downloads the results. A repeated call resumes an
 * upload that was interrupted.
 */
export async function upload(options: UploadOptions): Promise<UploadResult> {
  const { out, signal, onEvent = () => {} } = options;
  const path = resolve(options.file);
  const request = parseRequest(options);
  const client = createClient(options);
  if (out !== undefined) checkDownloadPlace(out, options.force);
  const scan = await openLocalScan(path, signal);
  const state = openResumeState(client, scan, request);

  onEvent({ type: "stage", stage: "uploading" });
  // Storage keeps a request beside the scan, and has no room for polygons: the job is started once the scan is there.
  const isLater = request.settings.polygons !== undefined;
  const { id, source, ...sent } = await sendScan(client, scan, state, isLater ? null : request, options);
  let { job } = sent;
  if (isLater) job = (await client.startJob({ ...request, source })).id;
  else if (id !== undefined) {
    onEvent({ type: "stage", stage: "waiting for the job" });
    job = await waitForJob(client, id, source, signal).catch((error: unknown) => {
      // The service rejected the scan for good: the next call begins a new upload.
      if (error instanceof JobFailedError) state.clear();
      throw error;
    });
  }
  if (job === undefined)
    throw new ServiceError(`${client.url.host} started no job for ${source}`, {
      code: "no_job",
      retryable: false,
    });
  const result = await followAndFetch(client, { job, source }, options);
  // From here on the same call begins a new upload.
  state.clear();
  return finish(result, options);
}

/**
 * Starts the job of a source that the service can read itself, or finds the job that exists.
 * @param source `r2://bucket/key`, `s3://bucket/key` or `https://host/path`: an object, an OME-Zarr, or a prefix
 */
export async function startJob(source: string, options: JobOptions): Promise<UploadResult> {
  const request = { ...parseRequest(options), source };
  const client = createClient(options);
  if (options.out !== undefined) checkDownloadPlace(options.out, options.force);
  const status = await client.startJob(request);
  const started = { job: status.id, source: status.source.uri };
  return finish(await followAndFetch(client, started, options), options);
}

function createClient({ server, token, signal, onEvent = () => {} }: JobOptions): JobClient {
  return new JobClient(server, {
    token,
    signal,
    onRetry: ({ message }, delayMs) => onEvent({ type: "retry", reason: message, seconds: delayMs / 1000 }),
  });
}

/** Follows a job and downloads its results, as far as the options ask for either. */
async function followAndFetch(
  client: JobClient,
  started: { job: string; source: string },
  options: JobOptions,
): Promise<UploadResult> {
  const { watch, out, signal, onEvent = () => {} } = options;
  onEvent({ type: "job", ...started });
  if (!watch && out === undefined) return started;
  const status = await followJob(client, started.job, signal, onEvent);
  if (status.state !== "done" || out === undefined) return { ...started, status };
  return { ...started, status, manifest: await fetchResults(client, status, { ...options, out }, onEvent) };
}

/** @throws {JobFailedError} for a job that ended without results */
function finish(result: UploadResult, { onEvent = () => {} }: JobOptions): UploadResult {
  if (result.status) assertSucceeded(result.status);
  onEvent({ type: "stage", stage: "done" });
  return result;
}

function parseRequest({
  model,
  variant,
  series,
  time,
  pagesAs,
  mpp,
  settings,
  outputs,
  segType,
}: JobOptions) {
  const parsed = requestSchema.safeParse({
    ...{ model, variant, series, time, pagesAs, mpp, settings, outputs, segType },
  });
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new JobError(`option ${path.join(".")}: ${message}`);
}

/** Waits for the job that an upload starts: the service may know it a moment later. */
async function waitForJob(
  client: JobClient,
  id: string,
  source: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const deadline = performance.now() + JOB_TIMEOUT_MS;
  for (let delayMs = 100; ; delayMs = Math.min(5000, 2 * delayMs)) {
    const upload = await client.upload(id);
    if (upload?.job !== undefined) return upload.job;
    if (upload?.refusal !== undefined) {
      throw new JobFailedError(`${client.url.host} started no job: ${upload.refusal}`);
    }
    if (!upload || performance.now() > deadline) {
      throw new ServiceError(
        `${client.url.host} has ${source} but started no job for it yet; repeat the command to look again`,
        { code: "no_job", retryable: false },
      );
    }
    await pause(delayMs, signal);
  }
}
