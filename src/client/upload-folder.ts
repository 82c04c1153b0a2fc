import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { MAX_FOLDER_FILE_BYTES, MAX_FOLDER_FILES, MAX_PREFIX_OBJECTS } from "../contracts/folder-limits.ts";
import { ImageFormatError } from "../image/errors.ts";
import { isDicom } from "../readers/dicom/open-instance.ts";
import { ZARR_NODES } from "../readers/zarr/zarr-reader.ts";
import { forEachConcurrent } from "../storage/concurrency.ts";
import { FsStore } from "../storage/fs-store.ts";
import type { ListedObject, ObjectInfo } from "../storage/object-store.ts";
import { prefixEtag } from "../storage/prefix-etag.ts";
import { ServiceError } from "./errors.ts";
import type { JobClient } from "./job-client.ts";
import type { ResumeState } from "./resume-state.ts";
import { reportBytes, type UploadListener } from "./upload-progress.ts";

/** The files of a directory to send, with paths relative to it and etags of this file system. */
export interface FolderScan {
  path: string;
  files: readonly ListedObject[];
  byteLength: number;
  /** Etag over all files on this machine. */
  etag: string;
}

export interface SendFolderOptions {
  /** null: no job starts. */
  request: object | null;
  /** Files in progress at a time, 16 at most; each is held in memory. */
  parallelUploads: number | undefined;
  signal: AbortSignal | undefined;
}

const DEFAULT_PARALLEL_FILES = 8;
const MAX_PARALLEL_FILES = 16;
/** Files that operating systems leave in directories. */
const SYSTEM_FILES = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini)$/;
const ADVICE =
  "copy the directory into a bucket with a tool of its storage, then: tilewright jobs start <its address>";

/**
 * Lists the files to send: all of an OME-Zarr, else the DICOM files.
 * @throws {ImageFormatError} for a directory that is neither, or larger than a service accepts
 */
export async function scanFolder(path: string, signal: AbortSignal | undefined): Promise<FolderScan> {
  const store = new FsStore(path);
  try {
    const keys: string[] = [];
    for await (const key of store.list("", { signal })) {
      if (keys.push(key) > MAX_FOLDER_FILES) throw tooManyFilesError(path, MAX_FOLDER_FILES);
    }
    const isZarr = keys.some((key) => ZARR_NODES.includes(key));
    const files: ListedObject[] = [];
    for (const key of keys) {
      const info = await store.head(key, { signal });
      if (info && (isZarr ? !SYSTEM_FILES.test(key) : await isDicomFile(store, key, info)))
        files.push({ key, ...info });
    }
    if (files.length === 0) {
      throw new ImageFormatError(
        `${path} is a directory without OME-Zarr metadata and without DICOM files; give an image file inside it`,
      );
    }
    if (!isZarr && files.length > MAX_PREFIX_OBJECTS) throw tooManyFilesError(path, MAX_PREFIX_OBJECTS);
    const large = files.find(({ byteLength }) => byteLength > MAX_FOLDER_FILE_BYTES);
    if (large) {
      throw new ImageFormatError(
        `${join(path, large.key)} has more than the ${MAX_FOLDER_FILE_BYTES >> 20} MiB that a file of a directory may have; ${ADVICE}`,
      );
    }
    const byteLength = files.reduce((sum, file) => sum + file.byteLength, 0);
    return { path, files, byteLength, etag: await prefixEtag(files) };
  } finally {
    await store.close();
  }
}

async function isDicomFile(store: FsStore, key: string, { etag }: ObjectInfo): Promise<boolean> {
  const head = await store.getRange(key, 0, 132, { ifMatch: etag });
  return head !== undefined && isDicom(head);
}

function tooManyFilesError(path: string, most: number): ImageFormatError {
  return new ImageFormatError(`${path} holds more than ${most} files, the most of one scan; ${ADVICE}`);
}

/** Sends the missing files and starts the job. Files are compared by content, so a repeated call sends the rest. */
export async function sendFolder(
  client: JobClient,
  scan: FolderScan,
  state: ResumeState,
  { request, parallelUploads = DEFAULT_PARALLEL_FILES, signal }: SendFolderOptions,
  tell: UploadListener,
): Promise<{ source: string; job?: string }> {
  const { path, byteLength } = scan;
  const name = basename(path).normalize("NFC").trim();
  let id = state.read();
  const there = id === undefined ? new Map<string, string>() : await client.folderFiles(id);
  if (id === undefined) {
    id = (await client.createFolder(name, requestedModel(request))).id;
    state.write(id);
  }
  const store = new FsStore(path);
  const onSent = reportBytes(byteLength, 0, tell);
  const sent: ListedObject[] = [];
  const send = async ({ key, etag, byteLength }: ListedObject) => {
    const bytes = await store.getRange(key, 0, byteLength, { ifMatch: etag, signal });
    if (bytes?.length !== byteLength) throw changedError(path);
    const md5 = createHash("md5").update(bytes).digest();
    const below = `${name}/${key}`;
    if (there.get(below) !== md5.toString("hex"))
      await client.putFile(id!, below, bytes as Uint8Array<ArrayBuffer>, md5);
    sent.push({ key, etag: md5.toString("hex"), byteLength: bytes.length });
    onSent(bytes.length);
  };
  try {
    await forEachConcurrent(scan.files, Math.min(MAX_PARALLEL_FILES, parallelUploads), send, { signal });
  } catch (error) {
    // Another file by this path: it changed since an earlier run.
    if (error instanceof ServiceError && error.code === "file_exists") state.clear();
    throw error;
  } finally {
    await store.close();
  }
  const now = await scanFolder(path, signal);
  if (now.etag !== scan.etag) {
    state.clear();
    throw changedError(path);
  }
  return client.completeFolder(id, { name, etag: await prefixEtag(sent), request });
}

function changedError(path: string): ImageFormatError {
  return new ImageFormatError(`${path} changed while it was uploaded; begin again when it is written`);
}

/** Model and variant of a request, if either is named. */
function requestedModel(request: unknown): { model?: string; variant?: string } | undefined {
  const { model, variant } = (request ?? {}) as { model?: string; variant?: string };
  return model === undefined && variant === undefined ? undefined : { model, variant };
}
