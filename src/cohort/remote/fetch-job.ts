import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { downloadOutputs } from "../../client/download.ts";
import type { JobClient } from "../../client/job-client.ts";
import { JobError } from "../../orchestrator/errors.ts";
import type { RunManifest } from "../../orchestrator/manifest/run-manifest.ts";
import type { CohortSnapshot, Download } from "../cohort-snapshot.ts";

/** Outputs that the tables and the report are made from. */
const TABLE_INPUTS: ReadonlySet<string> = new Set(["measurements.csv", "overlay.png"]);

/**
 * Downloads the results of a job, or those that are wanted, into its directory; existing files stay.
 * @throws {JobError} when the service's model is not the one whose classes are the table's columns
 */
export async function fetchJob(
  client: JobClient,
  job: string,
  directory: string,
  { download, model, signal }: { download: Download; model: CohortSnapshot["model"]; signal?: AbortSignal },
): Promise<void> {
  const existingRun = readRunManifest(directory);
  if (existingRun?.job === job && isComplete(directory, existingRun, download)) return;
  const status = await client.status(job);
  const text = await downloadOutputs(client, status, {
    out: directory,
    only: download === "all" ? undefined : TABLE_INPUTS,
    // The directory holds what the tables needed, not everything.
    force: existingRun !== undefined,
    signal,
  });
  const { name, version } = (JSON.parse(text) as RunManifest).model;
  if (name === model.name && version === model.version) return;
  throw new JobError(
    `${client.url.host} runs ${name} ${version} and here is ${model.name} ${model.version}: use the same model, so that the table has its columns`,
  );
}

function readRunManifest(directory: string): RunManifest | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, "run.json"), "utf8")) as RunManifest;
  } catch {
    return undefined;
  }
}

function isComplete(directory: string, { outputs }: RunManifest, download: Download): boolean {
  const wanted = outputs.filter(({ name }) => download === "all" || TABLE_INPUTS.has(name));
  return wanted.every(({ name }) => existsSync(join(directory, name)));
}
