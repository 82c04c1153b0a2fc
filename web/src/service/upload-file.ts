import { JobClient, type RemoteUpload } from "../../../src/client/job-client.ts";
import { forEachConcurrent } from "../../../src/storage/concurrency.ts";
import { findUpload, forgetUpload, type KnownFile, keepUpload } from "./resumable-uploads.ts";

/** Parts in progress at a time; each is held in memory. */
const PARALLEL_PARTS = 2;
/** Time between looks at an upload whose job is not known yet. */
const LOOK_AGAIN_MS = 1000;
const LOOKS = 60;

/**
 * Sends a file in parts and completes its upload. Parts that the service has already are not sent again.
 * @param onProgress called with the bytes that the service has
 * @returns the job that it started
 * @throws {ServiceError} and what `signal` was aborted with
 */
export async function uploadFile(
  token: string,
  file: File,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<string> {
  const client = new JobClient(location.origin, { token, signal });
  const upload = await sendFile(client, file, file, {}, signal, onProgress);
  const { job } = await client.completeUpload(upload.id);
  const started = job ?? (await waitForJob(client, upload.id, signal));
  forgetUpload(file);
  return started;
}

/** Sends a file like `uploadFile`, and starts no job. @returns the id of the upload */
export async function storeFile(
  token: string,
  file: File,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<string> {
  const client = new JobClient(location.origin, { token, signal });
  // Not an upload of the same file that starts a job when it is complete.
  const { name, size, lastModified } = file;
  const known = { name: `${name} without a job`, size, lastModified };
  const upload = await sendFile(client, file, known, null, signal, onProgress);
  await client.completeUpload(upload.id);
  forgetUpload(known);
  return upload.id;
}

/** Sends the parts that are missing. @param known finds the upload after a reload @param request of its job; null: none */
async function sendFile(
  client: JobClient,
  file: File,
  known: KnownFile,
  request: object | null,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<RemoteUpload> {
  const kept = findUpload(known);
  const found = kept === undefined ? undefined : await client.upload(kept);
  const upload =
    found?.byteLength === file.size
      ? found
      : await client.createUpload({ name: file.name, byteLength: file.size, request });
  keepUpload(known, upload.id);
  if (upload.state === "open") await sendParts(client, upload, file, signal, onProgress);
  return upload;
}

async function sendParts(
  client: JobClient,
  { id, parts, partBytes, done }: RemoteUpload,
  file: File,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<void> {
  const length = (n: number) => Math.min(partBytes, file.size - (n - 1) * partBytes);
  const there = new Set(done);
  let bytes = done.reduce((sum, n) => sum + length(n), 0);
  onProgress(bytes);
  const missing = Array.from({ length: parts }, (_, i) => i + 1).filter((n) => !there.has(n));
  await forEachConcurrent(
    missing,
    PARALLEL_PARTS,
    async (n) => {
      const from = (n - 1) * partBytes;
      let part: ArrayBuffer;
      try {
        part = await file.slice(from, from + length(n)).arrayBuffer();
      } catch (cause) {
        throw new Error(`${file.name} can no longer be read: it was moved or changed; choose it again`, {
          cause,
        });
      }
      await client.putPart(id, n, new Uint8Array(part));
      bytes += length(n);
      onProgress(bytes);
    },
    { signal },
  );
}

/** The service may know the job a moment after the upload. */
async function waitForJob(client: JobClient, id: string, signal: AbortSignal): Promise<string> {
  for (let look = 0; look < LOOKS; look++) {
    signal.throwIfAborted();
    const upload = await client.upload(id);
    if (upload?.job !== undefined) return upload.job;
    if (upload?.refusal !== undefined) throw new Error(`the service started no job: ${upload.refusal}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
  throw new Error("the scan is stored, but its job has not started yet; look at the list later");
}
