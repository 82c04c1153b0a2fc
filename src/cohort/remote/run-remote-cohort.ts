import { JobFailedError } from "../../client/errors.ts";
import { JobClient } from "../../client/job-client.ts";
import type { RemoteCohortStatus } from "../../contracts/cohort-request.ts";
import { CohortDirectory } from "../cohort-directory.ts";
import type { CohortResult } from "../cohort-options.ts";
import { Journal } from "../journal.ts";
import { MetricsCache } from "../slide-metrics.ts";
import { TableWriter } from "../table-writer.ts";
import { sumOutcomes } from "../totals.ts";
import { writeReport } from "../write-tables.ts";
import { CohortClient } from "./cohort-client.ts";
import { RemoteCohortRun } from "./remote-run.ts";
import { assertNoLocalOptions, createRemoteSnapshot, type RemoteCohortOptions } from "./remote-snapshot.ts";

/**
 * Runs a cohort at a job service and writes one table of all scans here. The service works by itself: however an
 * earlier call ended, the same call resumes watching.
 * @throws {CohortManifestError} before anything is written
 * @throws {JobFailedError} when the cohort waits for a higher cost limit, or was paused or cancelled at the service
 */
export async function runRemoteCohort(options: RemoteCohortOptions): Promise<CohortResult> {
  const { out, onEvent = () => {}, signal } = options;
  assertNoLocalOptions(options);
  const directory = new CohortDirectory(out);
  directory.assertEmptyOrCohort();
  const client = new JobClient(options.server, { token: options.token, signal });
  const before = directory.assertSameServer(client.url.href);
  const { snapshot, kind } = await createRemoteSnapshot(options, client.url.href, before);
  // Bind the directory to the address only after the service has responded. Stopping here leaves an empty cohort
  // there.
  if (!before) {
    const { cohort, job } = snapshot.service!;
    await new CohortClient(client, cohort).open(job, {});
  }

  directory.lock();
  let journal: Journal | undefined;
  try {
    directory.write(snapshot);
    journal = Journal.open(directory.journal);
    const metrics = new MetricsCache(snapshot.store);
    const run = new RemoteCohortRun(client, options, snapshot, journal, metrics);
    const tables = new TableWriter(directory, snapshot, () => run.outcomes(), metrics);
    await run.open();
    const { done, failed, pending } = sumOutcomes(run.outcomes());
    onEvent({ type: "cohort", rows: snapshot.rows.length, kind, done, failed, toDo: pending });
    await tables.write();
    let end: RemoteCohortStatus;
    try {
      end = await run.follow(() => tables.writeIfDue());
    } finally {
      await tables.write().catch((error) => {
        if (!signal?.aborted) throw error;
      });
    }
    const ended = run.outcomes();
    writeReport(directory, snapshot, ended, metrics);
    assertFinished(end);
    return { rows: ended.length, out, ...sumOutcomes(ended) };
  } finally {
    journal?.close();
    directory.unlock();
  }
}

/** Downloads what the service has done so far, without waiting for the rest. */
export async function fetchRemoteCohort(
  path: string,
  access: { token?: string; signal?: AbortSignal },
): Promise<void> {
  const directory = new CohortDirectory(path);
  const snapshot = directory.read();
  const client = new JobClient(snapshot.service!.url, access);
  directory.lock();
  let journal: Journal | undefined;
  try {
    journal = Journal.open(directory.journal);
    const options = { ...access, out: path };
    const run = new RemoteCohortRun(client, options, snapshot, journal, new MetricsCache(snapshot.store));
    await run.catchUp();
  } finally {
    journal?.close();
    directory.unlock();
  }
}

function assertFinished({ state, reason, rows }: RemoteCohortStatus): void {
  if (rows.pending === 0) return;
  if (state === "cancelled") {
    throw new JobFailedError(
      `the cohort was cancelled with ${rows.pending} scans to do: the same command continues it`,
    );
  }
  if (state === "paused") {
    throw new JobFailedError(
      `the cohort is paused with ${rows.pending} scans to do: ${reason ?? "somebody asked for it; the same command continues it"}`,
    );
  }
}
