import * as z from "zod";
import { RemoteError } from "../../src/inference/errors.ts";
import { parseJsonResponse } from "../../src/inference/remote/http-request.ts";
import { requestWithRetry } from "./request-with-retry.ts";

/** A hundred messages of 128 KB each, as base64. */
const MAX_PULLED_BYTES = 2 ** 25;

export interface PulledMessage {
  /** Lease id: needed to acknowledge or to return the message. */
  lease: string;
  /** Number of deliveries, this one included. */
  attempts: number;
  /** Parsed JSON; undefined if the message is not JSON. */
  body: unknown;
}

export interface Pulled {
  messages: PulledMessage[];
  /** Unacknowledged messages of the queue, leased or not; undefined if the queue does not report it. */
  backlog: number | undefined;
}

export interface Settlement {
  acks: string[];
  /** Messages to deliver again after a delay. */
  retries: { lease: string; delaySeconds: number }[];
}

const pulledSchema = z.object({
  result: z.object({
    message_backlog_count: z.number().nonnegative().optional().catch(undefined),
    messages: z
      .array(z.object({ body: z.unknown(), attempts: z.int().nonnegative(), lease_id: z.string().min(1) }))
      .default([]),
  }),
});

/**
 * A Cloudflare queue whose consumer is of the type http_pull
 * (https://developers.cloudflare.com/queues/configuration/pull-consumers/). A pulled message is leased: it is not
 * delivered to others until its visibility timeout ends.
 */
export class QueueClient {
  readonly #url: URL;
  readonly #token: string;

  /** @param url `https://api.cloudflare.com/client/v4/accounts/<account>/queues/<queue>` */
  constructor(url: string, token: string) {
    this.#url = new URL(url.endsWith("/") ? url : `${url}/`);
    this.#token = token;
  }

  /**
   * Pulls at most `count` messages. Not retried: the caller polls anyway.
   * @throws {RemoteError}
   */
  async pull(count: number, leaseMs: number, signal?: AbortSignal): Promise<Pulled> {
    const answer = await requestWithRetry({
      url: new URL("messages/pull", this.#url),
      method: "POST",
      token: this.#token,
      body: { batch_size: count, visibility_timeout_ms: leaseMs },
      signal,
      maxBytes: MAX_PULLED_BYTES,
      tries: 1,
    });
    const parsed = pulledSchema.safeParse(parseJsonResponse(answer));
    if (!parsed.success) {
      throw new RemoteError(`${this.#url.host} is not a Cloudflare queue: ${z.prettifyError(parsed.error)}`, {
        code: "bad_answer",
        retryable: false,
      });
    }
    const { messages, message_backlog_count: backlog } = parsed.data.result;
    return {
      messages: messages.map(({ body, attempts, lease_id }) => ({
        lease: lease_id,
        attempts,
        body: parseBody(body),
      })),
      backlog,
    };
  }

  /** @throws {RemoteError} */
  async settle({ acks, retries }: Settlement, signal?: AbortSignal): Promise<void> {
    if (acks.length + retries.length === 0) return;
    await requestWithRetry({
      url: new URL("messages/ack", this.#url),
      method: "POST",
      token: this.#token,
      body: {
        acks: acks.map((lease_id) => ({ lease_id })),
        retries: retries.map(({ lease, delaySeconds }) => ({ lease_id: lease, delay_seconds: delaySeconds })),
      },
      signal,
    });
  }
}

/** Messages sent as JSON arrive as its text in base64, those sent as text as they are. */
function parseBody(body: unknown): unknown {
  if (typeof body !== "string") return body;
  for (const text of [body, Buffer.from(body, "base64").toString("utf8")]) {
    try {
      return JSON.parse(text);
    } catch {
      // The other way, or none.
    }
  }
  return undefined;
}
