import { realpathSync, type Stats, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
import type { SegmentationType } from "../image/write/output-targets.ts";
import { JobError } from "../orchestrator/errors.ts";
import { type JobState, type JobStatus, jobRequestSchema } from "../orchestrator/job-request.ts";
import type { JobSettings } from "../orchestrator/settings.ts";
import { JobClient, type RemoteUpload } from "./job-client.ts";
import { checkDownloadPlace, downloadOutputs } from "./job-client-download.ts";
import { JobFailedError, ServiceError } from "./job-client-errors.ts";
import { pause } from "./job-client-retry.ts";
import { watchJob } from "./job-client-watch.ts";
import { scanFolder, sendFolder } from "./upload-folder.ts";
import { partLength, sendParts } from "./upload-parts.ts";
import { tellBytes, type UploadListener, type UploadStage } from "./upload-progress.ts";
import { UploadState } from "./upload-state.ts";

export interface UploadOptions {
  /** Path of the scan: a file, or a directory that is an OME-Zarr or holds DICOM files. */
  file: string;
  /** Address of the job service. */
  to: string;
  /** Bearer token of the service. */
  token?: string;
  /** Name of a model package there. */
  model?: string;
  variant?: string;
  /** Number of the DICOM series, counted from 1, where there are several. */
  series?: number;
  /** Micrometres per pixel of level 0, where the file does not say or is wrong. */
  mpp?: number;
  settings?: JobSettings;
  outputs?: readonly string[];
  /** How `labels.seg.dcm` holds labels; default binary. */
  segType?: SegmentationType;
  /** Follows the job until it ends. */
  watch?: boolean;
  /** Directory for the results, which implies `watch`. */
  out?: string;
  force?: boolean;
  /** Parts of a file, or files of a directory, under way at a time. */
  concurrency?: number;
  signal?: AbortSignal;
  onEvent?: UploadListener;
}

export interface UploadResult {
  job: string;
  /** How the service names the scan. */
  source: string;
  /** The end of the job, where it was watched. */
  status?: JobStatus;
  /** `run.json`, where the results were downloaded. */
  manifest?: string;
}

const CONCURRENCY = 4;
/** The service starts a job when its storage tells of the scan, which takes moments. */
const JOB_TIMEOUT_MS = 180_000;

const requestSchema = jobRequestSchema.omit({ source: true });

/**
 * Sends a scan to a job service and, if asked, waits for its job and fetches the results. A run that was stopped goes
 * on where it was when it is repeated.
 */
export async function upload(options: UploadOptions): Promise<UploadResult> {
  const { to, token, out, signal, onEvent = () => {} } = options;
  const path = resolve(options.file);
  const request = requestOf(options);
  const client = new JobClient(to, {
    token,
    signal,
    onRetry: ({ message }, delayMs) => onEvent({ type: "retry", reason: message, seconds: delayMs / 1000 }),
  });
  if (out !== undefined) checkDownloadPlace(out, options.force);
  const { state, send } = await sending(client, path, request, options, onEvent);

  onEvent({ type: "stage", stage: "uploading" });
  const { job, source } = await send().catch((error: unknown) => {
    // Refused for good: the same command is to be a new upload when the reason is gone.
    if (error instanceof JobFailedError) state.forget();
    throw error;
  });
  onEvent({ type: "job", job, source });
  const result: UploadResult = { job, source };
  if (options.watch || out !== undefined) {
    result.status = await follow(client, job, signal, onEvent);
    if (result.status.state === "done" && out !== undefined) {
      result.manifest = await fetchResults(client, result.status, { ...options, out }, onEvent);
    }
  }
  // From here on the same command is a new upload.
  state.forget();
  if (result.status) refuseFailed(result.status);
  onEvent({ type: "stage", stage: "done" });
  return result;
}

/** How a scan is sent, by what lies at its path; `send` ends with the job that was started. */
async function sending(
  client: JobClient,
  path: string,
  request: object,
  options: UploadOptions,
  tell: UploadListener,
): Promise<{ state: UploadState; send(): Promise<{ job: string; source: string }> }> {
  const { concurrency, signal } = options;
  const stats = statSync(path, { throwIfNoEntry: false });
  const identity = { path: stats ? realpathSync(path) : path, url: client.url.href, request };
  if (stats?.isDirectory()) {
    const scan = await scanFolder(path, signal);
    const state = new UploadState({ ...identity, byteLength: scan.byteLength, version: scan.etag });
    return { state, send: () => sendFolder(client, scan, state, { request, concurrency, signal }, tell) };
  }
  const before = scanAt(path);
  const state = new UploadState({ ...identity, byteLength: before.size, version: before.mtimeMs });
  return {
    state,
    send: async () => {
      const { id, source } = await sendFile(client, { path, before, request }, state, options, tell);
      tell({ type: "stage", stage: "waiting for the job" });
      return { job: await jobOf(client, id, source, signal), source };
    },
  };
}

/** Follows a job to its end, telling of it. */
export async function follow(
  client: JobClient,
  job: string,
  signal: AbortSignal | undefined,
  tell: UploadListener,
): Promise<JobStatus> {
  return watchJob(client, job, { signal, onStatus: tellStatus(tell) });
}

/** Fetches the results of a job that is done, telling of it. */
export async function fetchResults(
  client: JobClient,
  status: JobStatus,
  { out, force, signal }: { out: string; force?: boolean; signal?: AbortSignal },
  tell: UploadListener,
): Promise<string> {
  tell({ type: "stage", stage: "downloading" });
  const onBegin = (bytesTotal: number) => tellBytes(bytesTotal, 0, tell);
  return downloadOutputs(client, status, { out, force, signal, onBegin });
}

/** @throws {JobFailedError} for a job that ended without results */
export function refuseFailed({ id, state, error }: JobStatus): void {
  if (state === "failed")
    throw new JobFailedError(`job ${id} failed: ${error?.message ?? "no reason was given"}`);
  if (state === "cancelled") throw new JobFailedError(`job ${id} was cancelled`);
}

function requestOf({ model, variant, series, mpp, settings, outputs, segType }: UploadOptions) {
  const parsed = requestSchema.safeParse({ model, variant, series, mpp, settings, outputs, segType });
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new JobError(`option ${path.join(".")}: ${message}`);
}

function scanAt(path: string): Stats {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) throw new ImageNotFoundError(path, `${path} does not exist; check the path`);
  if (!stats.isFile()) {
    throw new ImageNotFoundError(path, `${path} is neither a file nor a directory`);
  }
  if (stats.size === 0) throw new ImageFormatError(`${path} is empty`);
  return stats;
}

