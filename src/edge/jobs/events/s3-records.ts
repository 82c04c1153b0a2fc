import * as z from "zod";
import { bucketSchema } from "../../shared/bucket-name.ts";
import {
  badEvent,
  etagSchema,
  markSchema,
  parseEvent,
  type ReadEvents,
  rawKeySchema,
  readable,
  type StorageEvent,
  sizeSchema,
} from "./storage-event.ts";

/** The records of S3 event notifications, versions 2.x; MinIO writes the same. Deletions have neither size nor etag. */
export const s3RecordsSchema = z.object({
  Records: z
    .array(
      z.object({
        eventName: z.string().max(128),
        s3: z.object({
          bucket: z.object({ name: bucketSchema }),
          object: z.object({
            key: rawKeySchema,
            size: sizeSchema.optional(),
            eTag: etagSchema.optional(),
            versionId: markSchema.optional(),
            sequencer: markSchema.optional(),
          }),
        }),
      }),
    )
    .max(100),
});

/** S3 sends it once when notifications are configured. */
const testEventSchema = z.object({ Event: z.literal("s3:TestEvent") });

/** @throws {HttpError} 400 */
export function readS3Records(body: unknown, provider: "s3" | "minio"): ReadEvents {
  if (testEventSchema.safeParse(body).success) return { events: [], ignored: 1 };
  const { Records } = parseEvent(s3RecordsSchema, body, provider === "s3" ? "S3" : "MinIO");
  return readable(Records.map((record) => parseRecord(record, provider)));
}

type S3Record = z.output<typeof s3RecordsSchema>["Records"][number];

function parseRecord({ eventName, s3 }: S3Record, provider: "s3" | "minio"): StorageEvent | undefined {
  // MinIO writes the prefix "s3:", Amazon does not.
  if (!/^(s3:)?ObjectCreated:/.test(eventName)) return undefined;
  const { key, size, eTag, versionId, sequencer } = s3.object;
  if (eTag === undefined) throw badEvent("an object that was created has no eTag");
  return {
    bucket: s3.bucket.name,
    key: decodeKey(key),
    etag: eTag,
    byteLength: size,
    // Objects in buckets without versions have the version "null".
    version: versionId === "" || versionId === "null" ? undefined : versionId,
    sequencer: sequencer || undefined,
    action: "create",
    provider,
  };
}

/** Keys are encoded like forms: a space is "+". */
function decodeKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch {
    throw badEvent("a key in the message is not URL-encoded");
  }
}
