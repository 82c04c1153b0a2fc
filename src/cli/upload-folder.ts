import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { basename, join } from "node:path";
import { isDicom } from "../image/dicom/open-instance.ts";
import { ImageFormatError } from "../image/errors.ts";
import { FsStore } from "../storage/fs-store.ts";
import type { ListedObject } from "../storage/object-store.ts";
import { prefixEtag } from "../storage/prefix-etag.ts";
import type { JobClient } from "./job-client.ts";
import { ServiceError } from "./job-client-errors.ts";
import { tellBytes, type UploadListener } from "./upload-progress.ts";
import type { UploadState } from "./upload-state.ts";

/** The files of a directory that are sent, with paths below it and etags of this disk. */
export interface FolderScan {
  path: string;
  files: readonly ListedObject[];
  byteLength: number;
  /** Of all files as they are on this disk. */
  etag: string;
}

export interface SendFolderOptions {
  /** null: no job is to start. */
  request: object | null;
  /** Files under way at a time, 16 at most; each is in memory while it is. */
  concurrency: number | undefined;
  signal: AbortSignal | undefined;
}

/** The service takes no larger file in one request, and no more of them. */
const MAX_FILE_BYTES = 60 * 2 ** 20;
const MAX_FILES = 100_000;
const CONCURRENCY = 8;
const MAX_CONCURRENCY = 16;
const ZARR_METADATA = new Set(["zarr.json", ".zattrs", ".zgroup", ".zarray"]);
/** What systems leave in every directory that they show. */
const LITTER = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini)$/;

/**
 * What there is to send of a directory: of an OME-Zarr everything, else its DICOM files and nothing beside them.
 * @throws {ImageFormatError} where it is neither, or more than a service takes
 */
export async function scanFolder(path: string, signal: AbortSignal | undefined): Promise<FolderScan> {
  const store = new FsStore(path);
  const files: ListedObject[] = [];
  const add = async (key: string) => {
    const info = await store.head(key, { signal });
    if (info) files.push({ key, ...info });
    if (files.length > MAX_FILES)
      throw new ImageFormatError(`${path} holds more than ${MAX_FILES} files; ${ADVICE}`);
  };
  const keys: string[] = [];
  for await (const key of store.list("", { signal })) {
    if (keys.push(key) > 2 * MAX_FILES)
      throw new ImageFormatError(`${path} holds more than ${MAX_FILES} files; ${ADVICE}`);
  }
  const isZarr = keys.some((key) => ZARR_METADATA.has(key));
  for (const key of keys) {
    if (isZarr ? !LITTER.test(key) : await isDicomFile(join(path, key))) await add(key);
  }
  if (files.length === 0) {
    throw new ImageFormatError(
      `${path} is a directory without OME-Zarr metadata and without DICOM files; give an image file inside it`,
    );
  }
  const large = files.find(({ byteLength }) => byteLength > MAX_FILE_BYTES);
  if (large) {
    throw new ImageFormatError(
      `${join(path, large.key)} has more than the ${MAX_FILE_BYTES >> 20} MiB that a file of a directory may have; ${ADVICE}`,
    );
  }
  const byteLength = files.reduce((sum, file) => sum + file.byteLength, 0);
  return { path, files, byteLength, etag: await prefixEtag(files) };
}

const ADVICE =
  "copy the directory into a bucket with a tool of its storage and start the job with POST /v1/jobs";

/**
 * Sends the files that are not there yet, and starts the job. What is there is told by its content, so a repeated
 * command sends the rest.
 */
export async function sendFolder(
  client: JobClient,
  scan: FolderScan,
  state: UploadState,
  { request, concurrency = CONCURRENCY, signal }: SendFolderOptions,
  tell: UploadListener,
): Promise<{ source: string; job?: string }> {
  const { path, byteLength } = scan;
  const name = basename(path).normalize("NFC").trim();
  let id = state.read();
  const there = id === undefined ? new Map<string, string>() : await client.folderFiles(id);
  if (id === undefined) {
    id = (await client.createFolder(name)).id;
    state.write(id);
  }
  const onSent = tellBytes(byteLength, 0, tell);
  const sent: ListedObject[] = [];
  const queue = [...scan.files];
  let failed = false;
  const send = async () => {
    for (let file = queue.shift(); file !== undefined && !failed; file = queue.shift()) {
      try {
        signal?.throwIfAborted();
        const bytes = await readFile(path, file);
        const md5 = createHash("md5").update(bytes).digest();
        const below = `${name}/${file.key}`;
        if (there.get(below) !== md5.toString("hex")) await client.putFile(id!, below, bytes, md5);
        sent.push({ key: file.key, etag: md5.toString("hex"), byteLength: bytes.length });
        onSent(bytes.length);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const senders = Array.from({ length: Math.min(MAX_CONCURRENCY, concurrency) }, send);
  for (const sender of await Promise.allSettled(senders)) {
    if (sender.status === "rejected") {
      // Another file by the same path: it changed since a run before.
      if (sender.reason instanceof ServiceError && sender.reason.code === "file_exists") state.forget();
      throw sender.reason;
    }
  }
  const now = await scanFolder(path, signal);
  if (now.etag !== scan.etag) {
    state.forget();
    throw new ImageFormatError(`${path} changed while it was uploaded; begin again when it is written`);
  }
  return client.completeFolder(id, { name, etag: await prefixEtag(sent), request });
}

async function readFile(path: string, { key, byteLength }: ListedObject): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(join(path, key));
  try {
    const bytes = new Uint8Array(byteLength);
    let at = 0;
    while (at < byteLength) {
      const { bytesRead } = await file.read(bytes, at, byteLength - at, at);
      if (bytesRead === 0)
        throw new ImageFormatError(`${join(path, key)} became shorter while it was uploaded; begin again`);
      at += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

async function isDicomFile(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const head = new Uint8Array(132);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    return isDicom(head.subarray(0, bytesRead));
  } finally {
    await file.close();
  }
}
