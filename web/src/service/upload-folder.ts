import { md5 } from "@noble/hashes/legacy.js";
import { ServiceError } from "../../../src/client/errors.ts";
import { JobClient } from "../../../src/client/job-client.ts";
import {
  MAX_FOLDER_FILE_BYTES,
  MAX_FOLDER_FILES,
  MAX_PREFIX_OBJECTS,
} from "../../../src/contracts/folder-limits.ts";
import { isDicom } from "../../../src/readers/dicom/open-instance.ts";
import { ZARR_NODES } from "../../../src/readers/zarr/zarr-reader.ts";
import { forEachConcurrent } from "../../../src/storage/concurrency.ts";
import { toHex } from "../../../src/storage/digest.ts";
import type { ListedObject } from "../../../src/storage/object-store.ts";
import { prefixEtag } from "../../../src/storage/prefix-etag.ts";
import type { LocalFile } from "../data/file-store.ts";
import { findUpload, forgetUpload, type KnownFile, keepUpload } from "./resumable-uploads.ts";

/** Files in progress at a time; each is held in memory. */
const PARALLEL_FILES = 4;
/** Files that operating systems leave in directories. */
const SYSTEM_FILES = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini)$/;
const DICOM_HEAD_BYTES = 132;

/** A folder with paths relative to it. */
export interface Folder {
  name: string;
  files: readonly LocalFile[];
}

/**
 * Sends an OME-Zarr, or the DICOM files of a folder, as `tilewright upload` does. Files are compared by their content, so what
 * the service has is not sent again. The digest is @noble/hashes', because the platform has no MD5.
 * @param onProgress called with the bytes that the service has
 * @returns the job that it started
 * @throws {Error} a sentence
 */
export async function uploadFolder(
  token: string,
  folder: Folder,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<string> {
  const name = folder.name.normalize("NFC").trim();
  const files = await filesToSend(folder);
  const known = identify(folder);
  const client = new JobClient(location.origin, { token, signal });
  const kept = findUpload(known);
  const id = kept ?? (await client.createFolder(name)).id;
  keepUpload(known, id);
  const there = kept === undefined ? new Map<string, string>() : await client.folderFiles(id);
  const sent: ListedObject[] = [];
  let total = 0;
  const send = async ({ key, file }: LocalFile) => {
    const bytes = await readFile(key, file);
    const digest = md5(bytes);
    const path = `${name}/${key}`;
    if (there.get(path) !== toHex(digest)) await client.putFile(id, path, bytes, digest);
    sent.push({ key, etag: toHex(digest), byteLength: bytes.length });
    total += bytes.length;
    onProgress(total);
  };
  try {
    await forEachConcurrent(files, PARALLEL_FILES, send, { signal });
    const { job } = await client.completeFolder(id, { name, etag: await prefixEtag(sent), request: {} });
    if (job === undefined) throw new Error("the folder is stored, but the service started no job for it");
    forgetUpload(known);
    return job;
  } catch (error) {
    // A file changed since an earlier try: the next one begins anew.
    if (error instanceof ServiceError && error.code === "file_exists") forgetUpload(known);
    throw error;
  }
}

/** All files of an OME-Zarr, else the DICOM files. @throws {Error} a sentence */
async function filesToSend({ name, files }: Folder): Promise<readonly LocalFile[]> {
  const tooMany = (most: number) => new Error(`${name} holds more than ${most} files, the most of one scan`);
  if (files.length > MAX_FOLDER_FILES) throw tooMany(MAX_FOLDER_FILES);
  const isZarr = files.some(({ key }) => ZARR_NODES.includes(key));
  const found: LocalFile[] = [];
  for (const one of files) {
    const { key, file } = one;
    if (isZarr ? SYSTEM_FILES.test(key) : !(await isDicomFile(key, file))) continue;
    if (file.size > MAX_FOLDER_FILE_BYTES)
      throw new Error(
        `${key} has more than the ${MAX_FOLDER_FILE_BYTES >> 20} MiB that a file of a folder may have; copy the folder into a bucket instead`,
      );
    found.push(one);
  }
  if (found.length === 0)
    throw new Error(`${name} holds no OME-Zarr metadata and no DICOM files; choose an image file inside it`);
  if (!isZarr && found.length > MAX_PREFIX_OBJECTS) throw tooMany(MAX_PREFIX_OBJECTS);
  return found;
}

async function isDicomFile(key: string, file: Blob): Promise<boolean> {
  return file.size > 0 && isDicom(await readFile(key, file.slice(0, DICOM_HEAD_BYTES)));
}

async function readFile(key: string, file: Blob): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (cause) {
    throw new Error(`${key} can no longer be read: it was moved or changed; choose the folder again`, {
      cause,
    });
  }
}

/** What tells the folder from others, so that its upload goes on after a reload. */
function identify({ name, files }: Folder): KnownFile {
  return {
    name: `${name}/ (${files.length})`,
    size: files.reduce((sum, { file }) => sum + file.size, 0),
    lastModified: files.reduce((latest, { file }) => Math.max(latest, file.lastModified ?? 0), 0),
  };
}
