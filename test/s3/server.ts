import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { S3Store } from "../../src/storage/s3-store.ts";

/** The server that `run.ts` started. */
export const endpoint = process.env.TILEWRIGHT_S3_ENDPOINT!;
if (!endpoint) throw new Error("TILEWRIGHT_S3_ENDPOINT is not set; run these tests with: npm run test:s3");

/** The AWS SDK, to prepare buckets and to see the responses of the server without our code. */
export const client = new S3Client({
  endpoint,
  region: "us-east-1",
  forcePathStyle: true,
  requestChecksumCalculation: "WHEN_REQUIRED",
  responseChecksumValidation: "WHEN_REQUIRED",
});

let made = 0;

/** A new, empty bucket. */
export async function makeBucket(): Promise<string> {
  const Bucket = `tilewright-${process.pid}-${Date.now()}-${++made}`;
  await client.send(new CreateBucketCommand({ Bucket }));
  return Bucket;
}

/** With keys from the environment, like the command line. */
export function openStore(bucket: string, prefix?: string): S3Store {
  return new S3Store(bucket, { endpoint, prefix });
}
