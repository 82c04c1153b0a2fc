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

/** Bodies have 1 MiB at most. */
const MAX_PAGE_CHARACTERS = 300_000;

/** One cohort of a job service. Every call may be repeated. */
export class CohortClient {
  readonly jobs: JobClient;
  readonly #path: string;
  readonly #id: string;
  /** Up to which change rows are known. */
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

  /** Forgets the cohort; one of which something is under way is refused. */
  delete(): Promise<void> {
    return this.jobs.deletePath(this.#path);
  }

  /** Rows that changed since the last call, at first all; one that changes meanwhile comes again. */
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

/** Cuts rows so that each request is small enough. */
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
