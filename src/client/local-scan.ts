import { realpathSync, type Stats, statSync } from "node:fs";
import { basename } from "node:path";
import { ImageFormatError, ImageNotFoundError } from "../image/errors.ts";
import { ServiceError } from "./errors.ts";
import type { JobClient, RemoteUpload } from "./job-client.ts";
import { ResumeState } from "./resume-state.ts";
import { type FolderScan, scanFolder, sendFolder } from "./upload-folder.ts";
import { partByteLength, sendParts } from "./upload-parts.ts";
import { reportBytes, type UploadListener } from "./upload-progress.ts";

const DEFAULT_PARALLEL_PARTS = 4;
/** Tries to complete an upload of which the service misses parts. */
const MAX_ATTEMPTS = 3;

/** A scan on this machine, as it was when its upload began. */
export interface LocalScan {
  path: string;
  byteLength: number;
  /** Changes with the content: a file's time of modification; a directory's etag over all its files. */
  version: number | string;
  /** Set for a directory. */
  folder?: FolderScan;
}

export interface SendOptions {
  /** Parts of a file, or files of a directory, in progress at a time. */
  parallelUploads?: number;
  signal?: AbortSignal;
  onEvent?: UploadListener;
}

/** Looks at the file or directory to send. @throws {ImageNotFoundError} @throws {ImageFormatError} for no scan */
export async function openLocalScan(path: string, signal?: AbortSignal): Promise<LocalScan> {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    const folder = await scanFolder(path, signal);
    return { path, byteLength: folder.byteLength, version: folder.etag, folder };
  }
  const { size, mtimeMs } = statFile(path);
  return { path, byteLength: size, version: mtimeMs };
}

/** Opens the record by which a later run resumes this upload. `request`: null when no job is to start. */
export function openResumeState(client: JobClient, scan: LocalScan, request: object | null): ResumeState {
  const { path, byteLength, version } = scan;
  return new ResumeState({ path: realpathSync(path), byteLength, version, url: client.url.href, request });
}

/**
 * Sends a scan, or what an earlier run left of it.
 * @returns the service's name of the scan, with the id of the upload (a file) or the job (a directory)
 */
export async function sendScan(
  client: JobClient,
  scan: LocalScan,
  state: ResumeState,
  request: object | null,
  options: SendOptions,
): Promise<{ source: string; id?: string; job?: string }> {
  const { parallelUploads, signal, onEvent = () => {} } = options;
  return scan.folder
    ? sendFolder(client, scan.folder, state, { request, parallelUploads, signal }, onEvent)
    : sendFile(client, scan, state, request, options);
}

/** Sends the missing parts of a file and completes the upload. */
async function sendFile(
  client: JobClient,
  { path, byteLength, version }: LocalScan,
  state: ResumeState,
  request: object | null,
  { parallelUploads = DEFAULT_PARALLEL_PARTS, signal, onEvent = () => {} }: SendOptions,
): Promise<{ id: string; source: string }> {
  let upload = await findResumableUpload(client, state, byteLength);
  if (!upload) {
    upload = await client.createUpload({ name: basename(path), byteLength, request });
    state.write(upload.id);
  }
  for (let attempt = 1; ; attempt++) {
    try {
      if (upload.state === "open") {
        const bytesThere = upload.done.reduce((sum, n) => sum + partByteLength(upload!, n), 0);
        const onSent = reportBytes(byteLength, bytesThere, onEvent);
        await sendParts(client, upload, { path, parallelUploads, signal, onSent });
        const after = statFile(path);
        if (after.size !== byteLength || after.mtimeMs !== version) {
          await client.abortUpload(upload.id);
          state.clear();
          throw new ImageFormatError(`${path} changed while it was uploaded; begin again when it is written`);
        }
      }
      const { source } = await client.completeUpload(upload.id);
      return { id: upload.id, source };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      if (error.status === 404) {
        state.clear();
        throw new ServiceError(`${error.message}; repeat the command to begin again`, error);
      }
      // Lost parts are sent again.
      if (error.code !== "parts_missing" || attempt === MAX_ATTEMPTS) throw error;
      upload = (await client.upload(upload.id)) ?? upload;
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
  const upload = id === undefined ? undefined : await client.upload(id);
  return upload?.byteLength === byteLength ? upload : undefined;
}

function statFile(path: string): Stats {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) throw new ImageNotFoundError(path, `${path} does not exist; check the path`);
  if (!stats.isFile()) throw new ImageNotFoundError(path, `${path} is neither a file nor a directory`);
  if (stats.size === 0) throw new ImageFormatError(`${path} is empty`);
  return stats;
}
