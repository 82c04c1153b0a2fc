import { realpathSync, type Stats, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { type JobState, type JobStatus, jobRequestSchema } from "../contracts/job-request.ts";
import { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
import type { PagesAs } from "../image/image-source.ts";
import type { SegmentationType } from "../image/output-targets.ts";
import { JobError } from "../orchestrator/errors.ts";
import type { JobSettings } from "../orchestrator/settings.ts";
import { pause } from "../storage/retry.ts";
import { checkDownloadPlace, downloadOutputs } from "./download.ts";
import { JobFailedError, ServiceError } from "./errors.ts";
import { JobClient, type RemoteUpload } from "./job-client.ts";
import { ResumeState } from "./resume-state.ts";
import { type FolderScan, scanFolder, sendFolder } from "./upload-folder.ts";
import { partByteLength, sendParts } from "./upload-parts.ts";
import { reportBytes, type UploadListener, type UploadStage } from "./upload-progress.ts";
import { watchJob } from "./watch.ts";

/** A job of a service, and what is to become of it. */
export interface JobOptions {
  /** Address of the job service. */
  server: string;
  /** Bearer token of the service. */
  token?: string;
  /** Name of a model package there. */
  model?: string;
  variant?: string;
  /** Number of the DICOM series, counted from 1, where there are several. */
  series?: number;
  /** Number of the volume, counted from 1, where a NIfTI file holds a series of them. */
  time?: number;
  /** What the pages of a TIFF stack are, where the file does not say. */
  pagesAs?: PagesAs;
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
  signal?: AbortSignal;
  onEvent?: UploadListener;
}

export interface UploadOptions extends JobOptions {
  /** Path of the scan: a file, or a directory that is an OME-Zarr or holds DICOM files. */
  file: string;
  /** Parts of a file, or files of a directory, under way at a time. */
  parallelUploads?: number;
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

const DEFAULT_PARALLEL_PARTS = 4;
/** The service starts a job when its storage tells of the scan, which takes moments. */
const JOB_TIMEOUT_MS = 180_000;

const requestSchema = jobRequestSchema.omit({ source: true });

/**
 * Sends a scan to a job service and, if asked, waits for its job and fetches the results. A run that was stopped goes
 * on where it was when it is repeated.
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
  const { id, source, ...sent } = await sendScan(client, scan, state, request, options);
  let { job } = sent;
  if (id !== undefined) {
    onEvent({ type: "stage", stage: "waiting for the job" });
    job = await waitForJob(client, id, source, signal).catch((error: unknown) => {
      // Refused for good: the same command is to be a new upload when the reason is gone.
      if (error instanceof JobFailedError) state.forget();
      throw error;
    });
  }
  if (job === undefined)
    throw new ServiceError(`${client.url.host} started no job for ${source}`, {
      code: "no_job",
      retryable: false,
    });
  const result = await followAndFetch(client, { job, source }, options);
  // From here on the same command is a new upload.
  state.forget();
  return finish(result, options);
}

/**
 * Starts the job of a source that the service reads where it lies, or finds the job that is there.
 * @param source `r2://bucket/key`, `s3://bucket/key` or `https://host/path`: an object, an OME-Zarr, or a prefix
 */
export async function startJob(source: string, options: JobOptions): Promise<UploadResult> {
  const request = { ...parseRequest(options), source };
  const client = createClient(options);
  if (options.out !== undefined) checkDownloadPlace(options.out, options.force);
  const status = await client.startJob(request);
  return finish(
    await followAndFetch(client, { job: status.id, source: status.source.uri }, options),
    options,
  );
}

function createClient({ server, token, signal, onEvent = () => {} }: JobOptions): JobClient {
  return new JobClient(server, {
    token,
    signal,
    onRetry: ({ message }, delayMs) => onEvent({ type: "retry", reason: message, seconds: delayMs / 1000 }),
  });
}

/** Follows a job and fetches its results, as far as either is asked for. */
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

/** A scan on this machine, as it was when its upload began. */
export interface LocalScan {
  path: string;
  byteLength: number;
  /** Another when the content is: when a file was modified, the etag of all files of a directory. */
  version: number | string;
  /** Of a directory. */
  folder?: FolderScan;
}

/** What lies at a path. @throws {ImageNotFoundError} @throws {ImageFormatError} where it is no scan */
export async function openLocalScan(path: string, signal?: AbortSignal): Promise<LocalScan> {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    const folder = await scanFolder(path, signal);
    return { path, byteLength: folder.byteLength, version: folder.etag, folder };
  }
  const { size, mtimeMs } = statFile(path);
  return { path, byteLength: size, version: mtimeMs };
}

/** What remembers an upload from run to run until it is told to forget. `request`: null where no job is to start. */
export function openResumeState(client: JobClient, scan: LocalScan, request: object | null): ResumeState {
  const { path, byteLength, version } = scan;
  return new ResumeState({ path: realpathSync(path), byteLength, version, url: client.url.href, request });
}

/**
 * Sends a scan, or what an earlier run left of it.
 * @returns how the service names it; the upload's id, of a file, or the job, of a directory
 */
export async function sendScan(
  client: JobClient,
  scan: LocalScan,
  state: ResumeState,
  request: object | null,
  options: Pick<UploadOptions, "parallelUploads" | "signal" | "onEvent">,
): Promise<{ source: string; id?: string; job?: string }> {
  const { parallelUploads, signal, onEvent = () => {} } = options;
  return scan.folder
    ? sendFolder(client, scan.folder, state, { request, parallelUploads, signal }, onEvent)
    : sendFile(client, scan, state, request, options);
}

/** Follows a job to its end, telling of it. */
export async function followJob(
  client: JobClient,
  job: string,
  signal: AbortSignal | undefined,
  tell: UploadListener,
): Promise<JobStatus> {
  const onQuiet = (seconds: number, reason: string | undefined) =>
    tell({ type: "quiet", job, seconds, reason });
  return watchJob(client, job, { signal, onStatus: createStatusListener(tell), onQuiet });
}

/** Fetches the results of a job that is done, telling of it. */
export async function fetchResults(
  client: JobClient,
  status: JobStatus,
  { out, force, signal }: { out: string; force?: boolean; signal?: AbortSignal },
  tell: UploadListener,
): Promise<string> {
  tell({ type: "stage", stage: "downloading" });
  const onBegin = (bytesTotal: number) => reportBytes(bytesTotal, 0, tell);
  return downloadOutputs(client, status, { out, force, signal, onBegin });
}

/** @throws {JobFailedError} for a job that ended without results */
export function assertSucceeded({ id, state, error }: JobStatus): void {
  if (state === "failed")
    throw new JobFailedError(`job ${id} failed: ${error?.message ?? "no reason was given"}`);
  if (state === "cancelled") throw new JobFailedError(`job ${id} was cancelled`);
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
    model,
    variant,
    series,
    time,
    pagesAs,
    mpp,
    settings,
    outputs,
    segType,
  });
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new JobError(`option ${path.join(".")}: ${message}`);
}

