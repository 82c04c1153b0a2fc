import type { DurableObjectNamespace, R2Bucket } from "@cloudflare/workers-types";
import * as z from "zod";
import { HttpError } from "../../../service/http-error.ts";
import type { Bindings } from "../context/bindings.ts";
import type { S3Access } from "./s3-multipart.ts";

/** The bindings for uploads, checked. */
export interface UploadSettings {
  scans: R2Bucket;
  bucket: string;
  ledgers: DurableObjectNamespace;
  /** Absent where it is not configured: then there are no presigned uploads. */
  s3?: S3Access;
}

const keysSchema = z.object({
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
  region: z.string().min(1).default("auto"),
});

/** @throws {HttpError} 503 with the name of the binding that is missing or wrong */
export function readUploadSettings(env: Bindings): UploadSettings {
  const { SCANS, SCANS_BUCKET, UPLOADS } = env;
  if (typeof SCANS?.createMultipartUpload !== "function") throw wrong("SCANS", "an R2 bucket");
  if (!SCANS_BUCKET) throw wrong("SCANS_BUCKET", "the name of the bucket SCANS");
  if (typeof UPLOADS?.idFromName !== "function")
    throw wrong("UPLOADS", "a Durable Object of class UploadLedger");
  return { scans: SCANS, bucket: SCANS_BUCKET, ledgers: UPLOADS, s3: readS3Access(env) };
}

/** @throws {HttpError} where it is configured in part */
export function readS3Access({
  SCANS_BUCKET,
  SCANS_S3_ENDPOINT,
  SCANS_S3_KEYS,
}: Bindings): S3Access | undefined {
  if (!SCANS_S3_ENDPOINT && !SCANS_S3_KEYS) return undefined;
  if (!SCANS_S3_ENDPOINT || !/^https?:\/\//.test(SCANS_S3_ENDPOINT) || !URL.canParse(SCANS_S3_ENDPOINT)) {
    throw wrong("SCANS_S3_ENDPOINT", "the address of an S3 server");
  }
  let given: unknown;
  try {
    given = JSON.parse(SCANS_S3_KEYS ?? "");
  } catch {
    given = undefined;
  }
  // Without the detail of the error, which could contain a part of the secret.
  const keys = keysSchema.safeParse(given);
  if (!keys.success) throw wrong("SCANS_S3_KEYS", 'JSON with "accessKeyId" and "secretAccessKey"');
  return { endpoint: SCANS_S3_ENDPOINT, bucket: SCANS_BUCKET ?? "", ...keys.data };
}

function wrong(name: string, expected: string): HttpError {
  return new HttpError(503, "not_configured", `the Worker's binding ${name} must be ${expected}`);
}
