import * as z from "zod";
import { readS3Records, s3RecordsSchema } from "./s3-records.ts";
import { parseEvent, type ReadEvents } from "./storage-event.ts";

/** `Key` joins bucket and key; the records have them apart. */
export const minioSchema = s3RecordsSchema.extend({
  EventName: z.string().max(128),
  Key: z.string().max(17_000),
});

/** @throws {HttpError} 400 */
export function readMinio(body: unknown): ReadEvents {
  parseEvent(minioSchema, body, "MinIO");
  return readS3Records(body, "minio");
}
