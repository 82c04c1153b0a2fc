import * as z from "zod";
import { bucketSchema } from "../../shared/bucket-name.ts";
import {
  etagSchema,
  parseEvent,
  type ReadEvents,
  rawKeySchema,
  readable,
  type StorageEvent,
  sizeSchema,
} from "./storage-event.ts";

const CREATED = ["PutObject", "CopyObject", "CompleteMultipartUpload"] as const;
const DELETED = ["DeleteObject", "LifecycleDeletion"] as const;

const common = {
  account: z.string().max(256).optional(),
  bucket: bucketSchema,
  eventTime: z.string().max(64),
};

/** The message that R2 puts into a queue. */
const r2Schema = z.discriminatedUnion("action", [
  z.object({
    ...common,
    action: z.enum(CREATED),
    object: z.object({ key: rawKeySchema, size: sizeSchema, eTag: etagSchema }),
  }),
  z.object({ ...common, action: z.enum(DELETED), object: z.object({ key: rawKeySchema }) }),
]);

export type R2Notification = z.input<typeof r2Schema>;

/**
 * Reads a notification of R2. Deletions are valid too; no rule matches them.
 * @throws {HttpError} 400; acknowledge such a message: a retry cannot succeed
 */
export function readR2Notification(body: unknown): ReadEvents {
  const message = parseEvent(r2Schema, body, "R2");
  const { bucket, object } = message;
  const event: StorageEvent =
    "eTag" in object
      ? {
          bucket,
          key: object.key,
          etag: object.eTag,
          byteLength: object.size,
          action: "create",
          provider: "r2",
        }
      : { bucket, key: object.key, etag: "", action: "delete", provider: "r2" };
  return readable([event]);
}