function statFile(path: string): Stats {
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
  { path, byteLength, version }: LocalScan,
  state: ResumeState,
  request: object | null,
  {
    parallelUploads = DEFAULT_PARALLEL_PARTS,
    signal,
    onEvent: tell = () => {},
  }: Pick<UploadOptions, "parallelUploads" | "signal" | "onEvent">,
): Promise<{ id: string; source: string }> {
  let known = await findResumableUpload(client, state, byteLength);
  if (!known) {
    known = await client.createUpload({ name: basename(path), byteLength, request });
    state.write(known.id);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      if (known.state === "open") {
        const there = known.done.reduce((sum, n) => sum + partByteLength(known!, n), 0);
        const onSent = reportBytes(byteLength, there, tell);
        await sendParts(client, known, { path, parallelUploads, signal, onSent });
        const after = statFile(path);
        if (after.size !== byteLength || after.mtimeMs !== version) {
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
async function findResumableUpload(
  client: JobClient,
  state: ResumeState,
  byteLength: number,
): Promise<RemoteUpload | undefined> {
  const id = state.read();
  const known = id === undefined ? undefined : await client.upload(id);
  return known?.byteLength === byteLength ? known : undefined;
}

/** The job that an upload started, which the service may know a moment later. */
async function waitForJob(
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
function createStatusListener(tell: UploadListener): (status: JobStatus) => void {
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
