import { open } from "node:fs/promises";
import { ImageFormatError } from "../image/errors.ts";
import { forEachConcurrent } from "../storage/concurrency.ts";
import type { JobClient, RemoteUpload } from "./job-client.ts";

export interface SendPartsOptions {
  path: string;
  /** Parts in progress at a time, 16 at most; each is held in memory. */
  parallelUploads: number;
  signal: AbortSignal | undefined;
  /** Called with the size of each part that was sent. */
  onSent: (bytes: number) => void;
}

/** A part has up to 60 MiB. */
const MAX_PARALLEL_PARTS = 16;

/** Sends the missing parts. After a failure no part starts, and those in progress end. */
export async function sendParts(
  client: JobClient,
  upload: RemoteUpload,
  options: SendPartsOptions,
): Promise<void> {
  const { path, parallelUploads, signal, onSent } = options;
  const there = new Set(upload.done);
  const missing = Array.from({ length: upload.parts }, (_, i) => i + 1).filter((n) => !there.has(n));
  const file = await open(path);
  // Buffers are reused: one for each part in progress.
  const free: Uint8Array<ArrayBuffer>[] = [];
  const send = async (n: number) => {
    const buffer = free.pop() ?? new Uint8Array(Math.min(upload.partBytes, upload.byteLength));
    const bytes = buffer.subarray(0, partByteLength(upload, n));
    await readExactly(file, bytes, (n - 1) * upload.partBytes, path);
    await client.putPart(upload.id, n, bytes);
    free.push(buffer);
    onSent(bytes.length);
  };
  try {
    await forEachConcurrent(missing, Math.min(MAX_PARALLEL_PARTS, parallelUploads), send, { signal });
  } finally {
    await file.close();
  }
}

export function partByteLength({ byteLength, partBytes }: RemoteUpload, n: number): number {
  return Math.min(partBytes, byteLength - (n - 1) * partBytes);
}

async function readExactly(
  file: Awaited<ReturnType<typeof open>>,
  bytes: Uint8Array,
  position: number,
  path: string,
): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, position + at);
    if (bytesRead === 0) {
      throw new ImageFormatError(
        `${path} became shorter while it was uploaded; begin again when it is written`,
      );
    }
    at += bytesRead;
  }
}
