import * as z from "zod";
import { bucketSchema } from "../../shared/bucket-name.ts";
import {
  etagSchema,
  markSchema,
  parseEvent,
  type ReadEvents,
  rawKeySchema,
  readable,
  sizeSchema,
} from "./storage-event.ts";

const eventSchema = z.object({ source: z.string().max(256), "detail-type": z.string().max(128) });

/** Keys are not URL-encoded, unlike in S3's notifications. */
export const objectCreatedSchema = z.object({
  source: z.literal("aws.s3"),
  "detail-type": z.literal("Object Created"),
  detail: z.object({
    bucket: z.object({ name: bucketSchema }),
    object: z.object({
      key: rawKeySchema,
      size: sizeSchema.optional(),
      etag: etagSchema,
      "version-id": markSchema.optional(),
      sequencer: markSchema.optional(),
    }),
  }),
});

/** Ignores events of other kinds: an EventBridge rule may match several. @throws {HttpError} 400 */
export function readEventBridge(body: unknown): ReadEvents {
  const kind = parseEvent(eventSchema, body, "EventBridge");
  if (kind.source !== "aws.s3" || kind["detail-type"] !== "Object Created") return { events: [], ignored: 1 };
  const { bucket, object } = parseEvent(objectCreatedSchema, body, "EventBridge").detail;
  return readable([
    {
      bucket: bucket.name,
      key: object.key,
      etag: object.etag,
      byteLength: object.size,
      version: object["version-id"] || undefined,
      sequencer: object.sequencer || undefined,
      action: "create",
      provider: "s3",
    },
  ]);
}
