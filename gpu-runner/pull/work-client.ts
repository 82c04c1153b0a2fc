import * as z from "zod";
import { decodePlannedJob, type JobDocument, type PlannedJob } from "../../src/contracts/job-plan-message.ts";
import { RemoteError } from "../../src/inference/errors.ts";
import { parseJsonResponse } from "../../src/inference/remote/http-request.ts";
import { ObjectChangedError } from "../../src/storage/errors.ts";
import { HttpStore } from "../../src/storage/http-store.ts";
import type { ListedObject, ObjectStore } from "../../src/storage/object-store.ts";
import { withRetry } from "../../src/storage/retry.ts";
import { snapshotStore } from "../../src/storage/snapshot-store.ts";
import { MASK_BATCH_TYPE } from "../../src/tiling/wire/mask-batch.ts";
import { requestWithRetry } from "./request-with-retry.ts";

/** Far above any plan of a service: one bit a window, and a thumbnail. */
const MAX_PLAN_BYTES = 2 ** 27;
/** Maximum bytes of the list of objects below a prefix. */
const MAX_LISTING_BYTES = 2 ** 26;

export interface ShardReport {
  windows: number;
  bytesRead?: number;
  modelMilliseconds?: number;
  runtime?: string;
}

type ShardEvent =
  | { event: "take" }
  | { event: "alive" }
  | { event: "done"; report: ShardReport }
  | { event: "tried"; message: string }
  | { event: "failed"; code: string; message: string };

const objectsSchema = z.object({
  objects: z
    .array(
      z.object({ key: z.string().max(4096), etag: z.string().max(512), byteLength: z.int().nonnegative() }),
    )
    .max(100_000),
});

/** Client of the `/v1/work` routes of a job service: plan and pixels in, records and reports out. */
export class WorkClient {
  readonly #url: URL;
  readonly #token: string;

  /** @param url address of the job service; `token` has the scope `work` */
  constructor(url: string, token: string) {
    this.#url = new URL("v1/work/", url.endsWith("/") ? url : `${url}/`);
    this.#token = token;
  }

  /** @throws {RemoteError} 404 if the job has ended */
  async plan(job: string, signal?: AbortSignal): Promise<PlannedJob> {
    const { bytes } = await requestWithRetry({
      url: this.#at(job, "plan"),
      method: "GET",
      token: this.#token,
      maxBytes: MAX_PLAN_BYTES,
      signal,
    });
    return decodePlannedJob(bytes);
  }

  /** A store with the job's source under its name. */
  async source({ id, source }: JobDocument, signal?: AbortSignal): Promise<ObjectStore> {
    const headers = { Authorization: `Bearer ${this.#token}` };
    const store = withRetry(new HttpStore(this.#at(id, "source/").href, { headers }));
    return source.kind === "prefix" ? snapshotStore(store, await this.#objects(id, signal)) : store;
  }

  /** @throws {ObjectChangedError} if the objects of the prefix have changed since the job was created */
  async #objects(job: string, signal?: AbortSignal): Promise<ListedObject[]> {
    const answer = await requestWithRetry({
      url: this.#at(job, "objects"),
      method: "GET",
      token: this.#token,
      maxBytes: MAX_LISTING_BYTES,
      signal,
    }).catch((error: unknown) => {
      if (error instanceof RemoteError && error.code === "source_changed") throw new ObjectChangedError(job);
      throw error;
    });
    const parsed = objectsSchema.safeParse(parseJsonResponse(answer));
    if (parsed.success) return parsed.data.objects;
    throw this.#badAnswer();
  }

  async putRecords(
    job: string,
    shard: number,
    records: Uint8Array<ArrayBuffer>,
    signal?: AbortSignal,
  ): Promise<void> {
    await requestWithRetry({
      url: this.#at(job, `shards/${shard}/records`),
      method: "PUT",
      token: this.#token,
      body: records,
      contentType: MASK_BATCH_TYPE,
      signal,
    });
  }

  /** Reports an event of a shard. @returns for "take": whether the shard still has to be done */
  async report(job: string, shard: number, event: ShardEvent, signal?: AbortSignal): Promise<boolean> {
    const answer = await requestWithRetry({
      url: this.#at(job, `shards/${shard}`),
      method: "POST",
      token: this.#token,
      body: event,
      signal,
    });
    const parsed = z.object({ run: z.boolean() }).safeParse(parseJsonResponse(answer));
    if (parsed.success) return parsed.data.run;
    throw this.#badAnswer();
  }

  #badAnswer(): RemoteError {
    return new RemoteError(`${this.#url.host} is not a job service of Tilewright`, {
      code: "bad_answer",
      retryable: false,
    });
  }

  #at(job: string, path: string): URL {
    return new URL(`${job}/${path}`, this.#url);
  }
}
