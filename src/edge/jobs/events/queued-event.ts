import * as z from "zod";
import { bucketSchema } from "../../shared/bucket-name.ts";
import { readR2Notification } from "./r2-notification.ts";
import {
  markSchema,
  parseEvent,
  type ReadEvents,
  rawKeySchema,
  readable,
  type StorageEvent,
  sizeSchema,
} from "./storage-event.ts";

const storageEventSchema: z.ZodType<StorageEvent> = z.strictObject({
  bucket: bucketSchema,
  key: rawKeySchema,
  etag: z.string().max(256),
  byteLength: sizeSchema.optional(),
  version: markSchema.optional(),
  sequencer: markSchema.optional(),
  action: z.enum(["create", "delete"]),
  provider: z.enum(["r2", "s3", "minio"]),
});

/**
 * Reads a message of the event queue: from R2, or from a webhook.
 * @throws {HttpError} 400; acknowledge such a message: a retry cannot succeed
 */
export function readQueuedEvent(body: unknown): ReadEvents {
  const isAccepted = typeof body === "object" && body !== null && "provider" in body;
  if (!isAccepted) return readR2Notification(body);
  return readable([parseEvent(storageEventSchema, body, "a webhook of ours")]);
}