/** Sends what is missing, and has the service make it one object. */
async function sendFile(
  client: JobClient,
  { path, before, request }: { path: string; before: Stats; request: object },
  state: UploadState,
  { concurrency = CONCURRENCY, signal }: UploadOptions,
  tell: UploadListener,
): Promise<{ id: string; source: string }> {
  let known = await resumed(client, state, before.size);
  if (!known) {
    known = await client.createUpload({ name: basename(path), byteLength: before.size, request });
    state.write(known.id);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      if (known.state === "open") {
        const there = known.done.reduce((sum, n) => sum + partLength(known!, n), 0);
        const onSent = tellBytes(before.size, there, tell);
        await sendParts(client, known, { path, concurrency, signal, onSent });
        const after = scanAt(path);
        if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) {
          await client.abortUpload(known.id);
          state.forget();
          throw new ImageFormatError(`${path} changed while it was uploaded; begin again when it is written`);
        }
      }
      const { source } = await client.completeUpload(known.id);
      return { id: known.id, source };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      if (error.status === 404) {
        state.forget();
        throw new ServiceError(`${error.message}; repeat the command to begin again`, error);
      }
      // Parts that got lost on the way are sent again.
      if (error.code !== "parts_missing" || attempt === 3) throw error;
      known = (await client.upload(known.id)) ?? known;
    }
  }
}

/** The upload that an earlier run began, if the service still has it. */
async function resumed(
  client: JobClient,
  state: UploadState,
  byteLength: number,
): Promise<RemoteUpload | undefined> {
  const id = state.read();
  const known = id === undefined ? undefined : await client.upload(id);
  return known?.byteLength === byteLength ? known : undefined;
}

/** The job that an upload started, which the service may know a moment later. */
async function jobOf(
  client: JobClient,
  id: string,
  source: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const deadline = performance.now() + JOB_TIMEOUT_MS;
  for (let delayMs = 100; ; delayMs = Math.min(5000, 2 * delayMs)) {
    const known = await client.upload(id);
    if (known?.job !== undefined) return known.job;
    if (known?.refusal !== undefined) {
      throw new JobFailedError(`${client.url.host} started no job: ${known.refusal}`);
    }
    if (!known || performance.now() > deadline) {
      throw new ServiceError(
        `${client.url.host} has ${source} but started no job for it yet; repeat the command to look again`,
        { code: "no_job", retryable: false },
      );
    }
    await pause(delayMs, signal);
  }
}

const STAGES: Partial<Record<JobState, UploadStage>> = {
  planning: "planning",
  mapping: "segmenting",
  merging: "merging",
  finishing: "writing outputs",
};

/** Statuses as events: each stage once, and the windows with their rate and the time left. */
function tellStatus(tell: UploadListener): (status: JobStatus) => void {
  let stage: UploadStage | undefined;
  let first: { done: number; atMs: number } | undefined;
  let last: number | undefined;
  return ({ state, windows }) => {
    const next = STAGES[state];
    if (next && next !== stage) tell({ type: "stage", stage: next });
    stage = next ?? stage;
    if (!windows || windows.done === last) return;
    last = windows.done;
    const nowMs = performance.now();
    first ??= { done: windows.done, atMs: nowMs };
    const windowsPerSecond = ((windows.done - first.done) / Math.max(1, nowMs - first.atMs)) * 1000;
    const secondsLeft = (windows.total - windows.done) / windowsPerSecond;
    const { done: windowsDone, total: windowsTotal } = windows;
    tell({ type: "progress", windowsDone, windowsTotal, windowsPerSecond, secondsLeft });
  };
}
