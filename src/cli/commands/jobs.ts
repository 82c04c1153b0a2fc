import { checkDownloadPlace } from "../../client/download.ts";
import { JobFailedError } from "../../client/errors.ts";
import { assertSucceeded, fetchResults, followJob } from "../../client/follow-job.ts";
import { JobClient } from "../../client/job-client.ts";
import { startJob, type UploadResult } from "../../client/upload.ts";
import type { UploadListener } from "../../client/upload-progress.ts";
import { isFinal, type JobStatus } from "../../contracts/job-request.ts";
import type { AddCommand } from "../options/context.ts";
import {
  type JobFlags,
  resolveToken,
  type ServiceFlags,
  toJobOptions,
  withJobOptions,
  withServiceOptions,
} from "../options/shared-options.ts";
import { printResults } from "../terminal/print-results.ts";
import { createUploadPrinter } from "../terminal/upload-progress.ts";
import { addListCommand } from "./list-jobs.ts";

/** Address of a service and credentials for it. */
interface ServiceAccess {
  server: string;
  token?: string;
  signal?: AbortSignal;
}

interface DownloadFlags extends ServiceFlags {
  out: string;
  force?: boolean;
  json?: boolean;
}

export const addJobsCommands: AddCommand = (program, context) => {
  const { signal, setResumeHint } = context;
  const toAccess = (flags: ServiceFlags): ServiceAccess => ({
    server: flags.server,
    token: resolveToken(flags),
    signal,
  });
  const jobs = program.command("jobs").description("jobs of a job service");
  withJobOptions(
    jobs
      .command("start <address>")
      .description(
        "segment a source that the service reads itself: r2://, s3:// or https://, also a prefix of objects",
      ),
  ).action(async (address: string, flags: JobFlags) => {
    setResumeHint("continue later with the same command");
    printJob(await startJob(address, toJobOptions(flags, context)), flags);
  });
  addListCommand(jobs, context);
  withServiceOptions(jobs.command("get <job>").description("show the status of a job"))
    .option("--json", "as JSON")
    .action((job: string, flags: ServiceFlags & { json?: boolean }) =>
      getJob(job, toAccess(flags), Boolean(flags.json)),
    );
  withServiceOptions(jobs.command("cancel <job>").description("end a job")).action(
    (job: string, flags: ServiceFlags) => cancelJob(job, toAccess(flags)),
  );
  withServiceOptions(
    jobs
      .command("delete <job>")
      .description(
        "delete results and record of a finished job from the service; the scan stays (needs the scope admin)",
      ),
  ).action((job: string, flags: ServiceFlags) => deleteJob(job, toAccess(flags)));
  withServiceOptions(jobs.command("download <job>").description("wait for a job and download its results"))
    .requiredOption("--out <dir>", "directory for the results")
    .option("--force", "replace a finished run there")
    .option("--json", "progress as JSON lines on stderr, the run manifest on stdout")
    .action(async (job: string, flags: DownloadFlags) => {
      setResumeHint("continue later with the same command");
      const { out, force } = flags;
      const onEvent = createUploadPrinter(Boolean(flags.json));
      const manifest = JSON.parse(await downloadJob(job, toAccess(flags), { out, force, onEvent }));
      if (flags.json) return void process.stdout.write(`${JSON.stringify(manifest)}\n`);
      printResults(out, manifest);
    });
};

/** Prints the outcome of a job that was started or uploaded. */
export function printJob({ job, status, manifest }: UploadResult, { json, out }: JobFlags): void {
  if (json) return void process.stdout.write(`${JSON.stringify(status ?? { id: job })}\n`);
  if (manifest !== undefined && out !== undefined) printResults(out, JSON.parse(manifest));
  else console.log(job);
}

/** Prints the status of a job. */
async function getJob(job: string, { server, ...access }: ServiceAccess, json: boolean): Promise<void> {
  const status = await new JobClient(server, access).status(job);
  if (json) return void process.stdout.write(`${JSON.stringify(status)}\n`);
  for (const [name, value] of Object.entries(toLines(status))) console.log(`${name.padEnd(8)} ${value}`);
}

/** Asks the service to end a job. @throws {JobFailedError} when it has ended already */
async function cancelJob(job: string, { server, ...access }: ServiceAccess): Promise<void> {
  const client = new JobClient(server, access);
  const { state } = await client.status(job);
  if (isFinal(state)) throw new JobFailedError(`job ${job} is already ${state}: there is nothing to cancel`);
  await client.cancel(job);
  console.log(`job ${job} is being cancelled`);
}

/** Deletes results and record of a finished job. */
async function deleteJob(job: string, { server, ...access }: ServiceAccess): Promise<void> {
  const client = new JobClient(server, access);
  const { source } = await client.status(job);
  await client.delete(job);
  console.log(`job ${job} and its results are deleted; its scan is still at ${source.uri}`);
}

/** Waits for a job and fetches its results. @returns the run manifest, as text */
async function downloadJob(
  job: string,
  { server, ...access }: ServiceAccess,
  { out, force, onEvent }: { out: string; force?: boolean; onEvent: UploadListener },
): Promise<string> {
  const client = new JobClient(server, access);
  checkDownloadPlace(out, force);
  const status = await followJob(client, job, access.signal, onEvent);
  assertSucceeded(status);
  const { signal } = access;
  const manifest = await fetchResults(client, status, { out, force, signal }, onEvent);
  onEvent({ type: "stage", stage: "done" });
  return manifest;
}

function toLines({
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
