import { checkDownloadPlace } from "../../client/download.ts";
import { JobFailedError } from "../../client/errors.ts";
import { JobClient } from "../../client/job-client.ts";
import { fetchResults, follow, refuseFailed } from "../../client/upload.ts";
import type { UploadListener } from "../../client/upload-progress.ts";
import { isFinal, type JobStatus } from "../../contracts/job-request.ts";

/** Which service, and as whom. */
export interface ServiceAccess {
  to: string;
  token?: string;
  signal?: AbortSignal;
}

/** Prints how far a job is. */
export async function showJob(job: string, { to, ...access }: ServiceAccess, json: boolean): Promise<void> {
  const status = await new JobClient(to, access).status(job);
  if (json) return void process.stdout.write(`${JSON.stringify(status)}\n`);
  for (const [name, value] of Object.entries(told(status))) console.log(`${name.padEnd(8)} ${value}`);
}

/** Asks the service to end a job; one that has ended is told so. */
export async function cancelJob(job: string, { to, ...access }: ServiceAccess): Promise<void> {
  const client = new JobClient(to, access);
  const { state } = await client.status(job);
  if (isFinal(state)) throw new JobFailedError(`job ${job} is ${state} already: there is nothing to cancel`);
  await client.cancel(job);
  console.log(`job ${job} is being cancelled`);
}

/** Has the service remove the results and the record of a job that has ended. */
export async function removeJob(job: string, { to, ...access }: ServiceAccess): Promise<void> {
  const client = new JobClient(to, access);
  const { source } = await client.status(job);
  await client.remove(job);
  console.log(`job ${job} is removed, results and all; its scan is still at ${source.uri}`);
}

/** Waits for a job and fetches its results. @returns the run manifest, as text */
export async function downloadJob(
  job: string,
  { to, ...access }: ServiceAccess,
  { out, force, onEvent }: { out: string; force?: boolean; onEvent: UploadListener },
): Promise<string> {
  const client = new JobClient(to, access);
  checkDownloadPlace(out, force);
  const status = await follow(client, job, access.signal, onEvent);
  refuseFailed(status);
  const { signal } = access;
  const manifest = await fetchResults(client, status, { out, force, signal }, onEvent);
  onEvent({ type: "stage", stage: "done" });
  return manifest;
}

function told({
  state,
  source,
  model,
  windows,
  createdAt,
  updatedAt,
  error,
}: JobStatus): Record<string, string> {
  return {
    state,
    source: source.uri,
    model: [model.name, model.variant].filter(Boolean).join(" "),
    ...(windows ? { windows: `${windows.done}/${windows.total}` } : {}),
    begun: createdAt,
    updated: updatedAt,
    ...(error ? { error: error.message } : {}),
  };
}
