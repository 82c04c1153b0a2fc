import type { Bindings } from "../context/bindings.ts";
import type { R2Notification } from "../events/r2-notification.ts";

/** A complete scan in SCANS. */
export interface CompletedScan {
  bucket: string;
  key: string;
  etag: string;
  byteLength: number;
}

/** Sends the message of R2's notification to the event queue, where the platform sends none (the local stack). */
export async function publishUploadEvent(scan: CompletedScan, env: Bindings): Promise<undefined> {
  if (env.SYNTHESISE_EVENTS !== "true") return;
  const { bucket, key, etag, byteLength } = scan;
  await env.EVENTS!.send({
    account: "local",
    action: "CompleteMultipartUpload",
    bucket,
    object: { key, size: byteLength, eTag: etag },
    eventTime: new Date().toISOString(),
  } satisfies R2Notification);
}
