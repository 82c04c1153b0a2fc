import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { JobStatus } from "../../src/contracts/job-request.ts";

export const TOKEN = "token-of-the-tests-that-may-do-all";
export const READ_TOKEN = "token-of-the-tests-that-may-look";
export const SOURCE_TOKEN = "token-of-the-tests-that-may-see-scans";
export const WORK_TOKEN = "token-of-the-tests-that-may-run-shards";
export const SUBMIT_TOKEN = "token-of-the-tests-that-may-submit";
/** Bindings of the job service under test, with shorter timeouts. */
export const JOBS_BINDINGS = {
  TOKENS: JSON.stringify([
    { name: "tests", token: TOKEN, scopes: ["admin"] },
    { name: "submitter", token: SUBMIT_TOKEN, scopes: ["submit", "read"] },
    { name: "reader", token: READ_TOKEN, scopes: ["read"] },
    { name: "viewer", token: SOURCE_TOKEN, scopes: ["read", "source"] },
    { name: "runner", token: WORK_TOKEN, scopes: ["work"] },
  ]),
  STALL_SECONDS: "5",
  RETRY_SECONDS: "0",
  LATE_SECONDS: "4",
};
export const SEGMENT_BINDINGS = { TOKEN, RETRY_SECONDS: "0", SHARD_TIMEOUT_SECONDS: "3" };

/** Client of a job service. */
export class Service {
  readonly url: URL;

  constructor(url: URL) {
    this.url = url;
  }

  fetch(path: string, init: RequestInit = {}, token: string | undefined = TOKEN): Promise<Response> {
    const headers = new Headers(init.headers);
    if (token) headers.set("Authorization", `Bearer ${token}`);
    return fetch(new URL(path, this.url), { ...init, headers });
  }

  post(path: string, body: unknown, token?: string): Promise<Response> {
    const headers = { "Content-Type": "application/json" };
    return this.fetch(path, { method: "POST", headers, body: JSON.stringify(body) }, token);
  }

  /** Uploads a file in parts. Without `request` only a matching rule starts a job. */
  async upload(
    file: string,
    name: string,
    request?: unknown,
  ): Promise<{ id: string; source: string; etag: string }> {
    const bytes = readFileSync(file);
    const begun = await this.post("/v1/uploads", { name, byteLength: bytes.length, request });
    if (begun.status !== 201) throw new Error(await begun.text());
    const { id, parts, partBytes } = (await begun.json()) as { id: string; parts: number; partBytes: number };
    for (let n = 1; n <= parts; n++) {
      const body = bytes.subarray((n - 1) * partBytes, n * partBytes);
      const put = await this.fetch(`/v1/uploads/${id}/parts/${n}`, { method: "PUT", body });
      if (!put.ok) throw new Error(await put.text());
      await put.arrayBuffer();
    }
    const completed = await this.post(`/v1/uploads/${id}/complete`, {});
    if (!completed.ok) throw new Error(await completed.text());
    const { source, etag } = (await completed.json()) as { source: string; etag: string };
    return { id, source, etag };
  }

  /** The job that an upload started. */
  async jobOf(upload: string): Promise<string> {
    return until(async () => {
      const { job } = (await (await this.fetch(`/v1/uploads/${upload}`)).json()) as { job?: string };
      return job;
    });
  }

  async start(request: unknown): Promise<{ status: number; job: JobStatus }> {
    const response = await this.post("/v1/jobs", request);
    const body = await response.text();
    if (response.status !== 200 && response.status !== 202) throw new Error(body);
    return { status: response.status, job: JSON.parse(body) as JobStatus };
  }

  async job(id: string): Promise<JobStatus> {
    const response = await this.fetch(`/v1/jobs/${id}`);
    return (await response.json()) as JobStatus;
  }

  /** Waits for the final state of a job. */
  async ended(id: string, seconds = 90): Promise<JobStatus> {
    return until(async () => {
      const job = await this.job(id);
      return ["done", "failed", "cancelled"].includes(job.state) ? job : undefined;
    }, seconds);
  }

  /** Downloads all results into a directory. */
  async download(id: string, directory: string): Promise<void> {
    let cursor: string | undefined;
    do {
      const query = cursor === undefined ? "" : `?cursor=${encodeURIComponent(cursor)}`;
      const listing = (await (await this.fetch(`/v1/jobs/${id}/outputs${query}`)).json()) as {
        files: { name: string; byteLength: number }[];
        cursor?: string;
      };
      for (const { name, byteLength } of listing.files) {
        const bytes = new Uint8Array(
          await (await this.fetch(`/v1/jobs/${id}/outputs/${name}`)).arrayBuffer(),
        );
        if (bytes.length !== byteLength)
          throw new Error(`${name} has ${bytes.length} of ${byteLength} bytes`);
        mkdirSync(dirname(join(directory, name)), { recursive: true });
        writeFileSync(join(directory, name), bytes);
      }
      cursor = listing.cursor;
    } while (cursor !== undefined);
  }
}

/** Polls until there is a result. */
export async function until<T>(ask: () => Promise<T | undefined>, seconds = 60, pauseMs = 100): Promise<T> {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  throw new Error(`nothing came of it in ${seconds} s`);
}
