import { HttpError } from "../../../service/http-error.ts";
import { fetchTextBounded } from "./fetch-text-bounded.ts";
import { readS3Records } from "./s3-records.ts";
import { confirmationUrl, snsMessageSchema } from "./sns-message.ts";
import type { SnsVerifier } from "./sns-signature.ts";
import { parseEvent, parseJsonText, type ReadEvents } from "./storage-event.ts";

const MAX_AGE_MS = 3_600_000;
const MAX_CONFIRMATION_BYTES = 64 * 1024;

export interface SnsDeps {
  /** Whether the message was accepted before. Ids are needed for two hours: twice the maximum age of a message. */
  seen(messageId: string): Promise<boolean>;
  remember(messageId: string): Promise<void>;
  /** Default: that of the platform. */
  fetch?: typeof globalThis.fetch;
  now?(): number;
}

/**
 * Reads the events of an SNS message, after checking topic, age, signature and repetition. Confirms subscriptions. Fetches
 * nothing for topics that are not allowed.
 * @throws {HttpError} 400, 403, 503
 */
export async function readSns(
  body: unknown,
  topics: readonly string[],
  verifier: SnsVerifier,
  deps: SnsDeps,
): Promise<ReadEvents & { id: string }> {
  const { fetch = globalThis.fetch } = deps;
  const nowMs = deps.now?.() ?? Date.now();
  const message = parseEvent(snsMessageSchema, body, "SNS");
  const { MessageId: id, TopicArn: topic } = message;
  if (!topics.includes(topic)) {
    throw new HttpError(403, "unknown_topic", "this topic is not configured");
  }
  if (!(Math.abs(nowMs - Date.parse(message.Timestamp)) <= MAX_AGE_MS)) {
    throw new HttpError(403, "stale_message", "the message is older than an hour");
  }
  await verifier.verify(message, nowMs, fetch);
  if (message.Type === "UnsubscribeConfirmation" || (await deps.seen(id)))
    return { id, events: [], ignored: 1 };
  if (message.Type === "Notification") return { id, ...readS3Records(parseJsonText(message.Message), "s3") };

  const url = confirmationUrl(message.SubscribeURL, topic);
  if (!url) throw new HttpError(403, "bad_signature", "the confirmation address is not a host of SNS");
  if ((await fetchTextBounded(url.href, MAX_CONFIRMATION_BYTES, fetch)) === undefined) {
    throw new HttpError(503, "unavailable", "the subscription cannot be confirmed; send again later", {
      "Retry-After": "20",
    });
  }
  return { id, events: [], ignored: 0 };
}
