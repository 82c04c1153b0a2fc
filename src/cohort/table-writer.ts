import type { CohortDirectory } from "./cohort-directory.ts";
import type { CohortSnapshot } from "./cohort-snapshot.ts";
import type { MetricsCache } from "./slide-metrics.ts";
import type { RowOutcome } from "./table.ts";
import { writeTables } from "./write-tables.ts";

/** Tables are rewritten after this interval, for at most this share of the run time. */
const INTERVAL_MS = 10_000;
const SHARE = 0.05;

/** Keeps the tables of a running cohort up to date without slowing it down. */
export class TableWriter {
  readonly #directory: CohortDirectory;
  readonly #snapshot: CohortSnapshot;
  readonly #outcomes: () => readonly RowOutcome[];
  readonly #metrics: MetricsCache;
  #at = 0;
  #ms = 0;

  constructor(
    directory: CohortDirectory,
    snapshot: CohortSnapshot,
    outcomes: () => readonly RowOutcome[],
    metrics: MetricsCache,
  ) {
    this.#directory = directory;
    this.#snapshot = snapshot;
    this.#outcomes = outcomes;
    this.#metrics = metrics;
  }

  async write(): Promise<void> {
    const started = performance.now();
    await writeTables(this.#directory, this.#snapshot, this.#outcomes(), this.#metrics);
    this.#at = performance.now();
    this.#ms = this.#at - started;
  }

  async writeIfDue(): Promise<void> {
    if (performance.now() - this.#at < Math.max(INTERVAL_MS, this.#ms / SHARE)) return;
    // Other scans may finish while this table is written.
    this.#at = performance.now();
    await this.write();
  }
}
