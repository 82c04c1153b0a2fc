import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { downloadOutputs } from "../../client/download.ts";
import type { JobClient } from "../../client/job-client.ts";
import { JobError } from "../../orchestrator/errors.ts";
import type { RunManifest } from "../../orchestrator/manifest/run-manifest.ts";
import type { CohortSnapshot, Download } from "../cohort-snapshot.ts";

/** What tables, objects and pictures of the report are made from. */
const TABLE_INPUTS: ReadonlySet<string> = new Set(["measurements.csv", "overlay.png"]);

/**
 * Fetches the results of a job into its directory, or what is wanted of them; what is there already stays.
 * @throws {JobError} where the service's model is not the one that gave the table its columns
 */
export async function fetchJob(
  client: JobClient,
  job: string,
  directory: string,
  { download, model, signal }: { download: Download; model: CohortSnapshot["model"]; signal?: AbortSignal },
): Promise<void> {
  const there = readRunManifest(directory);
  if (there?.job === job && isComplete(directory, there, download)) return;
  const status = await client.status(job);
  const text = await downloadOutputs(client, status, {
    out: directory,
    only: download === "all" ? undefined : TABLE_INPUTS,
    // What the tables needed is there and not all of it.
    force: there !== undefined,
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
