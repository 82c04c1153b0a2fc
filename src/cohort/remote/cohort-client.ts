import type { JobClient } from "../../client/job-client.ts";
import {
  type ChangedLimits,
  type CohortJob,
  type CohortRowStatus,
  cohortStatusSchema,
  MAX_ROWS_A_REQUEST,
  type NewCohortRow,
  type RemoteCohortStatus,
  rowsPageSchema,
} from "../../contracts/cohort-request.ts";

/** Requests have 1 MiB at most. */
const MAX_PAGE_CHARACTERS = 300_000;

/** One cohort of a job service. Every call is idempotent. */
export class CohortClient {
  readonly jobs: JobClient;
  readonly #path: string;
  readonly #id: string;
  /** Position in the service's list of changes, up to which rows are known. */
  #cursor: string | undefined;

  constructor(jobs: JobClient, id: string) {
    this.jobs = jobs;
    this.#id = id;
    this.#path = `v1/cohorts/${id}`;
  }

  open(job: CohortJob, limits: ChangedLimits): Promise<RemoteCohortStatus> {
    return this.#request("POST", "v1/cohorts", { id: this.#id, job, limits });
  }

  status(): Promise<RemoteCohortStatus> {
    return this.#request("GET", this.#path);
  }

  setLimits(limits: ChangedLimits): Promise<RemoteCohortStatus> {
    return this.#request("PATCH", this.#path, limits);
  }

  async add(rows: readonly NewCohortRow[]): Promise<void> {
    for (const page of splitIntoPages(rows))
      await this.#request("POST", `${this.#path}/rows`, { rows: page });
  }

  /** @param ids default all that failed */
  async retry(ids?: readonly string[]): Promise<void> {
    if (!ids) return void (await this.#request("POST", `${this.#path}/retry`, {}));
    for (let i = 0; i < ids.length; i += MAX_ROWS_A_REQUEST) {
      await this.#request("POST", `${this.#path}/retry`, { ids: ids.slice(i, i + MAX_ROWS_A_REQUEST) });
    }
  }

  resume(): Promise<RemoteCohortStatus> {
    return this.#request("POST", `${this.#path}/resume`);
  }

  cancel(): Promise<RemoteCohortStatus> {
    return this.#request("POST", `${this.#path}/cancel`);
  }

  /** Deletes the cohort. The service rejects this while anything is in progress. */
  delete(): Promise<void> {
    return this.jobs.deletePath(this.#path);
  }

  /** Rows that changed since the last call; the first call gives all. A row that changes meanwhile is given again. */
  async *changes(): AsyncGenerator<CohortRowStatus> {
    for (let more = true; more; ) {
      const query = this.#cursor === undefined ? "" : `?cursor=${encodeURIComponent(this.#cursor)}`;
      const page = await this.jobs.requestJson(rowsPageSchema, "GET", `${this.#path}/rows${query}`);
      yield* page.rows;
      more = page.more && page.cursor !== this.#cursor;
      this.#cursor = page.cursor;
    }
  }

  #request(method: string, path: string, body?: object): Promise<RemoteCohortStatus> {
    return this.jobs.requestJson(cohortStatusSchema, method, path, body);
  }
}

/** Splits rows into pages that fit a request. */
export function* splitIntoPages(rows: readonly NewCohortRow[]): Generator<NewCohortRow[]> {
  let page: NewCohortRow[] = [];
  let characters = 0;
  for (const row of rows) {
    const { length } = JSON.stringify(row);
    if (
      page.length === MAX_ROWS_A_REQUEST ||
      (page.length > 0 && characters + length > MAX_PAGE_CHARACTERS)
    ) {
      yield page;
      page = [];
      characters = 0;
    }
    page.push(row);
    characters += length;
  }
  if (page.length > 0) yield page;
}
